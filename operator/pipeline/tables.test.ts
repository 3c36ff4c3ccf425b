import { describe, expect, it } from 'vitest'
import type { BackfillPhase } from '../../crds/api.ts'
import type { AppliedTable, PipelineSpec, Problem } from '../../crds/pipeline.ts'
import { backfill, pipeline, table } from '../../test/operator/objects.ts'
import { countTables, lagText, tableViews } from './tables.ts'

interface Given {
  spec?: Partial<PipelineSpec>
  applied?: Partial<AppliedTable>
  phases?: BackfillPhase[]
  /** Seconds since the backfills have ended. */
  ended?: number
  problem?: string
  /** Of capture; above 1 it began with a gap. */
  epoch?: number
}

function view({ spec, applied, phases = [], ended = 600, problem, epoch }: Given) {
  const now = Date.parse('2026-11-22T12:00:00Z')
  const completionTime = new Date(now - ended * 1000).toISOString()
  const name = { schema: 'public', name: 'orders' }
  const problems: Problem[] = problem
    ? [{ component: 'Table', code: 'TableNotFound', message: problem, table: name }]
    : []
  const [one] = tableViews(
    pipeline(
      { tables: [table('orders')], ...spec },
      {
        capture: {
          problems,
          ...(epoch && { epoch, gap: { epoch, code: 'SourceChanged', message: 'promoted' } }),
        },
        apply: { tables: applied ? [{ ...name, state: 'Streaming', ...applied }] : [] },
      },
    ),
    phases.map((phase, at) =>
      backfill(
        `b${at}`,
        {},
        { phase, message: `is ${phase}`, completionTime },
        { creationTimestamp: `2026-11-22T10:00:0${at}Z` },
      ),
    ),
    new Map(),
    now,
  )
  const flags = [one?.settled ? 'settled' : '', one?.failed ? 'failed' : ''].join('')
  return [`${one?.status.state} ${flags}`.trim(), one?.status.message]
}

const complete = { historyComplete: true, lagSeconds: 0 }
const incomplete = { historyComplete: false }

describe('tableViews', () => {
  it.each<[string, Given, string, string | undefined | RegExp]>([
    ['nothing', {}, 'Pending', /capture/],
    ['a report', { applied: incomplete }, 'Pending', /about to be created/],
    ['a complete history', { applied: complete }, 'Streaming settled', undefined],
    [
      'no history wanted',
      { applied: incomplete, spec: { tables: [table('orders', 'Skip')] } },
      'Streaming settled',
      undefined,
    ],
    ['a waiting backfill', { applied: incomplete, phases: ['Queued'] }, 'Queued', 'b0: is Queued'],
    ['a preparing one', { applied: incomplete, phases: ['Preparing'] }, 'Backfilling', 'b0: is Preparing'],
    [
      'a copying one',
      { applied: { state: 'Held', ...incomplete }, phases: ['Backfilling'] },
      'Backfilling',
      'b0: is Backfilling',
    ],
    ['a draining one', { applied: incomplete, phases: ['Draining'] }, 'Draining', 'b0: is Draining'],
    [
      'one that runs and one that waits',
      { applied: incomplete, phases: ['Backfilling', 'Queued'] },
      'Backfilling',
      'b0: is Backfilling',
    ],
    [
      'an ad-hoc one',
      { applied: complete, phases: ['Streaming', 'Backfilling'] },
      'Backfilling settled',
      'b1: is Backfilling',
    ],
    [
      'a failed one',
      { applied: incomplete, phases: ['Failed'] },
      'Streaming settledfailed',
      'history incomplete; b0: is Failed',
    ],
    [
      'a cancelled one',
      { applied: incomplete, phases: ['Cancelled'] },
      'Streaming settled',
      'history incomplete; b0: is Cancelled',
    ],
    [
      'one that the ledger does not know',
      { applied: incomplete, phases: ['Streaming'] },
      'Pending',
      /knows of no copy.*b0: is Streaming/,
    ],
    [
      'one that the ledger may just have been told of',
      { applied: incomplete, phases: ['Streaming'], ended: 5 },
      'Draining',
      'b0: is Streaming',
    ],
    [
      'a hold that is about to end',
      { applied: { state: 'Held', ...complete }, phases: ['Cancelled'], ended: 5 },
      'Draining settled',
      'b0: is Cancelled',
    ],
    [
      'a hold of a backfill that is over',
      { applied: { state: 'Held', ...complete }, phases: ['Cancelled'] },
      'Failed failed',
      /nothing is applied.*b0: is Cancelled/,
    ],
    ['a hold of nobody', { applied: { state: 'Held', ...complete } }, 'Failed failed', /nothing is applied/],
    [
      'a failed one and then a good one',
      { applied: complete, phases: ['Failed', 'Streaming'] },
      'Streaming settled',
      undefined,
    ],
    ['a stop', { applied: { state: 'Stopped', message: 'type changed' } }, 'Failed failed', 'type changed'],
    [
      'a stop and its cure',
      { applied: { state: 'Stopped', message: 'type changed' }, phases: ['Failed', 'Backfilling'] },
      'Backfilling',
      'b1: is Backfilling',
    ],
    [
      'a stop while it drains',
      { applied: { state: 'Stopped', message: 'type changed' }, phases: ['Draining'] },
      'Failed failed',
      'type changed',
    ],
    ['a problem', { problem: 'no such table' }, 'Failed failed', 'no such table'],
    [
      'lost changes that only capture knows of',
      { applied: { ...complete, epoch: 1 }, epoch: 2 },
      'Pending',
      'promoted; apply has not come to it yet',
    ],
    [
      'lost changes of a paused Pipeline',
      { applied: { ...complete, epoch: 1 }, epoch: 2, spec: { state: 'Paused' } },
      'Paused',
      'spec.state is Paused; promoted',
    ],
    ['lost changes', { applied: { ...complete, needsEmptying: true } }, 'Pending', /about to be created/],
    [
      'lost changes and a person to ask',
      { applied: { ...complete, needsEmptying: true }, spec: { onGap: 'Halt' } },
      'Streaming settledfailed',
      /create a TableBackfill with destinationTable Truncate/,
    ],
    [
      'lost changes and a cure that failed',
      { applied: { ...incomplete, needsEmptying: true }, phases: ['Failed'] },
      'Streaming settledfailed',
      /b0: is Failed$/,
    ],
    ['a paused Pipeline', { applied: complete, spec: { state: 'Paused' } }, 'Paused', 'spec.state is Paused'],
  ])('with %s', (_, given, state, message) => {
    const [seen, text] = view(given)
    expect(seen).toBe(state)
    if (message instanceof RegExp) expect(text).toMatch(message)
    else expect(text).toBe(message)
  })

  it('counts each table once', () => {
    const status = {
      apply: {
        tables: [{ schema: 'public', name: 'b', state: 'Streaming' as const, historyComplete: true }],
      },
    }
    const views = tableViews(pipeline({ tables: [table('a'), table('b')] }, status), [], new Map(), 0)
    expect(countTables(views)).toEqual({ tables: 2, streaming: 1, backfilling: 0, queued: 1, failed: 0 })
  })
})

describe('lagText', () => {
  const text = (...lags: (number | undefined)[]) =>
    lagText(
      pipeline(
        {},
        {
          apply: {
            tables: lags.map((lagSeconds, at) => ({
              schema: 's',
              name: `t${at}`,
              state: 'Streaming' as const,
              ...(lagSeconds !== undefined && { lagSeconds }),
            })),
          },
        },
      ),
    )
  it.each([
    [[], undefined],
    [[undefined], undefined],
    [[0], '0s'],
    [[0, 3], '2s'],
    [[59], '30s'],
    [[60], '1m'],
    [[3_599], '30m'],
    [[3_600], '1h'],
    [[7_300], '2h'],
    [[172_800], '2d'],
  ])('%j: %s', (lags, expected) => {
    expect(text(...lags)).toBe(expected)
  })
})
