import { describe, expect, it } from 'vitest'
import { checkHistory } from './check.ts'
import {
  type BackfillEvent,
  type Change,
  type CommitEvent,
  type Event,
  type LedgerEvent,
  type LedgerRow,
  MOVE_SLOT,
  type RunEvent,
  type RunLine,
  type SettingEvent,
  type WriteEvent,
} from './events.ts'

// A short life of a table, as it should be: joined, held, emptied, copied in two chunks, drained, streamed. Each test breaks
// it in one place, and one check must notice.

const T = 'public.t'
const TOPIC = 'ns.torture.public.t'

let id = 0
let tx = 0

const setting = (over: Partial<SettingEvent> = {}): SettingEvent => ({
  kind: 'setting',
  maxConcurrentTables: 1,
  readFromPrimary: [],
  keyless: [],
  failedOver: false,
  ...over,
})

const commit = (xid: number, end: string, ...changes: Change[]): CommitEvent => ({
  kind: 'commit',
  at: xid,
  end,
  xid,
  changes: changes.map((change) => ({ table: T, change })),
})
const insert = (image: string): Change => ({ op: 'row', old: null, new: image })
const update = (old: string, image: string): Change => ({ op: 'row', old, new: image })
const remove = (image: string): Change => ({ op: 'row', old: image, new: null })

const run = (offset: number, at: number, ...lines: RunLine[]): RunEvent => ({
  kind: 'run',
  at,
  topic: TOPIC,
  table: T,
  offset,
  incarnation: 'i',
  epoch: 1,
  lines,
})
const control = (name: string, place: string, lsn = '', uid = ''): RunLine => ({
  control: name,
  tx: place,
  seq: 1,
  lsn,
  uid,
})

const TABLE: LedgerRow = {
  source_schema: 'public',
  source_table: 't',
  destination_schema: 'public',
  destination_table: 't',
  version: 1,
  topic: TOPIC,
  incarnation: 'i',
  next_offset: 0,
  epoch: 0,
  lsn: '0/0',
  sequence: 0,
  state: 'active',
  held_by: '',
  needs_emptying: false,
  history_complete: false,
}
const BACKFILL: LedgerRow = {
  uid: 'u',
  name: 'b',
  source_schema: 'public',
  source_table: 't',
  state: 'held',
  action: 'Truncate',
  version: 1,
  attempt: 0,
  plan: 0,
  action_done: false,
}

/** Follows one row of the ledger from version to version. */
function follow(of: LedgerEvent['of'], first: LedgerRow) {
  let row: LedgerRow | null = null
  return (change: Partial<LedgerRow>, at: number, backfill: LedgerRow | null = null): LedgerEvent => {
    const old: LedgerRow | null = row
    const next: LedgerRow = old
      ? { ...old, ...('version' in old && { version: Number(old.version) + 1 }), ...change }
      : { ...first, ...change }
    row = next
    id += 1
    return { kind: 'ledger', at, id, tx: String(tx), of, old, new: next, backfill }
  }
}

function write(at: number, change: Change): WriteEvent {
  id += 1
  return { kind: 'write', at, id, tx: String(tx), table: T, change }
}

const shown = (
  at: number,
  phase: string,
  queue: string,
  over: Partial<BackfillEvent> = {},
): BackfillEvent => ({
  kind: 'backfill',
  at,
  name: 'b',
  uid: 'u',
  table: T,
  phase,
  queue,
  calledOff: false,
  waits: false,
  deleted: false,
  ...over,
})

function life(): Event[] {
  id = 0
  tx = 0
  const table = follow('tables', TABLE)
  const backfill = follow('backfills', BACKFILL)
  const chunks = [0, 1].map((chunk) =>
    follow('chunks', { uid: 'u', plan: 1, chunk, state: 'planned', attempt: 0 }),
  )
  const held = { ...BACKFILL, attempt: 1, plan: 1, action_done: true }
  const inOne = (...make: (() => Event)[]): Event[] => {
    tx += 1
    return make.map((each) => each())
  }
  return [
    setting(),
    // The source: a row of before the join, one more, the hold, changes while the copy runs.
    commit(10, '0/110', insert('a1')),
    commit(20, '0/210', insert('b1')),
    commit(30, '0/410', update('a1', 'a2')),
    commit(40, '0/510', insert('c1')),
    commit(50, '0/710', remove('b1')),
    run(0, 100, control('join', '0/180', '0/188')),
    run(1, 110, { tx: '0/200', xid: 20, sequences: [1] }),
    run(2, 120, control('hold', '0/300', '0/308', 'u')),
    run(3, 130, { tx: '0/400', xid: 30, sequences: [1] }),
    run(4, 140, { tx: '0/500', xid: 40, sequences: [1] }),
    run(5, 150, control('release', '0/600', '0/608', 'u')),
    run(6, 160, { tx: '0/700', xid: 50, sequences: [1] }),
    { kind: 'record', at: 115, epoch: 1, lsn: '0/210' },
    { kind: 'record', at: 170, epoch: 1, lsn: '0/710' },
    { kind: 'slot', at: 114, confirmed: '0/100' },
    { kind: 'slot', at: 116, confirmed: '0/210' },
    { kind: 'slot', at: 171, confirmed: '0/710' },
    ...inOne(() => table({}, 200)),
    ...inOne(
      () => table({ next_offset: 2, epoch: 1, lsn: '0/200', sequence: 1 }, 210),
      () => write(210, insert('b1')),
    ),
    ...inOne(
      () => table({ next_offset: 2, lsn: '0/300', held_by: 'u' }, 220),
      () => backfill({}, 220),
    ),
    shown(225, 'Preparing', 'Held'),
    shown(226, 'Backfilling', 'Held'),
    ...inOne(() => backfill({ attempt: 1 }, 230)),
    ...inOne(
      () => write(240, { op: 'truncate' }),
      () => table({}, 240),
      () => backfill({ action_done: true }, 240),
    ),
    ...inOne(() => backfill({ plan: 1 }, 250), ...chunks.map((chunk) => () => chunk({}, 250))),
    ...inOne(
      () => write(260, insert('a2')),
      () => chunks[0]?.({ state: 'done', attempt: 1 }, 260, held) as Event,
    ),
    ...inOne(
      () => write(270, insert('b1')),
      () => write(270, insert('c1')),
      () => chunks[1]?.({ state: 'done', attempt: 1 }, 270, held) as Event,
    ),
    ...inOne(
      () => backfill({ state: 'copied' }, 280),
      () => table({ held_by: '' }, 280),
    ),
    shown(285, 'Draining', 'Copied'),
    ...inOne(
      () => table({ next_offset: 6, lsn: '0/600', history_complete: true }, 290),
      () => backfill({ state: 'drained' }, 290),
    ),
    shown(295, 'Streaming', 'Drained'),
    { kind: 'pipeline', at: 296, tables: [{ table: T, state: 'Streaming', historyComplete: true }] },
    ...inOne(
      () => table({ next_offset: 7, lsn: '0/700' }, 300),
      () => write(300, remove('b1')),
    ),
    ...inOne(() => table({ lsn: '0/800' }, 310)),
    { kind: 'topic', at: 311, topic: TOPIC, earliest: 6 },
    { kind: 'scan', server: 'replica', table: T, calls: 2 },
  ]
}

/** The life with one event changed, or taken away. */
function broken(matches: (event: Event) => boolean, change: (event: Event) => Event | undefined): Event[] {
  const events = life()
  const index = events.findIndex(matches)
  if (index < 0) throw new Error('nothing to break')
  const changed = change(events[index] as Event)
  return events.toSpliced(index, 1, ...(changed ? [changed] : []))
}

const isLedger =
  (of: LedgerEvent['of'], at: number) =>
  (event: Event): event is LedgerEvent =>
    event.kind === 'ledger' && event.of === of && event.at === at
const isWrite = (at: number) => (event: Event) => event.kind === 'write' && event.at === at
const isRun = (offset: number) => (event: Event) => event.kind === 'run' && event.offset === offset
const row = (change: Partial<LedgerRow>) => (event: Event) =>
  ({ ...event, new: { ...(event as LedgerEvent).new, ...change } }) as Event
const to = (change: Partial<Event>) => (event: Event) => ({ ...event, ...change }) as Event

it('finds nothing wrong with a life as it should be', () => {
  expect(checkHistory(life())).toEqual([])
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

describe('allows that', () => {
  it('a suspended backfill waits while another one runs', () => {
    const waiting = shown(330, 'Preparing', '', { uid: 'v', name: 'v', waits: true })
    const going = shown(331, 'Preparing', '', { uid: 'w', name: 'w', table: 'public.other' })
    expect(checkHistory([...life(), waiting, going])).toEqual([])
  })

  it('a change of the catalog stands among changes that were sent before a restart', () => {
    const changed = run(7, 165, control('changed', '0/700', '', ''))
    const repeated = run(8, 166, { tx: '0/700', xid: 50, sequences: [1] })
    const among = { ...changed, lines: [{ ...(changed.lines[0] as RunLine), seq: 0 } as RunLine] }
    expect(checkHistory([...life(), among, repeated])).toEqual([])
  })

  it('single columns of a row are newer than the position, and none older', () => {
    const withRow = (image: string) => {
      const events = life().map((event) => {
        const text = JSON.stringify(event)
        return JSON.parse(text.replaceAll('"a2"', '"a.2.2"').replaceAll('"a1"', '"a.1.1"')) as Event
      })
      const at = events.findIndex((event) => event.kind === 'write' && event.at === 260)
      events[at] = { ...(events[at] as WriteEvent), change: insert(image) }
      return [...events, commit(60, '0/910', update('a.2.2', 'a.3.3'))]
    }
    const stale = /never stale.*that the source never had/
    expect(checkHistory(withRow('a.2.3')).join('\n')).not.toMatch(stale)
    expect(checkHistory(withRow('a.2.1')).join('\n')).toMatch(stale)
    expect(checkHistory(withRow('a.2.4')).join('\n')).toMatch(stale)
    expect(checkHistory(withRow('b.2.3')).join('\n')).toMatch(stale)
  })

  it('a slot that was moved by hand, and went back before anybody saw it, was not acknowledged', () => {
    const moved = broken((event) => event.kind === 'slot' && event.at === 116, to({ confirmed: '0/500' }))
    const struck = (what: string): Event => ({ kind: 'struck', at: 115, what })
    const told = (what: string) => checkHistory([...moved, struck(MOVE_SLOT), struck(what)]).join('\n')
    expect(told(`${MOVE_SLOT}: 0/500`)).not.toMatch(/acknowledged after recorded/)
    expect(told(`${MOVE_SLOT}: 0/400`)).toMatch(/acknowledged after recorded/)
  })

  it('what begins before the slot after a gap is not in the queue, and all that begins behind it is', () => {
    const gap = (ends: string) => [
      ...life(),
      run(7, 165, { control: 'gap', tx: '0/8FF', seq: 0, lsn: '', uid: '' }),
      commit(60, ends, insert('y1')),
      commit(61, '0/990', insert('z1')),
      run(8, 175, { tx: '0/980', xid: 61, sequences: [1] }),
    ]
    const incomplete = /I1 the queue is complete.*0 of 1 changes of transaction 60/
    expect(checkHistory(gap('0/900')).join('\n')).not.toMatch(incomplete)
    expect(checkHistory(gap('0/901')).join('\n')).toMatch(incomplete)
  })

  it('a table that is told of a gap before it joins has nothing in the queue between the two', () => {
    const told = (first: Event) => [
      ...life().filter((event) => event.kind !== 'run'),
      first,
      run(1, 101, { control: 'gap', tx: '0/0FF', seq: 0, lsn: '', uid: '' }),
      commit(60, '0/110', insert('y1')),
      run(2, 102, { control: 'changed', tx: '0/120', seq: 0, lsn: '', uid: '' }),
    ]
    const incomplete = /I1 the queue is complete.*0 of 1 changes of transaction 60/
    const join = run(0, 100, { control: 'join', tx: '0/0F0', seq: 0, lsn: '0/0F0', uid: '' })
    const leave = run(0, 100, { control: 'leave', tx: '0/0F0', seq: 0, lsn: '', uid: '' })
    const first = run(0, 100, { control: 'gap', tx: '0/0F0', seq: 0, lsn: '', uid: '' })
    expect(checkHistory(told(first)).join('\n')).not.toMatch(incomplete)
    expect(checkHistory(told(leave)).join('\n')).not.toMatch(incomplete)
    expect(checkHistory(told(join)).join('\n')).toMatch(incomplete)
  })

  it('a transaction of both sides of a leave is half in a topic that begins behind it', () => {
    const state = (name: string) => [
      ...life().filter((event) => event.kind !== 'run' || event.offset > 3),
      {
        ...(life().find(isLedger('tables', 290)) as LedgerEvent),
        at: 289,
        new: { ...TABLE, version: 5, next_offset: 4, lsn: '0/400', state: name },
      },
      commit(60, '0/910', insert('y1'), remove('y1')),
      run(7, 165, { tx: '0/900', xid: 60, sequences: [1] }),
      commit(61, '0/990', insert('z1')),
      run(8, 175, { tx: '0/980', xid: 61, sequences: [1] }),
    ]
    const incomplete = /I1 the queue is complete.*1 of 2 changes of transaction 60/
    expect(checkHistory(state('active') as Event[]).join('\n')).toMatch(incomplete)
    expect(checkHistory(state('left') as Event[]).join('\n')).not.toMatch(incomplete)
  })

  it('a row is newer than the position, as after a re-read', () => {
    const events = broken(isWrite(300), to({ change: remove('b1') } as Partial<Event>))
    const later = [
      commit(60, '0/910', update('c1', 'c2')),
      run(7, 165, { tx: '0/900', xid: 60, sequences: [1] }),
    ]
    tx += 1
    const old = {
      ...TABLE,
      version: 10,
      next_offset: 7,
      epoch: 1,
      lsn: '0/800',
      sequence: 1,
      history_complete: true,
    }
    const last = events.findLast(
      (event): event is LedgerEvent => event.kind === 'ledger' && event.of === 'tables',
    )
    const step: Event = {
      kind: 'ledger',
      at: 320,
      id: 2000,
      tx: 'x',
      of: 'tables',
      old: last?.new ?? old,
      new: { ...(last?.new ?? old), version: Number(last?.new?.version) + 1, lsn: '0/850' },
      backfill: null,
    }
    const newer: Event = { kind: 'write', at: 320, id: 2001, tx: 'x', table: T, change: update('c1', 'c2') }
    expect(checkHistory([...events, ...later, step, newer])).toEqual([])
  })

  it('what was sent twice is there once, the front of the topic being deleted', () => {
    const left = life().filter((event) => event.kind !== 'run' || event.offset >= 4)
    const again = run(
      7,
      180,
      { tx: '0/400', xid: 30, sequences: [1] },
      { tx: '0/500', xid: 40, sequences: [1] },
    )
    const last = left.findLastIndex(({ kind }) => kind === 'run')
    expect(checkHistory(left.toSpliced(last + 1, 0, again))).toEqual([])
  })

  it('the destination tells nothing, as Redshift does', () => {
    const events = life().filter(({ kind }) => kind !== 'ledger' && kind !== 'write')
    expect(checkHistory(events)).toEqual([])
  })

  it('a change before the join is not in the queue', () => {
    expect(life().some((event) => event.kind === 'commit' && event.xid === 10)).toBe(true)
    expect(checkHistory(life())).toEqual([])
  })
})
