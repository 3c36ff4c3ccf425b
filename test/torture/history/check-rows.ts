import { type Change, type Check, type History, type LedgerRow, of } from './events.ts'
import { lsn } from './lsn.ts'
import { add, transactions } from './transactions.ts'

/** More than these of one table say nothing new. */
const MOST = 5

/**
 * I1, I2, I4, I7, I10 at each step, not only in the end: whenever the ledger says that a table has its whole history, no row
 * is in the destination that the source had changed or deleted before the ledger's position, and none is missing that the
 * source had at it. What is newer than the position may be there: chunks and re-reads are, until the queue catches up. A re-read
 * brings only what a change does not say, so that single columns of a row may be newer than the others.
 */
export const neverStale: Check = (history) => {
  const [setting] = of(history, 'setting')
  if (setting?.failedOver) return []
  const sources = sourceTables(history)
  const found = new Map<string, string[]>()
  const states = new Map<string, Rows>()
  for (const { tx, ledger, writes } of transactions(history)) {
    for (const { table, change } of writes) apply(stateOf(states, table).counts, change)
    for (const { of: kind, new: row } of ledger) {
      if (kind !== 'tables' || row === null || !isComplete(row)) continue
      const table = `${row.source_schema}.${row.source_table}`
      const source = sources.get(table)
      if (!source) continue
      const state = stateOf(states, `${row.destination_schema}.${row.destination_table}`)
      const known = found.get(table) ?? []
      found.set(table, known)
      if (known.length < MOST)
        known.push(...compare(source, state.counts, String(row.lsn), `${table}, transaction ${tx}`))
    }
  }
  return [...found.values()].flat()
}

interface Rows {
  readonly counts: Map<string, number>
}

function stateOf(states: Map<string, Rows>, table: string): Rows {
  const known = states.get(table) ?? { counts: new Map() }
  states.set(table, known)
  return known
}

const isComplete = (row: LedgerRow) =>
  row.history_complete === true && row.held_by === '' && row.state === 'active' && row.needs_emptying !== true

interface SourceTable {
  readonly commits: readonly { readonly end: bigint; readonly changes: readonly Change[] }[]
  /** Index of the last commit that brought the image, and of the last that took it away. */
  readonly brought: ReadonlyMap<string, number>
  readonly taken: ReadonlyMap<string, number>
  /** Images that a key has had, with the index of the commit that brought each. */
  readonly versions: ReadonlyMap<string, readonly { readonly image: string; readonly index: number }[]>
  /** What the source had at a place, with all that came before. Places must not go back. */
  upTo(end: bigint): { readonly counts: ReadonlyMap<string, number>; readonly next: number }
}

/** The source's rows over time, by table. */
function sourceTables(history: History): Map<string, SourceTable> {
  const commits = new Map<string, { end: bigint; changes: Change[] }[]>()
  for (const commit of of(history, 'commit')) {
    for (const { table, change } of commit.changes) {
      const known = commits.get(table) ?? []
      commits.set(table, known)
      const end = lsn(commit.end)
      if (known.at(-1)?.end !== end) known.push({ end, changes: [] })
      known.at(-1)?.changes.push(change)
    }
  }
  return new Map([...commits.entries()].map(([table, list]) => [table, sourceTable(list)]))
}

function sourceTable(commits: SourceTable['commits']): SourceTable {
  const brought = new Map<string, number>()
  const taken = new Map<string, number>()
  const versions = new Map<string, { image: string; index: number }[]>()
  const counts = new Map<string, number>()
  commits.forEach(({ changes }, index) => {
    for (const change of changes) {
      if (change.op === 'truncate') for (const image of counts.keys()) taken.set(image, index)
      if (change.op === 'row' && change.old !== null) taken.set(change.old, index)
      if (change.op === 'row' && change.new !== null) {
        brought.set(change.new, index)
        const [key = ''] = change.new.split('.')
        const known = versions.get(key) ?? []
        versions.set(key, known)
        known.push({ image: change.new, index })
      }
      apply(counts, change)
    }
  })
  let now = new Map<string, number>()
  let next = 0
  return {
    commits,
    brought,
    taken,
    versions,
    upTo(end) {
      // A ledger's row that was made anew begins at nothing.
      if (next > 0 && (commits[next - 1]?.end ?? 0n) > end) {
        now = new Map()
        next = 0
      }
      for (; next < commits.length && (commits[next]?.end ?? 0n) <= end; next += 1)
        for (const change of commits[next]?.changes ?? []) apply(now, change)
      return { counts: now, next }
    },
  }
}

function apply(counts: Map<string, number>, change: Change): void {
  if (change.op !== 'row') {
    counts.clear()
    return
  }
  if (change.old !== null) add(counts, change.old, -1)
  if (change.new !== null) add(counts, change.new, 1)
}

function compare(
  source: SourceTable,
  state: ReadonlyMap<string, number>,
  place: string,
  where: string,
): string[] {
  const found: string[] = []
  const { counts, next } = source.upTo(lsn(place))
  for (const [image, count] of state) {
    if (count <= (counts.get(image) ?? 0) || (source.brought.get(image) ?? -1) >= next) continue
    const known = source.brought.has(image)
    if (!known && isAhead(source, image, counts, next)) continue
    found.push(
      `${where}: at ${place} the destination has the row ${image} ${known ? 'of before' : 'that the source never had'}`,
    )
  }
  for (const [image, count] of counts) {
    if (count > (state.get(image) ?? 0) && (source.taken.get(image) ?? -1) < next)
      found.push(`${where}: at ${place} the destination lacks the row ${image}`)
  }
  return found.slice(0, MOST)
}

/** Whether each column of a row has the value that the source had at the place, or a later one, under the row's key. */
function isAhead(
  { versions }: SourceTable,
  row: string,
  counts: ReadonlyMap<string, number>,
  next: number,
): boolean {
  const [key = '', ...columns] = row.split('.')
  const allowed = (versions.get(key) ?? [])
    .filter(({ image, index }) => index >= next || counts.has(image))
    .map(({ image }) => image.split('.').slice(1))
  return (
    columns.length > 0 && columns.every((column, at) => allowed.some((version) => version[at] === column))
  )
}
