import { MillraceError } from '../../../lib/errors.ts'
import type { LedgerStore } from './ledger-store.ts'
import { literal } from './literals.ts'
import { foldName } from './names.ts'

const FIELD = 'spec.destination.redshift'

/**
 * Whether the warehouse can be reached and written to by this user, and tells texts apart as the source does. Throws MillraceErrors
 * that name the field.
 */
export async function checkWarehouse(
  store: LedgerStore,
  { schema }: { readonly schema?: string | undefined },
  signal: AbortSignal,
): Promise<void> {
  const wanted = schema === undefined ? undefined : foldName(schema)
  const there =
    wanted !== undefined &&
    (
      await store.query(
        `SELECT schema_name FROM svv_redshift_schemas WHERE database_name = CURRENT_DATABASE() AND schema_name = ${literal(wanted)}`,
        'millrace check',
        signal,
      )
    ).length > 0
  const privileges = there
    ? `HAS_SCHEMA_PRIVILEGE(${literal(wanted)}, 'CREATE') AS creates, HAS_DATABASE_PRIVILEGE(CURRENT_DATABASE(), 'TEMP') AS temporary`
    : `HAS_DATABASE_PRIVILEGE(CURRENT_DATABASE(), 'CREATE') AS creates, HAS_DATABASE_PRIVILEGE(CURRENT_DATABASE(), 'TEMP') AS temporary`
  const [row] = await store.query(
    `SELECT CURRENT_USER AS me, DB_COLLATION() AS collation, ${privileges}`,
    'millrace check',
    signal,
  )
  if (/insensitive/i.test(row?.collation ?? '')) {
    throw new MillraceError(
      'InvalidSpec',
      `${FIELD}.database: the database was created with COLLATE CASE_INSENSITIVE, in which 'a' and 'A' are one key, so that a change of one row would delete the other: name a database that was created with COLLATE CASE_SENSITIVE, the default`,
      { field: `${FIELD}.database`, retryable: true },
    )
  }
  const me = (row?.me ?? '').trim()
  if (!isTrue(row?.temporary)) {
    throw new MillraceError(
      'PermissionDenied',
      `${FIELD}: database user ${me} may not create temporary tables, through which rows are written: GRANT TEMP ON DATABASE … TO "${me}"`,
      { field: FIELD },
    )
  }
  if (isTrue(row?.creates) || schema === undefined) return
  throw new MillraceError(
    'PermissionDenied',
    there
      ? `${FIELD}.schema: database user ${me} may not create tables in schema ${wanted}: GRANT USAGE, CREATE ON SCHEMA "${wanted}" TO "${me}"`
      : `${FIELD}.schema: there is no schema ${wanted}, and database user ${me} may not create it: create it and grant USAGE and CREATE on it, or GRANT CREATE ON DATABASE … TO "${me}"`,
    { field: `${FIELD}.schema` },
  )
}

function isTrue(text: string | null | undefined): boolean {
  return /^(t|true|1)$/i.test((text ?? '').trim())
}
