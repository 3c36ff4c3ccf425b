import { type Header, PART_HEADER, type QueueValue, RUN_HEADER } from '../../workers/queue/format.ts'
import type { Queue, QueueRecord } from '../../workers/queue/queue.ts'

/** One line of a topic with what the lines before it say. Read without any code of capture or apply. */
export interface Event {
  readonly op: 'i' | 'u' | 'd' | 't' | 'control'
  readonly header: Header
  readonly tx: string
  readonly xid: number
  readonly seq: number
  /** Comparable: epoch, commit LSN, sequence. */
  readonly position: readonly [number, bigint, number]
  /** By column name; `undefined` = unchanged. */
  readonly row: Readonly<Record<string, string | null | undefined>>
  readonly old: readonly QueueValue[] | undefined
  /** Control lines only. */
  readonly control: Readonly<Record<string, unknown>> & { readonly control?: string }
}

const never = new AbortController().signal

/** Everything in a topic; parts put together. */
export async function readEvents(queue: Queue, topic: string): Promise<Event[]> {
  if (!(await queue.offsets(topic, never))) return []
  return parseRuns(assemble(await queue.readAll(topic, never)))
}

export function assemble(records: readonly Pick<QueueRecord, 'value' | 'headers'>[]): Buffer[] {
  const runs: Buffer[] = []
  let parts: Buffer[] = []
  let run = ''
  for (const { value, headers } of records) {
    const part = headers[PART_HEADER]
    if (part === undefined) {
      runs.push(value)
      continue
    }
    const [index, count] = part.split('/').map(Number)
    if (index === 1) {
      parts = []
      run = headers[RUN_HEADER] ?? ''
    }
    if (headers[RUN_HEADER] !== run || index !== parts.length + 1) continue
    parts.push(value)
    if (index === count) runs.push(Buffer.concat(parts))
  }
  return runs
}

export function parseRuns(runs: readonly Buffer[]): Event[] {
  const events: Event[] = []
  for (const run of runs) {
    let header: Header | undefined
    let tx = ''
    let xid = 0
    const text = run.toString('utf8')
    if (!text.endsWith('\n')) throw new Error('a run without its last newline')
    for (const line of text.slice(0, -1).split('\n')) {
      const parsed: unknown = JSON.parse(line)
      if (Array.isArray(parsed)) {
        if (!header || tx === '') throw new Error('a row without header or transaction')
        const [op, seq, values, old] = parsed as [Event['op'], number, QueueValue[]?, QueueValue[]?]
        events.push(rowEvent(header, tx, xid, op, seq, values, old))
      } else if ('v' in (parsed as object)) {
        header = parsed as Header
      } else if ('control' in (parsed as object)) {
        const control = parsed as { control: string; tx: string; seq: number }
        if (!header) throw new Error('a control line without header')
        const place = {
          tx: control.tx,
          seq: control.seq,
          position: position(header, control.tx, control.seq),
        }
        events.push({
          op: 'control',
          header,
          xid: 0,
          row: {},
          old: undefined,
          control: { ...control },
          ...place,
        })
      } else {
        ;({ tx, xid } = parsed as { tx: string; xid: number })
      }
    }
  }
  return events
}

function rowEvent(
  header: Header,
  tx: string,
  xid: number,
  op: Event['op'],
  seq: number,
  values: QueueValue[] | undefined,
  old: QueueValue[] | undefined,
): Event {
  const place = { header, tx, xid, seq, position: position(header, tx, seq), control: {} }
  if (op === 't') return { op, ...place, row: {}, old: undefined }
  if (op === 'd') return { op, ...place, row: {}, old: values }
  if (values?.length !== header.columns.length) throw new Error('a row with another number of columns')
  const row = Object.fromEntries(
    header.columns.map(([name], index) => [
      name,
      values[index] === 0 ? undefined : (values[index] as string | null),
    ]),
  )
  return { op, ...place, row, old }
}

function position(header: Header, tx: string, seq: number): [number, bigint, number] {
  const [high = '', low = ''] = tx.split('/')
  return [header.epoch, (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`), seq]
}

export function comparePlaces(a: Event['position'], b: Event['position']): number {
  if (a[0] !== b[0]) return a[0] - b[0]
  if (a[1] !== b[1]) return a[1] < b[1] ? -1 : 1
  return a[2] - b[2]
}

/** Leaves out what comes again at or below a position that was there before, as apply does. */
export function withoutRepeats(events: readonly Event[]): Event[] {
  let last: Event['position'] = [0, 0n, 0]
  return events.filter((event) => {
    if (comparePlaces(event.position, last) <= 0) return false
    last = event.position
    return true
  })
}

/** Plays the events in order; the rows that are left, by key. Unchanged values stay as they were. */
export function replay(events: readonly Event[]): Map<string, Record<string, string | null | undefined>> {
  const rows = new Map<string, Record<string, string | null | undefined>>()
  for (const event of withoutRepeats(events)) {
    const key = keyNames(event.header)
    const keyOf = (row: Event['row']) => JSON.stringify(key.map((name) => row[name]))
    if (event.op === 't') rows.clear()
    if (event.op === 'd') rows.delete(JSON.stringify(event.old))
    if (event.op === 'i') rows.set(keyOf(event.row), { ...event.row })
    if (event.op === 'u') {
      const before = event.old ? JSON.stringify(event.old) : keyOf(event.row)
      const merged = { ...rows.get(before) }
      for (const [name, value] of Object.entries(event.row)) if (value !== undefined) merged[name] = value
      rows.delete(before)
      rows.set(keyOf(merged), merged)
    }
  }
  return rows
}

function keyNames(header: Header): string[] {
  return header.columns
    .filter(([, , key]) => key > 0)
    .sort((a, b) => a[2] - b[2])
    .map(([name]) => name)
}

/** The changes of rows alone. */
export function rowsOf(events: readonly Event[]): Event[] {
  return events.filter((event) => event.op !== 'control')
}

/** What the control events say, in order. */
export function controls(events: readonly Event[]) {
  return events.flatMap((event) => (event.op === 'control' ? [event.control.control] : []))
}
