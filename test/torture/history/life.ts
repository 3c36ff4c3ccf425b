import type {
  BackfillEvent,
  Change,
  CommitEvent,
  Event,
  LedgerEvent,
  LedgerRow,
  RunEvent,
  RunLine,
  SettingEvent,
  WriteEvent,
} from './events.ts'

// A short life of a table, as it should be: joined, held, emptied, copied in two chunks, drained, streamed.

export const T = 'public.t'
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

export const commit = (xid: number, end: string, ...changes: Change[]): CommitEvent => ({
  kind: 'commit',
  at: xid,
  end,
  xid,
  changes: changes.map((change) => ({ table: T, change })),
})
export const insert = (image: string): Change => ({ op: 'row', old: null, new: image })
export const update = (old: string, image: string): Change => ({ op: 'row', old, new: image })
export const remove = (image: string): Change => ({ op: 'row', old: image, new: null })

export const run = (offset: number, at: number, ...lines: RunLine[]): RunEvent => ({
  kind: 'run',
  at,
  topic: TOPIC,
  table: T,
  offset,
  incarnation: 'i',
  epoch: 1,
  lines,
})
export const control = (name: string, place: string, lsn = '', uid = ''): RunLine => ({
  control: name,
  tx: place,
  seq: 1,
  lsn,
  uid,
})

export const TABLE: LedgerRow = {
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
export const BACKFILL: LedgerRow = {
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

export const shown = (
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
  ends: false,
  deleted: false,
  ...over,
})

export function life(): Event[] {
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
export function broken(
  matches: (event: Event) => boolean,
  change: (event: Event) => Event | undefined,
): Event[] {
  const events = life()
  const index = events.findIndex(matches)
  if (index < 0) throw new Error('nothing to break')
  const changed = change(events[index] as Event)
  return events.toSpliced(index, 1, ...(changed ? [changed] : []))
}

export const isLedger =
  (of: LedgerEvent['of'], at: number) =>
  (event: Event): event is LedgerEvent =>
    event.kind === 'ledger' && event.of === of && event.at === at
export const isWrite = (at: number) => (event: Event) => event.kind === 'write' && event.at === at
export const isRun = (offset: number) => (event: Event) => event.kind === 'run' && event.offset === offset
export const row = (change: Partial<LedgerRow>) => (event: Event) =>
  ({ ...event, new: { ...(event as LedgerEvent).new, ...change } }) as Event
export const to = (change: Partial<Event>) => (event: Event) => ({ ...event, ...change }) as Event
