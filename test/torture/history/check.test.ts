import { describe, expect, it } from 'vitest'
import { checkHistory } from './check.ts'
import type { Event, LedgerEvent } from './events.ts'
import { BACKFILL, broken, insert, isLedger, isRun, isWrite, life, row, shown, T, TABLE, to } from './life.ts'

// Each test breaks the life in one place, and one check must notice.

it('finds nothing wrong with a life as it should be', () => {
  expect(checkHistory(life())).toEqual([])
})

it('takes what waited and is ended for nothing that has begun', () => {
  const other = { uid: 'w', name: 'w', table: 'public.other' }
  const ended = [
    ...life(),
    shown(330, 'Preparing', '', { ...other, waits: true }),
    shown(331, 'Preparing', '', { uid: 'v', name: 'v' }),
    shown(332, 'Preparing', '', { ...other, ends: true }),
  ]
  expect(checkHistory(ended)).toEqual([])
})

const CASES: readonly [name: string, events: () => Event[], found: RegExp][] = [
  // the ledger
  [
    'a position goes back',
    () => broken(isLedger('tables', 310), row({ lsn: '0/500' })),
    /^I4 R15 R24.*went back from 1:0\/700/,
  ],
  [
    'an offset goes back',
    () => broken(isLedger('tables', 300), row({ next_offset: 3 })),
    /^I4 R15 R24.*offset.*went back from 6 to 3/,
  ],
  [
    'a version is left out',
    () => broken(isLedger('tables', 310), row({ version: 99 })),
    /^I4 R15 R24.*to 99/,
  ],
  [
    'an ended backfill goes on',
    () =>
      broken(
        isLedger('backfills', 290),
        (event) => ({ ...event, old: { ...(event as LedgerEvent).old, state: 'closed' } }) as Event,
      ),
    /^I8 R5.*from closed to drained/,
  ],
  [
    'a backfill is drained that was not copied',
    () =>
      broken(
        isLedger('backfills', 290),
        (event) => ({ ...event, old: { ...(event as LedgerEvent).old, state: 'held' } }) as Event,
      ),
    /^I8 R5.*from held to drained/,
  ],
  [
    'a backfill is copied before its chunks are',
    () => broken(isLedger('chunks', 270), () => undefined),
    /^I8 R5.*1 chunks of its plan are not/,
  ],
  [
    'a backfill is copied before its action',
    () => broken(isLedger('backfills', 280), row({ action_done: false })),
    /^I8 R5.*action/,
  ],
  [
    'a chunk is written twice',
    () => [...life(), life().find(isLedger('chunks', 260)) as Event],
    /^I9 R6 R7.*was over already/,
  ],
  [
    'a chunk comes after a cancel',
    () => broken(isLedger('chunks', 270), to({ backfill: { ...BACKFILL, state: 'closed' } })),
    /^I9 R6 R7.*while its backfill is closed/,
  ],
  [
    'a chunk comes from an older attempt',
    () =>
      broken(
        isLedger('chunks', 270),
        to({ backfill: { ...BACKFILL, plan: 1, action_done: true, attempt: 2 } }),
      ),
    /^I9 R6 R7.*attempt 2 is the last/,
  ],
  [
    'a chunk comes before the action',
    () => broken(isLedger('chunks', 260), to({ backfill: { ...BACKFILL, plan: 1, attempt: 1 } })),
    /^I9 R6 R7.*before the action/,
  ],
  // what is written and why
  [
    'rows are written without the ledger',
    () => broken(isLedger('tables', 300), () => undefined),
    /^I3 I4 I8 I9.*does not say why/,
  ],
  [
    'rows come from the queue while held',
    () => [...life().filter((event) => !isLedger('tables', 280)(event)), ...queued()],
    /^I3 I4 I8 I9.*from the queue while u holds it/,
  ],
  [
    'a chunk writes when nobody holds',
    () => broken(isLedger('tables', 220), row({ held_by: '' })),
    /^I3 I4 I8 I9.*while nobody holds it/,
  ],
  [
    'a chunk empties the table',
    () => broken(isWrite(260), to({ change: { op: 'truncate' } } as Partial<Event>)),
    /^I3 I4 I8 I9.*was not to/,
  ],
  [
    'an action that is done is done again',
    () =>
      broken(
        isLedger('backfills', 240),
        (event) => ({ ...event, old: { ...(event as LedgerEvent).old, action_done: true } }) as Event,
      ),
    /^I3 I4 I8 I9.*had done it before/,
  ],
  // rows
  ['a chunk misses a row', () => broken(isWrite(260), () => undefined), /^I1 I2 I4 I7 I10.*lacks the row a2/],
  [
    'a chunk brings an older row',
    () => broken(isWrite(260), to({ change: insert('a1') } as Partial<Event>)),
    /^I1 I2 I4 I7 I10.*has the row a1 of before/,
  ],
  [
    'a delete is not applied',
    () => broken(isWrite(300), () => undefined),
    /^I1 I2 I4 I7 I10.*has the row b1 of before/,
  ],
  [
    'a value is made up',
    () => broken(isWrite(260), to({ change: insert('x') } as Partial<Event>)),
    /^I1 I2 I4 I7 I10.*never had/,
  ],
  // the queue
  [
    'a change is not in the queue',
    () => broken(isRun(4), () => undefined),
    /^I1 the queue is complete.*0 of 1 changes of transaction 40/,
  ],
  [
    'changes stand in another order',
    () => broken(isRun(3), to({ lines: [{ tx: '0/550', xid: 30, sequences: [1] }] } as Partial<Event>)),
    /^I1 R15.*for the first time after/,
  ],
  ['more is recorded than was sent', () => broken(isRun(1), to({ at: 119 })), /^I5 recorded after sent/],
  [
    'more is acknowledged than was recorded',
    () => broken((event) => event.kind === 'slot' && event.at === 116, to({ confirmed: '0/500' })),
    /^I5 acknowledged after recorded/,
  ],
  [
    'what was not applied is deleted',
    () => broken((event) => event.kind === 'topic', to({ earliest: 8 })),
    /^I6 R24/,
  ],
  // what is shown
  [
    'a final phase is left',
    () => [...life(), shown(320, 'Backfilling', 'Held')],
    /^phases go forward.*from Streaming to Backfilling/,
  ],
  [
    'Streaming is shown before drained',
    () => [...life(), shown(281, 'Streaming', 'Drained')],
    /^R5 status follows the ledger.*before the ledger says drained/,
  ],
  [
    'a held table is shown before the ledger has it',
    () => broken((event) => event.kind === 'backfill' && event.at === 225, to({ at: 215 })),
    /^R5 status follows the ledger.*says held/,
  ],
  [
    'a table is shown complete too early',
    () => broken((event) => event.kind === 'pipeline', to({ at: 285 })),
    /^R5 status follows the ledger.*whole history/,
  ],
  [
    'two are copied at once',
    () => [
      ...life(),
      shown(330, 'Preparing', '', { uid: 'v', name: 'v' }),
      shown(331, 'Preparing', '', { uid: 'w', name: 'w', table: 'public.other' }),
    ],
    /^R9.*maxConcurrentTables is 1/,
  ],
  [
    'another begins before one that is ended has gone',
    () => [
      ...life(),
      shown(330, 'Preparing', '', { uid: 'v', name: 'v' }),
      shown(331, 'Preparing', '', { uid: 'v', name: 'v', ends: true }),
      shown(332, 'Preparing', '', { uid: 'w', name: 'w', table: 'public.other' }),
    ],
    /^R9.*maxConcurrentTables is 1/,
  ],
  [
    'two of one table are copied at once',
    () => [
      ...life(),
      shown(330, 'Preparing', '', { uid: 'v', name: 'v' }),
      shown(331, 'Preparing', '', { uid: 'w', name: 'w' }),
    ],
    /^R9.*two backfills of public\.t/,
  ],
  [
    'the primary is read',
    () => broken((event) => event.kind === 'scan', to({ server: 'primary' })),
    /^the primary is not read: public\.t was copied from the primary/,
  ],
]

/** A flush that comes between the chunks. */
function queued(): Event[] {
  const at = 275
  const old = { ...TABLE, version: 5, next_offset: 2, lsn: '0/300', held_by: 'u' }
  return [
    {
      kind: 'ledger',
      at,
      id: 1000,
      tx: '100',
      of: 'tables',
      old,
      new: { ...old, version: 6, lsn: '0/400' },
      backfill: null,
    },
    { kind: 'write', at, id: 1001, tx: '100', table: T, change: insert('z') },
  ]
}

describe('notices when', () => {
  it.each(CASES)('%s', (_name, events, found) => {
    expect(checkHistory(events()).join('\n')).toMatch(new RegExp(found.source, 'm'))
  })
})
