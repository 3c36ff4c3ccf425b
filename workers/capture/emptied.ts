import { quoteTable } from '../../lib/sql.ts'
import type { Connection } from '../source/connect.ts'
import { askLeaf, FRONT } from './leaf-rows.ts'
import type { FingerprintLeaf } from './leaves.ts'

/**
 * What the catalog says of a leaf's file. Its entry, and that of its TOAST table, are at least as young as the file; of the two
 * the older one is nearer to it. (Indexes may be older: SET TABLESPACE leaves them where they are.)
 *
 * TRUNCATE forgets how many rows there were, which VACUUM FULL and CLUSTER count anew. After a while something else may have
 * counted them, so a number proves nothing. No statistics at all, and never an insert: it has been empty all along.
 */
const FILE = `
  SELECT n.nspname, l.relname, f.xmin AS transaction, f.cmin AS command, l.reltuples < 0 AS uncounted,
         pg_stat_get_tuples_inserted(l.oid) = 0
           AND NOT EXISTS (SELECT FROM pg_stats s WHERE s.schemaname = n.nspname AND s.tablename = l.relname) AS unused
  FROM pg_class l
  JOIN pg_namespace n ON n.oid = l.relnamespace
  CROSS JOIN LATERAL (SELECT e.xmin, e.cmin FROM pg_class e WHERE e.oid IN (l.oid, l.reltoastrelid)
                      ORDER BY age(e.xmin) DESC, e.cmin::text::bigint LIMIT 1) f
  WHERE l.oid = $1`

/** No row that is written while we look is further ahead than this; one that seems to be is frozen, and very old. */
const FUTURE = -1_000_000

/**
 * Of leaves that have another file than before, those that have none of the rows that they had, with the transaction that gave
 * them the file.
 *
 * Rows that VACUUM FULL, CLUSTER and SET TABLESPACE move are older than the file. The age of frozen ones that have seen
 * all transaction ids go by is negative. Rows that ALTER TABLE writes anew are its own, but no younger than the file.
 *
 * @param isWidened the table got columns, for which files may have been written anew
 */
export async function readEmptiedLeaves(
  connection: Connection,
  leaves: readonly (readonly [FingerprintLeaf, FingerprintLeaf])[],
  isWidened: boolean,
): Promise<ReadonlyMap<number, string>> {
  const emptied = new Map<number, string>()
  for (const [old, { oid, partition }] of leaves) {
    if (!partition) continue
    const [file] = await connection.query(FILE, [String(oid)])
    if (!file) continue
    const moved = old.partition !== undefined && old.partition.tablespace !== partition.tablespace
    // A transaction that began before a TRUNCATE may write after it: its rows would pass for older ones.
    const hasOlder = moved || file.uncounted === 'f'
    const table = quoteTable({ schema: file.nspname ?? '', name: file.relname ?? '' })
    const rows = await askLeaf(
      connection,
      `SELECT EXISTS (SELECT FROM ONLY ${table} WHERE ${FRONT} AND (
                xmin = $1::xid AND cmin::text::bigint <= $2::bigint
                OR $3::boolean AND (age(xmin) > age($1::xid) OR age(xmin) < ${FUTURE}))) AS kept,
              EXISTS (SELECT FROM ONLY ${table}) AS any`,
      [file.transaction ?? '', file.command ?? '', String(hasOlder)],
    )
    // The statistics are some seconds late, so they are believed only where nothing speaks for a TRUNCATE.
    const isUnused = rows?.any === 'f' && file.unused === 't' && (isWidened || file.uncounted === 'f')
    if (rows?.kept !== 't' && !isUnused) emptied.set(oid, file.transaction ?? '')
  }
  return emptied
}
