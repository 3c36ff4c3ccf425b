import { sleep } from '../../lib/sleep.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import { fromClause } from '../source/catalog.ts'
import type { Connection } from '../source/connect.ts'
import { untilFlushed } from '../source/flush.ts'
import { readReplayPosition } from '../source/identity.ts'
import type { LSN } from '../source/lsn.ts'
import {
  type Column,
  comparable,
  comparableText,
  type TableDefinition,
  type TableName,
} from '../source/table.ts'
import { isAnyRunning } from '../source/writers.ts'

export interface RereadRequest {
  readonly table: TableName
  readonly key: readonly string[]
  /** Names of the columns that are wanted. */
  readonly columns: readonly string[]
  readonly rows: readonly RereadRow[]
}

export interface RereadRow {
  /** In key order, as the source writes them. */
  readonly key: readonly string[]
  /** Transaction of the row's last change: the server must be past it. */
  readonly lsn: LSN
  readonly xid: number
}

/** The first `values.length` rows of the request: as many as memory allows, at least one. */
export interface Reread {
  /** The wanted columns' values as the source writes them; undefined = there is no such row. */
  readonly values: readonly (readonly (string | null)[] | undefined)[]
}

/** How long a replica is waited for before the primary is asked, milliseconds. */
const REPLAY_PATIENCE = 2_000
const POLL = 50
/** Stored bytes that one answer may have; compressed values take more when they are read. */
const ANSWER_BYTES = 4_000_000

/** Whether a replica has replayed the commits of all rows; waits a moment for it. */
export async function pastOnReplica(
  connection: Connection,
  request: RereadRequest,
  signal: AbortSignal,
): Promise<boolean> {
  let wanted = 0n
  for (const { lsn } of request.rows) if (lsn > wanted) wanted = lsn
  const deadline = performance.now() + REPLAY_PATIENCE
  for (;;) {
    const { inRecovery, replayed } = await readReplayPosition(connection)
    if (!inRecovery) return false
    // `wanted` is where the commit record begins; what was replayed always ends at the end of a record.
    if (replayed > wanted) return true
    if (performance.now() > deadline) return false
    await sleep(POLL, signal)
  }
}

/** Waits until the transactions of all rows have ended on the primary, and what they wrote can be seen. */
export async function pastOnPrimary(
  connection: Connection,
  request: RereadRequest,
  signal: AbortSignal,
): Promise<void> {
  const xids = [...new Set(request.rows.map(({ xid }) => xid))]
  while (await isAnyRunning(connection, xids)) await sleep(POLL, signal)
}

/**
 * Reads the rows. Undefined when a replica does not have a wanted column yet; on the primary such a column is gone, and its
 * value with it: null.
 *
 * @param table as this server's catalog has it; undefined = the table is gone, and so is every row
 */
export async function readAgain(
  connection: Connection,
  table: TableDefinition | undefined,
  request: RereadRequest,
  isPrimary: boolean,
): Promise<Reread | undefined> {
  const known = new Map(table?.columns.map((column) => [column.name, column]))
  if (!table || request.key.some((name) => !known.has(name))) {
    return isPrimary ? { values: request.rows.map(() => undefined) } : undefined
  }
  if (!isPrimary && request.columns.some((name) => !known.has(name))) return undefined
  const present = request.columns.filter((name) => known.has(name))
  const taken = await countThatFit(connection, table, known, request, present)
  const rows = request.rows.slice(0, taken)
  const selected = present.map((name, index) => `t.${quoteIdentifier(name)} AS v${index}`)
  const found = await connection.query(
    `SELECT ${['r.n', ...selected].join(', ')} ${fromRows(table, known, request.key)}`,
    keyArrays(request.key, rows),
  )
  // What was read may be newer than the change, by a transaction whose commit is not safe on disk yet: should the primary
  // crash, it would never have been (rule R13).
  if (isPrimary && found.length > 0) await untilFlushed(connection)
  const values: ((string | null)[] | undefined)[] = rows.map(() => undefined)
  for (const row of found) {
    values[Number(row.n) - 1] = request.columns.map((name) => {
      const index = present.indexOf(name)
      return index < 0 ? null : (row[`v${index}`] ?? null)
    })
  }
  return { values }
}

/** How many rows, from the first on, are not more than fits into an answer. */
async function countThatFit(
  connection: Connection,
  table: TableDefinition,
  known: ReadonlyMap<string, Column>,
  { key, rows }: RereadRequest,
  columns: readonly string[],
): Promise<number> {
  if (rows.length === 1 || columns.length === 0) return rows.length
  const size = columns
    .map((name) => `coalesce(pg_column_size(t.${quoteIdentifier(name)}), 0)::bigint`)
    .join(' + ')
  const sizes = await connection.query(
    `SELECT r.n, ${size} AS size ${fromRows(table, known, key)} ORDER BY r.n`,
    keyArrays(key, rows),
  )
  let bytes = 0
  for (const { n, size } of sizes) {
    bytes += Number(size)
    if (bytes > ANSWER_BYTES) return Math.max(1, Number(n) - 1)
  }
  return rows.length
}

function fromRows(
  table: TableDefinition,
  known: ReadonlyMap<string, Column>,
  key: readonly string[],
): string {
  const arrays = key.map((_, index) => `$${index + 1}::text[]`).join(', ')
  const names = key.map((_, index) => `k${index}`).join(', ')
  const same = key.map((name, index) => {
    const column = known.get(name) as Column
    const there = comparable(column, `t.${quoteIdentifier(name)}`)
    return `${there} ${column.equals ?? '='} ${comparableText(column, `r.k${index}`)}`
  })
  return `FROM unnest(${arrays}) WITH ORDINALITY AS r (${names}, n) JOIN ${fromClause(table)} AS t ON ${same.join(' AND ')}`
}

function keyArrays(key: readonly string[], rows: readonly RereadRow[]): string[] {
  return key.map((_, index) => arrayText(rows.map((row) => row.key[index] ?? '')))
}

/** A `text[]` as PostgreSQL reads it. */
function arrayText(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`
}
