import { MillraceError } from '../../../lib/errors.ts'
import { isAlreadyThere, StatementFailure, statementError } from './failures.ts'
import type { LedgerStore } from './ledger-store.ts'
import { literal } from './literals.ts'
import { foldName, quoteName } from './names.ts'

/** What leads from each version of the ledger's common tables to the next. Only ever append. */
const STEPS: readonly ((names: LedgerStore['names']) => readonly string[])[] = [
  (names) => [
    `CREATE TABLE IF NOT EXISTS ${names.tables} (pipeline VARCHAR(64) NOT NULL, pipeline_label VARCHAR(512) NOT NULL, source_schema VARCHAR(256) NOT NULL, source_table VARCHAR(256) NOT NULL, destination_schema VARCHAR(256) NOT NULL, destination_table VARCHAR(256) NOT NULL, ledger VARCHAR(64) NOT NULL, claimed_at TIMESTAMP NOT NULL DEFAULT SYSDATE) DISTSTYLE ALL`,
    `CREATE TABLE IF NOT EXISTS ${names.backfills} (pipeline VARCHAR(64) NOT NULL, uid VARCHAR(64) NOT NULL, ledger VARCHAR(64) NOT NULL, recorded_at TIMESTAMP NOT NULL DEFAULT SYSDATE) DISTSTYLE ALL`,
  ],
]

const FIELD = 'spec.destination.redshift.ledgerSchema'

/**
 * Makes the ledger's schema and common tables, or brings them up to date. Safe against others doing the same: every step can
 * be made twice.
 *
 * Throws `PermissionDenied` naming `spec.destination.redshift.ledgerSchema`, and `DestinationConflict` when a newer Millrace has
 * been at work.
 */
export async function openLedgerSchema(store: LedgerStore, signal: AbortSignal): Promise<void> {
  const { names } = store
  const run = async (sql: string) => {
    try {
      await store.execute(sql, 'millrace create ledger', signal)
    } catch (error) {
      if (!(error instanceof StatementFailure)) throw error
      // IF NOT EXISTS is not safe against two that create at once: then it is there.
      if (!isAlreadyThere(error)) throw denied(statementError(error, FIELD), names.schema)
    }
  }
  const found = await readVersion(store, signal)
  if (found > STEPS.length) {
    throw new MillraceError(
      'DestinationConflict',
      `${FIELD}: schema ${names.schema} was written by a newer Millrace (version ${found}, this one knows ${STEPS.length}); upgrade this one`,
      { field: FIELD },
    )
  }
  if (found === STEPS.length) return
  const schemas = await store.query(
    `SELECT schema_name FROM svv_redshift_schemas WHERE schema_name = ${literal(foldName(names.schema))} AND database_name = CURRENT_DATABASE()`,
    'millrace read schemas',
    signal,
  )
  // IF NOT EXISTS asks for the right to create even where there is nothing to create.
  if (schemas.length === 0) await run(`CREATE SCHEMA IF NOT EXISTS ${quoteName(names.schema)}`)
  await run(`CREATE TABLE IF NOT EXISTS ${names.version} (version INTEGER NOT NULL) DISTSTYLE ALL`)
  for (let version = found; version < STEPS.length; version += 1) {
    for (const sql of STEPS[version]?.(names) ?? []) await run(sql)
    await run(`INSERT INTO ${names.version} VALUES (${version + 1})`)
  }
}

async function readVersion(store: LedgerStore, signal: AbortSignal): Promise<number> {
  try {
    const rows = await store.query(
      `SELECT MAX(version) AS version FROM ${store.names.version}`,
      'millrace read ledger version',
      signal,
    )
    return Number(rows[0]?.version ?? 0)
  } catch (error) {
    // No such table yet; or it cannot be seen, which its creation will say.
    if (error instanceof StatementFailure) return 0
    throw error
  }
}

function denied(error: MillraceError, schema: string): MillraceError {
  if (error.code !== 'PermissionDenied') return error
  return new MillraceError(
    'PermissionDenied',
    `${FIELD}: cannot make or use the tables in schema ${schema}: ${error.message}. Grant CREATE on the database, or create the schema and grant USAGE and CREATE on it`,
    { field: FIELD, cause: error },
  )
}
