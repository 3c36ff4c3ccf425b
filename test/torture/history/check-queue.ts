import { type Check, type CommitEvent, type History, MOVE_SLOT, of, type RunEvent } from './events.ts'
import { lsn } from './lsn.ts'

const MOST = 5

/** I1, R15: within an epoch, what a topic says for the first time comes in commit order. */
export const queueIsInOrder: Check = (history) => {
  const found: string[] = []
  for (const [topic, runs] of byTopic(history)) {
    let last: { epoch: number; tx: bigint; seq: number } | undefined
    const known = new Set<string>()
    for (const { epoch, lines } of runs) {
      for (const line of lines) {
        // It stands where capture was when it looked at the catalog: after a restart that is among changes that were sent already.
        if ('control' in line && line.control === 'changed') continue
        const sequences = 'control' in line ? [line.seq] : line.sequences
        for (const seq of sequences) {
          const at = { epoch, tx: lsn(line.tx), seq }
          const key = `${epoch} ${line.tx} ${seq}`
          if (known.has(key)) continue
          known.add(key)
          if (last && isBefore(at, last) && found.length < MOST)
            found.push(
              `${topic}: ${key} comes for the first time after ${last.epoch} ${last.tx.toString(16)} ${last.seq}`,
            )
          if (!last || isBefore(last, at)) last = at
        }
      }
    }
  }
  return found
}

/** I1: each change that was committed while the table was in the publication is in its topic. */
export const queueIsComplete: Check = (history) => {
  const [setting] = of(history, 'setting')
  if (setting?.failedOver) return []
  const commits = of(history, 'commit')
  return [...byTopic(history).values()].flatMap((runs) =>
    missing(runs, commits, runs[0] === undefined || beginsInside(history, runs[0])),
  )
}

/**
 * Whether what stands first in a topic follows on records that were deleted, and not on a *leave*: what was written on both
 * sides of one is half there.
 */
function beginsInside(history: History, { topic, offset }: RunEvent): boolean {
  if (offset === 0) return false
  const passed = of(history, 'ledger').flatMap(({ of: kind, new: row }) =>
    kind === 'tables' && row?.topic === topic && Number(row.next_offset) <= offset ? [row] : [],
  )
  const furthest = Math.max(0, ...passed.map((row) => Number(row.next_offset)))
  return passed.findLast((row) => Number(row.next_offset) === furthest)?.state !== 'left'
}

function missing(runs: readonly RunEvent[], commits: readonly CommitEvent[], headless: boolean): string[] {
  const table = runs[0]?.table ?? ''
  const counts = new Map<number, Set<number>>()
  for (const { lines } of runs) {
    for (const line of lines) {
      if ('control' in line) continue
      const known = counts.get(line.xid) ?? new Set()
      counts.set(line.xid, known)
      for (const sequence of line.sequences) known.add(sequence)
    }
  }
  const covered = intervals(runs, headless)
  const found: string[] = []
  for (const { xid, end, changes } of commits) {
    const wanted = changes.filter((each) => each.table === table).length
    const place = lsn(end)
    if (wanted === 0 || !covered.some(([from, to]) => place > from && place <= to)) continue
    const there = counts.get(xid)?.size ?? 0
    if (there !== wanted && found.length < MOST)
      found.push(
        `${table}: the queue has ${there} of ${wanted} changes of transaction ${xid}, which ended at ${end}`,
      )
  }
  return found
}

/**
 * From each join, or from the first record that has not been deleted, to the last place before the next leave, join, gap or end.
 * What came behind the last record that is there was not to be there yet.
 */
function intervals(runs: readonly RunEvent[], headless: boolean): [bigint, bigint][] {
  const found: [bigint, bigint][] = []
  let from: bigint | undefined
  let last = 0n
  let isIn = headless
  const close = () => {
    if (from !== undefined && last > from) found.push([from, last])
    from = undefined
  }
  for (const { lines } of runs) {
    for (const line of lines) {
      const place = lsn(line.tx)
      const control = 'control' in line ? line.control : undefined
      // A table that joins was not in the publication just before.
      if (control === 'gap' || control === 'leave' || control === 'join') close()
      if (control === 'join') from = from ?? ('lsn' in line && line.lsn ? lsn(line.lsn) : place)
      // It stands just before the slot, which passes over a commit that begins before it, though it may end where the slot stands.
      // A table that has a topic is told of it also before it has joined, and after it has left.
      if (control === 'gap' && isIn) from = place + 1n
      if (control === 'join' || control === 'leave') isIn = control === 'join'
      // A topic whose beginning is gone: what stands first may have lost its front.
      if (from === undefined && control === undefined && headless && found.length === 0) from = place + 1n
      if (place > last) last = place
    }
  }
  close()
  return found
}

/** I5: capture says that the queue has the log up to somewhere only once the queue has it. */
export const recordedAfterSent: Check = (history) => {
  const found: string[] = []
  const records = of(history, 'record')
  for (const [topic, runs] of byTopic(history)) {
    const sent = new Map<string, { place: bigint; epoch: number; at: number }>()
    for (const { at, epoch, lines } of runs) {
      for (const line of lines) {
        if ('control' in line) continue
        const key = `${epoch} ${line.tx}`
        if (!sent.has(key)) sent.set(key, { place: lsn(line.tx), epoch, at })
      }
    }
    for (const { place, epoch, at } of sent.values()) {
      const early = records.find(
        (record) => record.epoch === epoch && lsn(record.lsn) > place && record.at < at,
      )
      if (early && found.length < MOST)
        found.push(
          `${topic}: recorded up to ${early.lsn} at ${early.at}, and ${place.toString(16)} was sent at ${at}`,
        )
    }
  }
  return found
}

/** I5: the slot is moved on only behind what capture has recorded. */
export const acknowledgedAfterRecorded: Check = (history) => {
  const found: string[] = []
  const records = of(history, 'record')
  // A crash of the source takes it back, unless it was written down; then nobody ever hears of it.
  const byHand = new Set(of(history, 'struck').flatMap(({ what }) => what.split(`${MOVE_SLOT}: `)[1] ?? []))
  let last: string | null = null
  for (const { at, confirmed } of of(history, 'slot')) {
    const before: string | null = last
    last = confirmed
    if (confirmed === null || before === null || lsn(confirmed) <= lsn(before)) continue
    if (byHand.has(confirmed)) continue
    const known = records.filter((record) => record.at <= at)
    const newest = known.at(-1)
    // A slot that is made again in a new epoch begins where it likes, and is recorded right after.
    const next = records.find((record) => record.at > at)
    if (!newest || (next && next.epoch > newest.epoch)) continue
    if (!known.some((record) => record.epoch === newest.epoch && lsn(record.lsn) >= lsn(confirmed)))
      found.push(
        `the source was told ${confirmed} before ${at}, and ${newest.lsn} was the last that was recorded`,
      )
  }
  return found.slice(0, MOST)
}

/** I6: nothing is deleted from a topic that the ledger has not passed. */
export const deletedAfterApplied: Check = (history) => {
  const found: string[] = []
  const expired = of(history, 'struck').some(({ what }) => what.includes('expire records'))
  if (expired || of(history, 'ledger').length === 0) return []
  const steps = of(history, 'ledger').flatMap(({ of: kind, at, new: row }) =>
    kind === 'tables' && row ? [{ at, row }] : [],
  )
  for (const { at, topic, earliest } of of(history, 'topic')) {
    const passed = steps.filter(({ row }) => row.topic === topic)
    if (earliest === 0) continue
    const furthest = Math.max(0, ...passed.map(({ row }) => Number(row.next_offset)))
    if (earliest > furthest)
      found.push(`${topic} began at ${earliest} at ${at}, and the ledger had come to ${furthest}`)
  }
  return found.slice(0, MOST)
}

interface Place {
  readonly epoch: number
  readonly tx: bigint
  readonly seq: number
}

const isBefore = (a: Place, b: Place) =>
  a.epoch !== b.epoch ? a.epoch < b.epoch : a.tx !== b.tx ? a.tx < b.tx : a.seq < b.seq

/**
 * Runs by topic and incarnation. Where the front of a topic was deleted, what was sent a second time may be there without its
 * first time, so that what lies before the first line that is left is left out.
 */
function byTopic(history: History): Map<string, RunEvent[]> {
  const found = new Map<string, RunEvent[]>()
  for (const run of of(history, 'run')) {
    const key = `${run.topic} ${run.incarnation}`
    const known = found.get(key) ?? []
    found.set(key, known)
    known.push(run)
  }
  for (const [key, runs] of found) {
    const first = runs[0]?.lines[0]
    if (!first || runs[0]?.offset === 0) continue
    const from = lsn(first.tx)
    const { epoch = 0 } = runs[0] ?? {}
    found.set(
      key,
      runs.map((run) => ({
        ...run,
        lines: run.lines.filter(({ tx }) => run.epoch > epoch || lsn(tx) > from),
      })),
    )
  }
  return found
}
