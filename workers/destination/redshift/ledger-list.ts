import type { LedgerBackfill, LedgerContent } from '../ledger.ts'
import type { LedgerContext } from './ledger.ts'
import { changedAt, type StoredRow, TABLE_ID, toBackfill, toTable } from './ledger-rows.ts'
import { literal } from './literals.ts'

/** How long ended backfills are listed. */
const LISTED_MILLISECONDS = 7 * 24 * 60 * 60 * 1000

/** SQL: rows of a ledger that are about backfills. */
export const IS_BACKFILL = "id LIKE 'backfill %'"

/** Backfills that are going on and the ended ones of the last days, the oldest first, and remembers them. */
export function listBackfills(
  { known, now }: Pick<LedgerContext, 'known' | 'now'>,
  found: ReadonlyMap<string, readonly StoredRow[]>,
): LedgerBackfill[] {
  const listed: { row: StoredRow; ledger: string; at: number }[] = []
  for (const [ledger, stored] of found) {
    for (const row of stored) {
      const at = changedAt(row)
      const going = row.state === 'held' || row.state === 'copied'
      if (going || at > now() - LISTED_MILLISECONDS) listed.push({ row, ledger, at })
    }
  }
  return listed
    .sort((a, b) => a.at - b.at || (a.row.id < b.row.id ? -1 : 1))
    .map(({ row, ledger }) => {
      const backfill = toBackfill(row)
      known.remember(ledger, backfill)
      return backfill
    })
}

/**
 * `Ledger.readAll`. Every transaction of a table holds a lock on its ledger to its end, and that may wait for whoever has
 * locked the destination table: so what does not answer soon is left out.
 */
export async function readLedger(context: LedgerContext, signal: AbortSignal): Promise<LedgerContent> {
  const { names, pipeline, readSoon, query } = context.store
  const own = `pipeline = ${literal(pipeline)}`
  const [tables, others] = await Promise.all([
    query(
      `SELECT source_schema, source_table, ledger FROM ${names.tables} WHERE ${own} ORDER BY source_schema, source_table`,
      'millrace ledger tables',
      signal,
    ),
    query(`SELECT DISTINCT ledger FROM ${names.backfills} WHERE ${own}`, 'millrace ledger backfills', signal),
  ])
  const ledgers = new Set([...tables, ...others].map(({ ledger }) => names.named(ledger ?? '')))
  const { rows, locked } = await readSoon([...ledgers], `id = ${literal(TABLE_ID)} OR ${IS_BACKFILL}`, signal)
  const pick = (isTable: boolean) =>
    new Map([...rows].map(([of, its]) => [of, its.filter(({ id }) => (id === TABLE_ID) === isTable)]))
  const rowsOfTables = pick(true)
  return {
    tables: tables.flatMap(({ ledger }) => rowsOfTables.get(names.named(ledger ?? ''))?.map(toTable) ?? []),
    backfills: listBackfills(context, pick(false)),
    locked: tables
      .filter(({ ledger }) => locked.includes(names.named(ledger ?? '')))
      .map((row) => ({ schema: row.source_schema ?? '', name: row.source_table ?? '' })),
  }
}
