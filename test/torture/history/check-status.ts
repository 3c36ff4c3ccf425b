import { type BackfillEvent, type Check, type History, type LedgerEvent, of } from './events.ts'

const RANK = ['Queued', 'Preparing', 'Backfilling', 'Draining', 'Streaming']
const FINAL = ['Streaming', 'Cancelled', 'Failed', 'Verified']
const ACTIVE = ['Preparing', 'Backfilling']

/** Phases go forward, and a final one stays. Only a backfill that is not held yet may wait again. */
export const phasesGoForward: Check = (history) => {
  const found: string[] = []
  const last = new Map<string, string>()
  for (const { uid, name, phase } of of(history, 'backfill')) {
    const before = last.get(uid)
    last.set(uid, phase)
    if (before === undefined || before === phase || phase === '') continue
    const back = RANK.includes(before) && RANK.includes(phase) && RANK.indexOf(phase) < RANK.indexOf(before)
    if (FINAL.includes(before) || (back && !(before === 'Preparing' && phase === 'Queued')))
      found.push(`backfill ${name} went from ${before} to ${phase}`)
  }
  return found
}

/** Never more at once than maxConcurrentTables, and never two of one table. */
export const neverTooManyAtOnce: Check = (history) => {
  const [setting] = of(history, 'setting')
  if (!setting) return []
  const found: string[] = []
  const active = new Map<string, BackfillEvent>()
  for (const event of of(history, 'backfill')) {
    if (event.deleted || event.waits || !ACTIVE.includes(event.phase)) {
      active.delete(event.uid)
      continue
    }
    const began = !active.has(event.uid)
    // What waited and is ended shows no place in the line any more, and has begun nothing.
    if (began && event.ends) continue
    active.set(event.uid, event)
    if (!began) continue
    const names = [...active.values()].map(({ name }) => name).join(', ')
    if (active.size > setting.maxConcurrentTables)
      found.push(`${names} are copied at once, and maxConcurrentTables is ${setting.maxConcurrentTables}`)
    const ofTable = [...active.values()].filter((one) => one.table === event.table && copies(one))
    if (ofTable.length > 1) found.push(`two backfills of ${event.table} are at work at once: ${names}`)
  }
  return found
}

/** What is copied, and what is ended before it was, lets the next one of its table begin before its own phase says so. */
const copies = ({ calledOff, queue }: BackfillEvent) => !calledOff && !/Copied|Drained|Closed/.test(queue)

/** R5: what status says is a fact of the ledger, and was one before; Streaming comes only after drained. */
export const statusFollowsLedger: Check = (history) => {
  const ledger = of(history, 'ledger')
  if (ledger.length === 0) return []
  const since = firstTimes(ledger)
  const found: string[] = []
  for (const { at, uid, name, phase, queue } of of(history, 'backfill')) {
    const state =
      phase === 'Streaming' || queue === 'Drained'
        ? 'drained'
        : phase === 'Draining'
          ? 'copied'
          : phase === 'Backfilling' || queue === 'Held'
            ? 'held'
            : undefined
    if (state === undefined || phase === 'Cancelled' || phase === 'Failed') continue
    if ((since.get(`${uid} ${state}`) ?? Number.POSITIVE_INFINITY) > at)
      found.push(
        `backfill ${name} is ${phase} (${queue || 'no queue state'}) before the ledger says ${state}`,
      )
  }
  for (const { at, tables } of of(history, 'pipeline')) {
    for (const { table, state, historyComplete } of tables) {
      if (state !== 'Streaming' || !historyComplete) continue
      if ((since.get(`${table} complete`) ?? Number.POSITIVE_INFINITY) > at)
        found.push(`${table} is shown Streaming with its whole history before the ledger says so`)
    }
  }
  return [...new Set(found)]
}

/** When each state was first there, by uid or table. */
function firstTimes(ledger: readonly LedgerEvent[]): Map<string, number> {
  const since = new Map<string, number>()
  const note = (key: string, at: number) => since.set(key, Math.min(since.get(key) ?? at, at))
  for (const { of: kind, at, new: row } of ledger) {
    if (row === null) continue
    if (kind === 'backfills') note(`${row.uid} ${row.state}`, at)
    if (kind === 'tables' && row.history_complete === true)
      note(`${row.source_schema}.${row.source_table} complete`, at)
  }
  return since
}

/** A copy is read from a replica unless it was asked for from the primary. */
export const primaryIsNotRead: Check = (history: History) => {
  const [setting] = of(history, 'setting')
  if (!setting || setting.failedOver) return []
  return of(history, 'scan')
    .filter(
      ({ server, table, calls }) =>
        server === 'primary' && calls > 0 && !setting.readFromPrimary.includes(table),
    )
    .map(({ table, calls }) => `${table} was copied from the primary, ${calls} times`)
}
