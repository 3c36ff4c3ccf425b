import { MillraceError } from '../../lib/errors.ts'
import { quoteTable } from '../../lib/sql.ts'
import { INDEX_NUMBERS, IS_IDENTITY, tableTree } from './catalog-queries.ts'
import type { Connection } from './connect.ts'
import { type TableDefinition, tableLabel } from './table.ts'

/** $1 oid. Tables that hold its rows and have a generated column in their replica identity. */
const GENERATED_IDENTITY = `
  SELECT n.nspname, l.relname, g.attname AS generated
  FROM (${tableTree('$1')}) leaves JOIN pg_class l ON l.oid = leaves.oid AND l.relkind = 'r'
  JOIN pg_namespace n ON n.oid = l.relnamespace
  JOIN pg_attribute g ON g.attrelid = l.oid AND g.attgenerated <> '' AND NOT g.attisdropped
  WHERE l.relreplident = 'f' OR EXISTS (
    SELECT FROM pg_index i
    WHERE i.indrelid = l.oid AND g.attnum = ANY (${INDEX_NUMBERS}) AND ${IS_IDENTITY})
  ORDER BY l.oid, g.attnum LIMIT 1`

/**
 * Throws `NoReplicaIdentity` for a table of which a replica identity has generated columns. They are not published, and since
 * PostgreSQL 18 the source refuses every update and delete of such a table as soon as it is.
 */
export async function checkGenerated(
  connection: Connection,
  definition: TableDefinition,
  field: string,
): Promise<void> {
  if (connection.serverVersion < 180_000) return
  const [found] = await connection.query(GENERATED_IDENTITY, [String(definition.oid)])
  if (!found) return
  const leaf = { schema: found.nspname ?? '', name: found.relname ?? '' }
  const whose = definition.partitioned ? `partition ${tableLabel(leaf)} of table` : 'table'
  const sql = `ALTER TABLE ${quoteTable(leaf)}`
  throw new MillraceError(
    'NoReplicaIdentity',
    `${field}: ${whose} ${tableLabel(definition)} has the generated column ${JSON.stringify(found.generated)} in its replica identity, so the source would refuse its updates and deletes once it is published: run ${sql} REPLICA IDENTITY DEFAULT if it has a primary key without generated columns, or REPLICA IDENTITY USING INDEX with such a unique index over NOT NULL columns, or drop the column`,
    { field },
  )
}
