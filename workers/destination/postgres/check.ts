import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier } from '../../../lib/sql.ts'
import type { PostgresTarget } from '../../source/connect.ts'
import type { Session } from './sessions.ts'

/**
 * Whether the server can be written to at all, by this user, in these schemas. Throws MillraceErrors that name the field.
 *
 * @param schema the destination's default schema, undefined when it has none
 */
export async function checkServer(
  session: Session,
  target: Pick<PostgresTarget, 'field' | 'host' | 'port'>,
  schema: string | undefined,
): Promise<void> {
  const rows = await session.query(
    `SELECT pg_is_in_recovery() AS replica, current_setting('server_encoding') AS encoding, current_user AS me,
       has_database_privilege(current_database(), 'CREATE') AS creates,
       has_database_privilege(current_database(), 'TEMPORARY') AS stages,
       quote_ident(current_database()) AS database,
       (SELECT has_schema_privilege(oid, 'USAGE, CREATE') FROM pg_namespace WHERE nspname = $1) AS uses_schema`,
    [schema ?? ''],
  )
  const found = rows[0]
  if (found?.replica === 't') {
    throw new MillraceError(
      'UnsupportedServer',
      `${target.field}.host: ${target.host}:${target.port} is a read-only replica; name the primary`,
      { field: `${target.field}.host`, retryable: true },
    )
  }
  if (found?.encoding !== 'UTF8') {
    throw new MillraceError(
      'UnsupportedServer',
      `${target.field}.database: its encoding is ${found?.encoding}, which cannot hold every text; use a database with encoding UTF8`,
      { field: `${target.field}.database` },
    )
  }
  if (found.stages !== 't') {
    throw new MillraceError(
      'PermissionDenied',
      `${target.field}.database: user ${found.me} may not make temporary tables: GRANT TEMPORARY ON DATABASE ${found.database} TO ${quoteIdentifier(found.me ?? '')}`,
      { field: `${target.field}.database` },
    )
  }
  const denied = found.uses_schema === null ? found.creates !== 't' : found.uses_schema !== 't'
  if (schema !== undefined && denied) {
    const cure =
      found.uses_schema === null
        ? `create schema ${quoteIdentifier(schema)} for it, or grant CREATE on the database`
        : `GRANT USAGE, CREATE ON SCHEMA ${quoteIdentifier(schema)} TO ${quoteIdentifier(found.me ?? '')}`
    throw new MillraceError(
      'PermissionDenied',
      `${target.field}.schema: user ${found.me} may not create tables in schema ${quoteIdentifier(schema)}: ${cure}`,
      { field: `${target.field}.schema` },
    )
  }
}
