import { createHash } from 'node:crypto'
import type { TableName } from '../../source/table.ts'
import { quoteName } from './names.ts'

/**
 * Names of the ledger's tables, quoted, with their schema.
 *
 * `tables` and `backfills` say which pipelines, tables and backfills there are, and in which table of its own each
 * replicated table's state is: `table_<hash>`, one for each.
 */
export interface LedgerNames {
  readonly schema: string
  readonly tables: string
  readonly backfills: string
  readonly version: string
  /** The table that holds the state of one replicated table of one pipeline. */
  of(pipeline: string, table: TableName): string
  /** The same by the name that `tables` has of it. */
  named(name: string): string
}

const HASH_LENGTH = 24

export function ledgerNames(schema: string): LedgerNames {
  const inSchema = (name: string) => `${quoteName(schema)}.${quoteName(name)}`
  return {
    schema,
    tables: inSchema('tables'),
    backfills: inSchema('backfills'),
    version: inSchema('schema_version'),
    of: (pipeline, table) => inSchema(ledgerTableName(pipeline, table)),
    named: inSchema,
  }
}

/** Without schema and quotes. */
export function ledgerTableName(pipeline: string, table: TableName): string {
  const identity = JSON.stringify([pipeline, table.schema, table.name])
  return `table_${createHash('sha256').update(identity).digest('hex').slice(0, HASH_LENGTH)}`
}
