import { quoteTable } from '../../../lib/sql.ts'
import { type TableName, tableLabel } from '../../source/table.ts'
import type { TargetFacts } from '../destination.ts'
import type { Session } from './sessions.ts'

const FACTS = `
  SELECT n.nspname AS schema, c.relname AS name, c.oid, pg_relation_filenode(c.oid) AS file,
         coalesce(pg_relation_size(c.oid), 0) = 0 AS empty,
         (SELECT json_agg(a.attname) FROM pg_attribute a
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
         c.relpersistence::text || coalesce((SELECT json_agg(json_build_array(a.attname, a.atttypid, a.atttypmod) ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text, '') AS shape
  FROM unnest($1::text[], $2::text[]) AS t (schema, name)
  JOIN pg_namespace n ON n.nspname = t.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name`

/** What the catalog says of tables, by label. */
export async function describeTables(
  session: Pick<Session, 'query'>,
  tables: readonly TableName[],
): Promise<Map<string, TargetFacts>> {
  const array = (values: readonly string[]) =>
    `{${values.map((value) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`
  const rows = await session.query(FACTS, [
    array(tables.map(({ schema }) => schema)),
    array(tables.map(({ name }) => name)),
  ])
  return new Map(
    rows.map((row) => [
      tableLabel({ schema: row.schema ?? '', name: row.name ?? '' }),
      {
        id: row.oid ?? '',
        file: row.file ?? '',
        columns: JSON.parse(row.columns ?? '[]') as string[],
        shape: row.shape ?? '',
        empty: row.empty === 't',
      },
    ]),
  )
}

/**
 * Whether no row is older than the table's entry in the catalog, which is as old as its file or younger. An emptied table
 * has none, one that was rewritten (VACUUM FULL, CLUSTER) has. ALTER TABLE writes all rows anew in its own transaction: where it
 * did, rows of the same age count as older. Reads all rows of a table that was emptied, so it is to be asked only where the
 * file is another one than before.
 */
export async function wasEmptied(
  session: Pick<Session, 'query'>,
  table: TableName,
  reshaped: boolean,
): Promise<boolean> {
  const older = await session.query(
    `SELECT 1 FROM ${quoteTable(table)}
     WHERE age(xmin) ${reshaped ? '>=' : '>'} (SELECT age(c.xmin) FROM pg_class c WHERE c.oid = to_regclass($1)) LIMIT 1`,
    [quoteTable(table)],
  )
  return older.length === 0
}
