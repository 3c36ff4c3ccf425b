import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import { LEDGER_ROW } from './ledger-row-fixture.ts'
import { applyStatus, pendingStatus, queueStatus } from './reports.ts'
import { createState, type TableState } from './state.ts'

const NOW = 1_000_000_000
const when = { now: NOW, since: NOW - 5_000 }

const row: LedgerTable = LEDGER_ROW

const state = (name: string, changes: Partial<TableState> = {}): TableState => ({
  ...createState({ schema: 'public', name }),
  row,
  atEnd: true,
  ...changes,
})

const slotLost = { stopCode: 'SlotLost', stopMessage: 'gone', historyComplete: false }
const lost = new MillraceError('DestinationUnavailable', 'no connection', {
  field: 'spec.destination.postgres',
})
const rejected = new MillraceError('ValueRejected', 'too long')

describe('applyStatus', () => {
  it.each([
    ['streaming', {}, { state: 'Streaming', lagSeconds: 0, historyComplete: true }],
    ['behind', { atEnd: false, oldestAt: NOW - 42_000 }, { state: 'Streaming', lagSeconds: 40 }],
    [
      'held',
      { row: { ...row, heldBy: 'u', historyComplete: false } },
      { state: 'Held', historyComplete: false },
    ],
    ['paused', { paused: true }, { state: 'Paused' }],
    [
      'stopped',
      {
        row: {
          ...row,
          state: 'stopped',
          stopCode: 'TableChanged',
          stopMessage: 'renamed',
          needsEmptying: true,
        },
      },
      { state: 'Stopped', code: 'TableChanged', message: 'renamed', needsEmptying: true },
    ],
    [
      'held to be mended',
      { row: { ...row, ...slotLost, heldBy: 'u', needsEmptying: true } },
      { state: 'Held', code: 'SlotLost', message: 'gone', gap: 'SlotLost', needsEmptying: true },
    ],
    [
      'paused before that',
      { row: { ...row, ...slotLost, needsEmptying: true }, paused: true },
      { state: 'Paused', code: 'SlotLost', message: 'gone', gap: 'SlotLost' },
    ],
    [
      'emptied, and not copied and drained yet',
      { row: { ...row, ...slotLost } },
      { state: 'Streaming', code: 'SlotLost', message: 'gone', gap: 'SlotLost', historyComplete: false },
    ],
    [
      'failing meanwhile',
      { row: { ...row, ...slotLost }, error: rejected, failures: 1 },
      { state: 'Failed', code: 'ValueRejected', gap: 'SlotLost' },
    ],
    ['failed for good', { error: rejected, failures: 1 }, { state: 'Failed', code: 'ValueRejected' }],
    ['failed once', { error: lost, failures: 1 }, { state: 'Streaming' }],
    ['failed again', { error: lost, failures: 2 }, { state: 'Failed', code: 'DestinationUnavailable' }],
    [
      'waiting before its row is known',
      { row: undefined, waiting: 'no answer' },
      { state: 'Failed', code: 'DestinationUnavailable', message: 'no answer' },
    ],
    ['waiting', { waiting: 'waiting for capture' }, { state: 'Streaming', message: 'waiting for capture' }],
  ] as [string, Partial<TableState>, object][])('%s', (_name, changes, expected) => {
    const { tables } = applyStatus([state('t', changes)], [], NOW)
    expect(tables).toEqual([expect.objectContaining({ schema: 'public', name: 't', ...expected })])
  })

  it.each([
    ['of a first backfill', { historyComplete: false }],
    ['of one that was mended', { stopCode: 'SlotLost', stopMessage: 'gone' }],
  ])('tells no gap %s', (_name, changes) => {
    const [table] = applyStatus([state('t', { row: { ...row, ...changes } })], [], NOW).tables ?? []
    expect(table).not.toHaveProperty('gap')
    expect(table).not.toHaveProperty('code')
  })

  it('names the columns with values that did not fit', () => {
    const t = state('t')
    expect(applyStatus([t], [], NOW).tables?.[0]).not.toHaveProperty('unfit')
    t.unfit.add('body', 3)
    expect(applyStatus([t], [], NOW).tables?.[0]?.unfit).toEqual([{ column: 'body', values: 3 }])
  })

  it('keeps what was reported of a table that it knows nothing of yet', () => {
    const before = { schema: 'public', state: 'Streaming', needsEmptying: true } as const
    const { tables } = applyStatus([state('a')], [], NOW, [
      { ...before, name: 'a' },
      { ...before, name: 'b' },
    ])
    expect(tables).toEqual([
      expect.objectContaining({ name: 'b', needsEmptying: true }),
      expect.not.objectContaining({ needsEmptying: true }),
    ])
  })

  it('says nothing about a table that is not claimed yet, unless it cannot be', () => {
    expect(applyStatus([state('t', { row: undefined })], [], NOW)).toEqual({ tables: [] })
    const conflict = new MillraceError('DestinationConflict', 'belongs to another Pipeline')
    const failed = state('t', { row: undefined, error: conflict, failures: 1 })
    expect(applyStatus([failed], [], NOW).tables).toEqual([
      {
        schema: 'public',
        name: 't',
        state: 'Failed',
        code: 'DestinationConflict',
        message: conflict.message,
      },
    ])
  })

  it('tells a problem of all tables once, one of a table by its name', () => {
    const tables = ['a', 'b'].map((name) => state(name, { error: lost, failures: 3 }))
    const broken = state('c', { error: rejected, failures: 1 })
    const queue = new MillraceError('QueueUnavailable', 'no broker')
    expect(applyStatus([...tables, broken], [queue], NOW).problems).toEqual([
      { component: 'Queue', code: 'QueueUnavailable', message: 'no broker' },
      { component: 'Destination', code: 'DestinationUnavailable', message: 'no connection' },
      {
        component: 'Table',
        table: { schema: 'public', name: 'c' },
        code: 'ValueRejected',
        message: 'too long',
      },
    ])
    expect(applyStatus([state('a')], [], NOW)).not.toHaveProperty('problems')
  })
})

describe('queueStatus', () => {
  const backfill = (of: LedgerBackfill['state'], more: Partial<LedgerBackfill> = {}) =>
    ({ uid: 'u', state: of, holdLSN: 0x900n, closeCode: '', closeMessage: '', ...more }) as LedgerBackfill

  it.each([
    ['held', backfill('held'), { state: 'Held', heldLSN: '0/900', historyComplete: true, lagSeconds: 0 }],
    ['copied', backfill('copied'), { state: 'Copied' }],
    [
      'drained',
      backfill('drained'),
      { state: 'Drained', drainedTime: new Date(when.since).toISOString(), historyComplete: true },
    ],
    [
      'closed',
      backfill('closed', { closeCode: 'SlotLost', closeMessage: 'gap' }),
      { state: 'Closed', code: 'SlotLost', message: 'gap' },
    ],
  ] as [string, LedgerBackfill, object][])('%s', (_name, fact, expected) => {
    expect(queueStatus(fact, state('t'), undefined, when)).toMatchObject(expected)
  })

  it('leaves alone what is over', () => {
    const before = { state: 'Drained', drainedTime: 'then', historyComplete: true } as const
    const changed = state('t', { row: { ...row, historyComplete: false } })
    expect(queueStatus(backfill('drained'), changed, before, when)).toBe(before)
  })

  it('does not go back to what another process of this worker has left', () => {
    const before = { state: 'Copied', historyComplete: true } as const
    expect(queueStatus(backfill('held'), state('t'), before, when)).toBe(before)
    expect(queueStatus(backfill('closed'), state('t'), before, when)).toMatchObject({ state: 'Closed' })
  })

  it('says what keeps a table from going on', () => {
    const failed = state('t', { error: rejected, failures: 1 })
    expect(queueStatus(backfill('copied'), failed, undefined, when)).toMatchObject({
      state: 'Copied',
      code: 'ValueRejected',
      message: 'too long',
    })
  })
})

describe('pendingStatus', () => {
  const failed = state('t', { error: rejected, failures: 1 })
  it.each([
    ['nothing to say', state('t'), undefined, undefined],
    [
      'what is in the way of the hold',
      failed,
      undefined,
      { state: 'None', code: 'ValueRejected', message: 'too long' },
    ],
    ['no more', state('t'), { state: 'None', code: 'X' } as const, { state: 'None' }],
    ['what another process has seen in the ledger', failed, { state: 'Held' } as const, undefined],
  ] as const)('%s', (_name, table, before, expected) => {
    expect(pendingStatus(table, before)).toEqual(expected)
  })
})
