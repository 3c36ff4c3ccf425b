import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import { tableTree } from '../source/catalog-queries.ts'
import type { Connection } from '../source/connect.ts'
import { LEAF_IDENTITY, type LeafIdentity } from '../source/partitions.ts'
import { askLeaf, FRONT } from './leaf-rows.ts'
import type { FingerprintLeaf } from './leaves.ts'

/** The leaves of the table that is the row `c` of pg_class, as JSON. Takes no lock: partitions may be locked for long. */
export const LEAVES = `
    (SELECT json_agg(json_build_array(l.oid::bigint, l.relname, l.relfilenode::bigint,
              CASE WHEN l.relispartition THEN json_build_array(l.relkind, l.relpersistence, l.reltablespace::bigint,
                ${LEAF_IDENTITY},
                (SELECT json_agg(i.inhrelid || ':' || i.xmin ORDER BY i.inhrelid)
                 FROM pg_partition_ancestors(l.oid) a JOIN pg_inherits i ON i.inhrelid = a.relid)) END) ORDER BY l.oid)
     FROM (${tableTree('c.oid')}) below JOIN pg_class l ON l.oid = below.oid
     WHERE l.relkind = 'r' OR (l.relkind = 'f' AND l.relispartition))`

/** A column, and what the rows that were there got by all that the catalog tells. */
export interface AddedColumn {
  readonly name: string
  readonly type: string
  readonly added: string | null
}

type Facts = [
  oid: number,
  name: string,
  filenode: number | string,
  partition?:
    | [
        kind: string,
        persistence: string,
        tablespace: number,
        identity: LeafIdentity,
        attached: string[] | null,
      ]
    | null,
]

/**
 * Columns of these tables that were altered before the table's entry was written, by the same transaction. ALTER TABLE does so
 * when it writes the rows anew. VACUUM FULL and CLUSTER alter columns too, and take away the value that is kept for older rows, but
 * after they have written the entry.
 */
export async function readAlteredColumns(
  connection: Connection,
  leaves: readonly FingerprintLeaf[],
): Promise<ReadonlySet<string>> {
  if (leaves.length === 0) return new Set()
  const rows = await connection.query(
    `SELECT DISTINCT a.attname FROM pg_class l JOIN pg_attribute a ON a.attrelid = l.oid
     WHERE l.oid = ANY ($1::oid[]) AND a.xmin = l.xmin AND a.cmin::text::bigint < l.cmin::text::bigint
       AND a.attnum > 0 AND NOT a.attisdropped`,
    [`{${leaves.map(({ oid }) => oid).join(',')}}`],
  )
  return new Set(rows.map((row) => row.attname ?? ''))
}

/**
 * Which of these columns, added with this value (or NULL) by all that the catalog tells, have something else in rows that are as
 * old as the leaf's file. A default that was computed, and then dropped or exchanged, leaves no other trace.
 */
export async function readOddColumns(
  connection: Connection,
  leaves: readonly FingerprintLeaf[],
  columns: readonly AddedColumn[],
): Promise<ReadonlySet<string>> {
  const odd = new Set<string>()
  for (const { oid } of columns.length > 0 ? leaves : []) {
    const [leaf] = await connection.query(
      `SELECT n.nspname, l.relname, l.xmin AS transaction
       FROM pg_class l JOIN pg_namespace n ON n.oid = l.relnamespace WHERE l.oid = $1`,
      [String(oid)],
    )
    const table = leaf && quoteTable({ schema: leaf.nspname ?? '', name: leaf.relname ?? '' })
    for (const { name, type, added } of table ? columns : []) {
      const value = added === null ? 'NULL' : `CAST(CAST($2 AS ${type}) AS text)`
      const found = await askLeaf(
        connection,
        `SELECT EXISTS (SELECT FROM ONLY ${table} WHERE ${FRONT} AND age(xmin) >= age($1::xid)
           AND CAST(${quoteIdentifier(name)} AS text) IS DISTINCT FROM ${value}) AS odd`,
        [leaf?.transaction ?? '', ...(added === null ? [] : [added])],
      )
      if (found?.odd !== 'f') odd.add(name)
    }
  }
  return odd
}

/** Foreign tables are left out: there is nothing of them in the log or in the destination that could change. */
export function toLeaves(json: string | null | undefined): FingerprintLeaf[] {
  const facts = json ? (JSON.parse(json) as Facts[]) : []
  return facts.flatMap(([oid, name, filenode, partition]): FingerprintLeaf[] => {
    const leaf = { oid, name, filenode: String(filenode) }
    if (!partition) return [leaf]
    const [kind, persistence, tablespace, identity, attached] = partition
    if (kind === 'f') return []
    return [{ ...leaf, partition: { persistence, tablespace, identity, attached: attached ?? [] } }]
  })
}

/**
 * Each attachment above these leaves, and whether it was made by CREATE TABLE … PARTITION OF. ATTACH PARTITION writes all
 * columns of the partition anew, by the command that attaches it; one that was created in place has them from before.
 */
const ATTACHMENTS = `
  SELECT l.oid, n.nspname, l.relname, i.inhrelid || ':' || i.xmin AS attachment,
         EXISTS (SELECT FROM pg_attribute s JOIN pg_attribute a ON a.attrelid = s.attrelid
                 WHERE s.attrelid = i.inhrelid AND s.attnum = -1 AND s.xmin = i.xmin
                   AND a.attnum > 0 AND NOT a.attisdropped
                   AND a.xmin = i.xmin AND a.cmin::text::bigint < i.cmin::text::bigint) AS in_place
  FROM pg_class l
  JOIN pg_namespace n ON n.oid = l.relnamespace
  CROSS JOIN pg_partition_ancestors(l.oid) p
  JOIN pg_inherits i ON i.inhrelid = p.relid
  WHERE l.oid = ANY ($1::oid[])`

/**
 * Which of these new partitions may have had rows when they were attached. One that was created in place was empty then, and
 * all that came into it afterwards is in the log. Of any other one nothing tells when a row was written: a
 * transaction may have begun before the one that attaches and write after it, or the other way round, and parts of a
 * transaction have ids of their own.
 *
 * @param known attachments that were there before these leaves were
 */
export async function readFilledLeaves(
  connection: Connection,
  leaves: readonly FingerprintLeaf[],
  known: ReadonlySet<string>,
): Promise<ReadonlySet<number>> {
  const filled = new Set<number>()
  if (leaves.length === 0) return filled
  for (const row of await connection.query(ATTACHMENTS, [`{${leaves.map((leaf) => leaf.oid).join(',')}}`])) {
    const oid = Number(row.oid)
    if (row.in_place === 't' || known.has(row.attachment ?? '') || filled.has(oid)) continue
    const [size] = await connection.query('SELECT pg_relation_size($1::oid) AS bytes', [String(oid)])
    // Needs no right to read the partition, which the user of a table often lacks.
    if (size?.bytes === '0') continue
    const table = quoteTable({ schema: row.nspname ?? '', name: row.relname ?? '' })
    const found = await askLeaf(connection, `SELECT EXISTS (SELECT FROM ONLY ${table}) AS filled`)
    if (found?.filled !== 'f') filled.add(oid)
  }
  return filled
}
