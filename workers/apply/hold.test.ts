import { describe, expect, it } from 'vitest'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import type { ControlLine } from '../queue/format.ts'
import { ORIGIN } from '../source/position.ts'
import { controlFacts, endsDraining, placeAfter } from './facts.ts'
import { judgeHold, judgeKnownHold } from './hold.ts'
import { LEDGER_ROW } from './ledger-row-fixture.ts'

const table = (facts: Partial<LedgerTable> = {}): LedgerTable => ({
  ...LEDGER_ROW,
  position: { epoch: 1, lsn: 7n, sequence: 0 },
  ...facts,
})

const object = (spec: object = {}, rest: object = {}, status: object = {}) =>
  ({ metadata: { name: 'b', uid: 'u', ...rest }, spec: { cancel: false, ...spec }, status }) as TableBackfill

const hold = (action: 'DoNothing' | 'Truncate' | 'Drop' = 'DoNothing') => ({ uid: 'u', name: 'b', action })
const scope = { listed: true, deleting: false, published: true }
const stopped = table({
  state: 'stopped',
  stopCode: 'TableChanged',
  stopMessage: 'renamed',
  needsEmptying: true,
})

describe('judgeHold', () => {
  it.each([
    ['a live backfill', hold(), object(), table(), scope, 'hold'],
    ['none of that name', hold(), undefined, table(), scope, /deleted/],
    ['another under its name', hold(), object({}, { uid: 'other' }), table(), scope, /deleted/],
    ['being deleted', hold(), object({}, { deletionTimestamp: 'now' }), table(), scope, /being deleted/],
    ['cancelled', hold(), object({ cancel: true }), table(), scope, /cancelled/],
    ['failed', hold(), object({}, {}, { phase: 'Failed' }), table(), scope, /Failed/],
    ['copying', hold(), object({}, {}, { phase: 'Backfilling' }), table(), scope, 'hold'],
    ['copied, by the status', hold(), object({}, {}, { phase: 'Draining' }), table(), scope, /Draining/],
    ['drained, by the status', hold(), object({}, {}, { phase: 'Streaming' }), table(), scope, /Streaming/],
    ['table not listed', hold(), object(), table(), { ...scope, listed: false }, /spec.tables/],
    ['Pipeline going', hold(), object(), table(), { ...scope, deleting: true }, /Pipeline was deleted/],
    [
      'R22: DoNothing after a gap',
      hold(),
      object(),
      table({ needsEmptying: true }),
      scope,
      /Truncate or Drop/,
    ],
    ['R22: Truncate after a gap', hold('Truncate'), object(), table({ needsEmptying: true }), scope, 'hold'],
    ['R21: DoNothing at a stopped table', hold(), object(), stopped, scope, /renamed.*Truncate or Drop/],
    ['R21: Drop at a stopped table', hold('Drop'), object(), stopped, scope, 'hold'],
  ] as const)('%s', (_name, line, found, row, within, expected) => {
    const verdict = judgeHold(line, found, row, within)
    if (expected === 'hold') expect(verdict).toEqual({ do: 'hold' })
    else expect(verdict).toMatchObject({ do: 'close', why: { message: expect.stringMatching(expected) } })
  })
})

describe('judgeKnownHold', () => {
  const known = (state: LedgerBackfill['state']) => ({ uid: 'u', state }) as LedgerBackfill
  it.each([
    ['not known', undefined, table(), undefined],
    ['held by it', known('held'), table({ heldBy: 'u' }), { do: 'hold' }],
    ['copied', known('copied'), table(), { do: 'pass' }],
    ['closed', known('closed'), table(), { do: 'pass' }],
    ['drained', known('drained'), table(), { do: 'pass' }],
  ] as const)('%s', (_name, backfill, row, expected) => {
    expect(judgeKnownHold(backfill, row)).toEqual(expected)
  })
})

describe('controlFacts', () => {
  const at = { tx: '0/1', seq: 1, at: '' }
  const join: ControlLine = { control: 'join', lsn: '0/2', ...at }
  const leave: ControlLine = { control: 'leave', lsn: '0/2', ...at }
  const gap: ControlLine = { control: 'gap', code: 'SlotLost', message: 'm', ...at }
  const changed: ControlLine = { control: 'changed', code: 'TableChanged', message: 'm', ...at }
  const lost = { unknownHistory: true, needsEmptying: true, historyComplete: false }
  const again = { state: 'active', unknownHistory: true, historyComplete: false }
  it.each([
    ['first join', join, table({ position: ORIGIN }), {}, false],
    ['joined again', join, table({ state: 'left', unknownHistory: true }), again, false],
    [
      'joined again after it left while it was blank',
      join,
      table({ state: 'left' }),
      { state: 'active' },
      false,
    ],
    ['joined again after a gap', join, table({ needsEmptying: true, stopCode: 'SlotLost' }), {}, false],
    [
      'joined again although it never left',
      join,
      table(),
      { ...lost, stopCode: 'PublicationChanged', stopMessage: expect.stringMatching(/by hand/) },
      true,
    ],
    [
      'leave',
      leave,
      table(),
      { ...lost, state: 'left', stopCode: 'PublicationChanged', stopMessage: expect.stringMatching(/left/) },
      true,
    ],
    ['leave of one that is blank', leave, table({ position: ORIGIN }), { state: 'left' }, true],
    [
      'leave of one with rows that nobody knows',
      leave,
      table({ position: ORIGIN, unknownHistory: true }),
      {
        ...lost,
        state: 'left',
        stopCode: 'PublicationChanged',
        stopMessage: expect.stringMatching(/left/),
      },
      true,
    ],
    ['gap', gap, table(), { ...lost, stopCode: 'SlotLost', stopMessage: 'm' }, true],
    [
      'gap after it left, behind which it is in the publication again',
      gap,
      table({ state: 'left' }),
      { ...lost, state: 'active', stopCode: 'SlotLost', stopMessage: 'm' },
      true,
    ],
    [
      'changed',
      changed,
      table(),
      { ...lost, state: 'stopped', stopCode: 'TableChanged', stopMessage: 'm' },
      true,
    ],
    ['anything when stopped', gap, stopped, {}, false],
    ['join when stopped', join, stopped, {}, false],
  ] as const)('%s', (_name, line, row, facts, ends) => {
    expect(controlFacts(line, row)).toEqual(facts)
    expect(endsDraining(line, row)).toBe(ends)
  })
})

describe('placeAfter', () => {
  const at = { tx: '0/1', seq: 1, at: '' }
  const leave: ControlLine = { control: 'leave', lsn: '0/2', ...at }
  const changed: ControlLine = { control: 'changed', code: 'TableChanged', message: 'm', ...at }
  const earlier = { epoch: 1, lsn: 6n, sequence: 9 }
  const position = { epoch: 1, lsn: 7n, sequence: 2 }
  const later = { epoch: 1, lsn: 7n, sequence: 3 }
  it.each([
    ['moves on at a line that is new', leave, later, later],
    ['skips one that was passed (R15)', leave, earlier, undefined],
    ['skips the last one', leave, position, undefined],
    ['moves on at a change of the catalog', changed, later, later],
    ['never skips one, and never moves back (R20)', changed, earlier, position],
  ])('%s', (_name, line, place, expected) => {
    expect(placeAfter(line, place, position)).toEqual(expected)
  })
})
