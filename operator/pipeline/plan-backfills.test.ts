import { describe, expect, it } from 'vitest'
import type { AppliedTable, PipelineSpec, PipelineStatus } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { backfill, owned, pipeline, table } from '../../test/operator/objects.ts'
import { GAP, INITIAL } from '../labels.ts'
import { planBackfills } from './plan-backfills.ts'

const NOW = Date.parse('2026-11-22T12:00:00Z')
const at = (secondsAgo: number) => new Date(NOW - secondsAgo * 1000).toISOString()
const applied = (name: string, over: Partial<AppliedTable> = {}): AppliedTable => ({
  schema: 'public',
  name,
  state: 'Streaming',
  historyComplete: false,
  ...over,
})
const orders = { table: { schema: 'public', name: 'orders' } }

interface Given {
  spec?: Partial<PipelineSpec>
  status?: PipelineStatus
  backfills?: TableBackfill[]
  left?: string[]
  reportedFor?: number
}

function plan({ spec, status, backfills = [], left = [], reportedFor = 0 }: Given) {
  const { create, remove, initial, again } = planBackfills({
    pipeline: pipeline({ tables: [table('orders')], ...spec }, status),
    backfills,
    left: new Set(left.map((name) => JSON.stringify(['public', name]))),
    reportedFor: () => reportedFor,
    now: NOW,
  })
  return {
    create: create.map((one) => `${one.name} ${one.action}`),
    remove: remove.map((one) => one.metadata.name),
    recorded: [...initial.values()],
    again,
  }
}

const nothing = { create: [], remove: [], recorded: [], again: undefined }
const name = 'shop-public-orders-initial'
const initial = backfill(name, orders, { phase: 'Backfilling' }, owned(INITIAL))
const reported = (...tables: AppliedTable[]): PipelineStatus => ({ apply: { tables } })

describe('initial backfills', () => {
  it.each<[string, Given, Partial<ReturnType<typeof plan>>]>([
    ['nothing reported', {}, {}],
    [
      'an incomplete table',
      { status: reported(applied('orders')) },
      { create: [`${name} DoNothing`], recorded: [name] },
    ],
    ['a complete table', { status: reported(applied('orders', { historyComplete: true })) }, {}],
    [
      'a table to be skipped',
      { spec: { tables: [table('orders', 'Skip')] }, status: reported(applied('orders')) },
      {},
    ],
    [
      'one that is there',
      { status: reported(applied('orders')), backfills: [initial] },
      { recorded: [name] },
    ],
    [
      'one that was there (R25)',
      {
        status: {
          ...reported(applied('orders')),
          tables: [{ schema: 'public', name: 'orders', state: 'Streaming', initialBackfill: name }],
        },
      },
      { recorded: [name] },
    ],
    [
      'a table that capture cannot find',
      {
        status: {
          ...reported(applied('orders')),
          capture: { problems: [{ component: 'Table', code: 'TableNotFound', message: 'm', ...orders }] },
        },
      },
      {},
    ],
    [
      'rows of another life of the table',
      { status: reported(applied('orders', { needsEmptying: true })) },
      { create: [`${name} Truncate`], recorded: [name] },
    ],
    [
      'such rows and a person to ask',
      { spec: { onGap: 'Halt' }, status: reported(applied('orders', { needsEmptying: true })) },
      {},
    ],
    [
      'one of somebody else',
      { status: reported(applied('orders')), backfills: [backfill('mine', orders)] },
      { create: [`${name} DoNothing`], recorded: [name] },
    ],
  ])('with %s', (_, given, expected) => {
    expect(plan(given)).toEqual({ ...nothing, ...expected })
  })

  it('wait a little for tables that come before them in the list', () => {
    const given = { spec: { tables: [table('first'), table('orders')] }, status: reported(applied('orders')) }
    expect(plan(given)).toEqual({ ...nothing, again: 10_000 })
    expect(plan({ ...given, reportedFor: 8_000 }).again).toBe(2_000)
    expect(plan({ ...given, reportedFor: 10_000 }).create).toEqual([`${name} DoNothing`])
  })

  it('do not wait for a table that has a problem', () => {
    const problem = {
      component: 'Table',
      code: 'TableNotFound',
      message: 'm',
      table: { schema: 'public', name: 'first' },
    } as const
    const status = { ...reported(applied('orders')), capture: { problems: [problem] } }
    expect(plan({ spec: { tables: [table('first'), table('orders')] }, status }).create).toEqual([
      `${name} DoNothing`,
    ])
  })

  it('go with their table', () => {
    const gap = backfill('gap', orders, { phase: 'Streaming' }, owned(GAP))
    const own = backfill('adhoc', orders, { phase: 'Queued' })
    expect(plan({ spec: { tables: [] }, backfills: [initial, gap, own] })).toEqual({
      ...nothing,
      remove: [name, 'gap'],
    })
  })

  it.each<[string, Parameters<typeof backfill>[2], string[]]>([
    ['that wait', { phase: 'Queued' }, [name]],
    ['that have not come to their hold', { phase: 'Preparing', queue: { state: 'None' } }, [name]],
    ['that are held (apply ends them)', { phase: 'Preparing', queue: { state: 'Held' } }, []],
    ['that have ended', { phase: 'Failed' }, []],
  ])('%s are replaced when a gap makes them futile', (_, of, removed) => {
    const status = reported(applied('orders', { needsEmptying: true }))
    const one = backfill(name, orders, of, owned(INITIAL))
    const seen = plan({ status, backfills: [one] })
    expect(seen.remove).toEqual(removed)
    if (removed.length > 0) expect([seen.create, seen.recorded]).toEqual([[], []])
    expect(plan({ status }).create).toEqual([`${name} Truncate`])
  })

  it('of a table that left and came back go first, and are made again afterwards', () => {
    const status = reported(applied('orders'))
    expect(plan({ status, backfills: [initial], left: ['orders'] })).toEqual({
      ...nothing,
      remove: [name],
      again: 0,
    })
    expect(plan({ status }).create).toEqual([`${name} DoNothing`])
  })
})

describe('a table that the ledger knows no copy of', () => {
  const over = (of: Parameters<typeof backfill>[2], secondsAgo: number) => ({
    ...of,
    completionTime: at(secondsAgo),
  })
  const copied = (secondsAgo: number) =>
    backfill(name, orders, over({ phase: 'Streaming' }, secondsAgo), owned(INITIAL))
  const adhoc = (phase: 'Queued' | 'Streaming' | 'Cancelled', secondsAgo: number) =>
    backfill('adhoc', orders, phase === 'Queued' ? { phase } : over({ phase }, secondsAgo))
  const status: PipelineStatus = {
    ...reported(applied('orders')),
    tables: [{ schema: 'public', name: 'orders', state: 'Streaming', initialBackfill: name }],
  }

  it.each<[string, Given, Partial<ReturnType<typeof plan>>]>([
    ['is a new one: its initial backfill goes', { backfills: [copied(600)] }, { remove: [name] }],
    ['is a new one when that was deleted', { backfills: [adhoc('Streaming', 600)] }, { again: 0 }],
    ['is given time to be reported', { backfills: [copied(20)] }, { recorded: [name], again: 40_001 }],
    [
      'is complete',
      {
        backfills: [copied(600)],
        status: { ...status, ...reported(applied('orders', { historyComplete: true })) },
      },
      { recorded: [name] },
    ],
    [
      'is a person’s after a later cancel',
      { backfills: [copied(600), adhoc('Cancelled', 300)] },
      { recorded: [name] },
    ],
    ['is being copied', { backfills: [copied(600), adhoc('Queued', 0)] }, { recorded: [name] }],
    [
      'is skipped',
      { backfills: [copied(600)], spec: { tables: [table('orders', 'Skip')] } },
      { recorded: [name] },
    ],
  ])('%s', (_, given, expected) => {
    expect(plan({ status, ...given })).toEqual({ ...nothing, ...expected })
  })

  it('gets an initial backfill of the same name once the old one is gone', () => {
    const { tables: _, ...forgotten } = status
    expect(plan({ status: forgotten }).create).toEqual([`${name} DoNothing`])
  })
})

describe('mending a gap', () => {
  const status = { capture: { epoch: 7 }, ...reported(applied('orders', { needsEmptying: true })) }
  const ended = backfill(name, orders, { phase: 'Streaming' }, owned(INITIAL))
  const mending = (
    gapName: string,
    phase: 'Queued' | 'Streaming' | 'Failed' | 'Cancelled',
    over: { secondsAgo?: number; reason?: string; code?: string } = {},
  ) =>
    backfill(
      gapName,
      { ...orders, destinationTable: 'Truncate' },
      {
        phase,
        ...(over.code && { queue: { state: 'Closed', code: over.code } }),
        completionTime: at(over.secondsAgo ?? 600),
        conditions: [
          {
            type: 'Succeeded',
            status: 'Unknown',
            reason: over.reason ?? 'x',
            message: '',
            observedGeneration: 1,
            lastTransitionTime: at(0),
          },
        ],
      },
      owned(GAP),
    )
  const gap = (suffix = '') => `shop-public-orders-gap-7${suffix}`

  it.each<[string, Given, Partial<ReturnType<typeof plan>>]>([
    ['empties the table', {}, { create: [`${gap()} Truncate`] }],
    ['asks a person with Halt', { spec: { onGap: 'Halt' } }, {}],
    ['leaves a skipped table to a person', { spec: { tables: [table('orders', 'Skip')] } }, {}],
    ['waits for the one that is there', { backfills: [ended, mending(gap(), 'Queued')] }, {}],
    [
      'waits for one that a person made',
      {
        backfills: [ended, backfill('p', { ...orders, destinationTable: 'Drop' }, { phase: 'Backfilling' })],
      },
      {},
    ],
    [
      'gives apply time to report what has just been mended',
      { backfills: [ended, mending(gap(), 'Streaming', { secondsAgo: 20 })] },
      { again: 40_000 },
    ],
    [
      'mends another gap of the same epoch',
      { backfills: [ended, mending(gap(), 'Streaming')] },
      { create: [`${gap('-2')} Truncate`] },
    ],
    [
      'begins again when a gap ended it',
      { backfills: [ended, mending(gap(), 'Failed', { reason: 'GapInQueue' })] },
      { create: [`${gap('-2')} Truncate`] },
    ],
    [
      'begins again when the table was changed once more',
      { backfills: [ended, mending(gap(), 'Failed', { reason: 'TableStopped', code: 'TableChanged' })] },
      { create: [`${gap('-2')} Truncate`] },
    ],
    [
      'gives up when the table was stopped for what no copy mends',
      { backfills: [ended, mending(gap(), 'Failed', { reason: 'TableStopped', code: 'ValueRejected' })] },
      {},
    ],
    ['gives up when it failed', { backfills: [ended, mending(gap(), 'Failed')] }, {}],
    ['gives up when a person cancelled it', { backfills: [ended, mending(gap(), 'Cancelled')] }, {}],
  ])('%s', (_, given, expected) => {
    expect(plan({ status, backfills: [ended], ...given })).toEqual({
      ...nothing,
      recorded: [name],
      ...expected,
    })
  })
})
