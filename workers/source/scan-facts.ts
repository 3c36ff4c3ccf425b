import { leafTables } from './catalog.ts'
import type { Connection } from './connect.ts'
import type { Leaf, ScanFacts } from './scan-plan.ts'
import { type ColumnExpression, estimateQuery } from './scan-sql.ts'
import type { TableDefinition } from './table.ts'

/**
 * What a server knows about a table that is about to be scanned there. Fails when the table cannot be read with these
 * expressions: it is not there (yet), a column or a privilege is missing, a policy would hide rows.
 *
 * @param sortOrders of the primary, as `readSortOrders` gives them
 */
export async function readScanFacts(
  connection: Connection,
  definition: TableDefinition,
  expression: ColumnExpression,
  sortOrders: string,
): Promise<ScanFacts> {
  const estimate = await connection.query(estimateQuery(definition, expression))
  const { leaves, bytes } = await readLeaves(connection, definition)
  const oids = oidArray(leaves.map((leaf) => leaf.oid))
  const [statistics] = await connection.query(CORRELATION, [oids, definition.key[0] ?? null])
  const correlation = statistics?.correlation ?? undefined
  return {
    leaves,
    bytes,
    rows: leaves.every((leaf) => leaf.blocks === 0) ? 0 : plannedRows(estimate[0]?.['QUERY PLAN'] ?? ''),
    correlation: correlation === undefined ? undefined : Number(correlation),
    keyProblem: await findKeyProblem(connection, definition, sortOrders),
  }
}

/** The tables that hold the rows, in the order in which they are read. */
export async function readLeaves(
  connection: Connection,
  definition: Pick<TableDefinition, 'oid'>,
): Promise<{ readonly leaves: readonly (Leaf & { readonly oid: number })[]; readonly bytes: number }> {
  const tables = await leafTables(connection, definition.oid)
  const rows = await connection.query(SIZES, [oidArray(tables.map((table) => table.oid))])
  const sizes = new Map(rows.map((row) => [Number(row.oid), row]))
  return {
    leaves: tables.map((table) => ({
      ...table,
      blocks: Number(sizes.get(table.oid)?.blocks ?? 0),
      heap: sizes.get(table.oid)?.heap === 't',
    })),
    bytes: rows.reduce((sum, row) => sum + Number(row.bytes ?? 0), 0),
  }
}

/**
 * The versions of the collations that the key is sorted by, as one text. Where it differs between two servers, the same index
 * means different orders, and a range of the key would be looked for in the wrong place.
 */
export async function readSortOrders(connection: Connection, definition: TableDefinition): Promise<string> {
  const rows = await connection.query(connection.serverVersion >= 150_000 ? COLLATIONS : COLLATIONS_14, [
    String(definition.oid),
    JSON.stringify(definition.key),
  ])
  return rows.map((row) => `${row.attname}: ${row.version ?? 'none'}`).join(', ')
}

async function findKeyProblem(
  connection: Connection,
  definition: TableDefinition,
  sortOrders: string,
): Promise<string | undefined> {
  if (definition.key.length === 0) return 'the table has no key'
  const key = definition.key.map((name) => JSON.stringify(name)).join(', ')
  const values = [String(definition.oid), JSON.stringify(definition.key)]
  const [index] = await connection.query(KEY_INDEX, values)
  if (!index) return `no valid btree index has exactly the key (${key})`
  if (index.foreign_columns !== null) {
    return `the key's columns ${index.foreign_columns} are not compared by PostgreSQL's own operators for their types`
  }
  const here = await readSortOrders(connection, definition)
  if (here !== sortOrders) {
    return `text of the key (${key}) sorts differently on this server than on the primary (collation versions here ${here}; there ${sortOrders})`
  }
  return undefined
}

// The planner's number of rows, from the JSON form of EXPLAIN.
function plannedRows(json: string): number {
  const plan = JSON.parse(json) as [{ Plan?: { 'Plan Rows'?: number } }]
  return Math.max(1, Math.round(plan[0]?.Plan?.['Plan Rows'] ?? 1))
}

function oidArray(oids: readonly number[]): string {
  return `{${oids.join(',')}}`
}

/** $1 oids of tables. */
const SIZES = `
  SELECT c.oid, pg_relation_size(c.oid) / current_setting('block_size')::int AS blocks, pg_table_size(c.oid) AS bytes,
         coalesce(am.amname = 'heap', false) AS heap
  FROM pg_class c LEFT JOIN pg_am am ON am.oid = c.relam
  WHERE c.oid = ANY ($1::oid[])`

/** $1 oids of tables, $2 column. Weighted by size, since one number has to stand for all partitions. */
const CORRELATION = `
  SELECT sum(abs(s.correlation) * c.relpages) / nullif(sum(c.relpages), 0) AS correlation
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND NOT s.inherited
  WHERE c.oid = ANY ($1::oid[]) AND s.attname = $2`

/** $1 oid of the table, $2 key columns as a JSON array: the columns of the key in key order. */
const KEY = `
  SELECT a.attname, a.attnum, a.attcollation, k.place
  FROM json_array_elements_text($2::json) WITH ORDINALITY AS k(name, place)
  JOIN pg_attribute a ON a.attrelid = $1::oid AND a.attname = k.name AND NOT a.attisdropped`

/**
 * The index of the key, and those of its columns that this index compares otherwise than a plain \`>=\` in a session
 * whose search path is pg_catalog would.
 */
const KEY_INDEX = `
  WITH key AS (${KEY})
  SELECT string_agg(quote_ident(key.attname), ', ') FILTER (
           WHERE NOT (o.opcdefault AND i.indcollation[key.place - 1] = key.attcollation AND EXISTS (
             SELECT FROM pg_amop p JOIN pg_operator op ON op.oid = p.amopopr
             WHERE p.amopfamily = o.opcfamily AND p.amopstrategy = 4
               AND p.amoplefttype = o.opcintype AND p.amoprighttype = o.opcintype
               AND op.oprnamespace = 'pg_catalog'::regnamespace))) AS foreign_columns
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid
  JOIN pg_am am ON am.oid = c.relam AND am.amname = 'btree'
  JOIN key ON key.attnum = i.indkey[key.place - 1]
  JOIN pg_opclass o ON o.oid = i.indclass[key.place - 1]
  WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND i.indnkeyatts = (SELECT count(*) FROM key)
  GROUP BY i.indexrelid
  HAVING count(*) = (SELECT count(*) FROM key)
  ORDER BY foreign_columns NULLS FIRST LIMIT 1`

/** As \`KEY\`. The default collation is that of the database. */
const COLLATIONS = `
  WITH key AS (${KEY})
  SELECT attname,
         CASE WHEN attcollation = 'pg_catalog.default'::regcollation
              THEN pg_database_collation_actual_version((SELECT oid FROM pg_database WHERE datname = current_database()))
              ELSE pg_collation_actual_version(attcollation) END AS version
  FROM key WHERE attcollation <> 0 ORDER BY place`

/** Before PostgreSQL 15 the database's own collation has no version, but one of the same locale does. */
const COLLATIONS_14 = `
  WITH key AS (${KEY})
  SELECT attname,
         CASE WHEN attcollation = 'pg_catalog.default'::regcollation
              THEN (SELECT pg_collation_actual_version(c.oid)
                    FROM pg_collation c JOIN pg_database d ON d.datcollate = c.collcollate
                    WHERE d.datname = current_database() AND c.collprovider = 'c'
                    ORDER BY c.oid LIMIT 1)
              ELSE pg_collation_actual_version(attcollation) END AS version
  FROM key WHERE attcollation <> 0 ORDER BY place`
