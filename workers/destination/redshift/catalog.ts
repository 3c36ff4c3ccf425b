import type { TableName } from '../../source/table.ts'
import type { LedgerStore } from './ledger-store.ts'
import { literal } from './literals.ts'
import { foldTable } from './names.ts'
import { parseType, type RedshiftType } from './redshift-type.ts'

/** A table of the destination as its catalog describes it. */
export interface TargetTable {
  /** Another one when the table was made anew, whatever else is done to it. */
  readonly id: string
  /** As Redshift has it. */
  readonly name: TableName
  /** How many columns it has ever had. */
  readonly attributes: number
  /** In catalog order. */
  readonly columns: readonly TargetColumn[]
}

export interface TargetColumn {
  readonly name: string
  /** Undefined: one that Millrace does not know. */
  readonly type: RedshiftType | undefined
  /** As the catalog writes it. */
  readonly typeText: string
  readonly notNull: boolean
  readonly hasDefault: boolean
  /** Counts by itself, so that nobody else may write it. */
  readonly identity: boolean
  /** Rows are spread or sorted by it, so that it cannot be dropped. */
  readonly layout: boolean
}

type Reader = Pick<LedgerStore, 'query'>

/** The destination's table, or undefined when there is none of that name. */
export async function readTarget(
  store: Reader,
  table: TableName,
  signal: AbortSignal,
): Promise<TargetTable | undefined> {
  const name = foldTable(table)
  // Asked first: a column that is added in between is noticed by whoever compares.
  const [known] = await store.query(
    `SELECT CAST(c.oid AS BIGINT) AS id, CAST(c.relnatts AS INTEGER) AS attributes FROM ${catalogFrom(name)}`,
    'millrace look for table',
    signal,
  )
  if (!known) return undefined
  const rows = await store.query(
    `SELECT column_name, data_type, column_default, is_nullable, distkey, sortkey FROM svv_redshift_columns WHERE database_name = CURRENT_DATABASE() AND schema_name = ${literal(name.schema)} AND table_name = ${literal(name.name)} ORDER BY ordinal_position`,
    'millrace read columns',
    signal,
  )
  if (rows.length === 0) return undefined
  return {
    id: trimmed(known.id),
    name,
    attributes: Number(known.attributes),
    columns: rows.map((row) => ({
      name: trimmed(row.column_name),
      type: parseType(trimmed(row.data_type)),
      typeText: trimmed(row.data_type),
      notNull: trimmed(row.is_nullable).toUpperCase() === 'NO',
      hasDefault: trimmed(row.column_default) !== '',
      identity: /identity/i.test(trimmed(row.column_default)),
      layout: isTrue(row.distkey) || Number(row.sortkey ?? 0) !== 0,
    })),
  }
}

/**
 * SQL: has one row while a table is the one that was seen, and has got no column since, whose values would be lost in a row that
 * is written anew; else none.
 */
export function sameTableFrom({ id, attributes, name }: TargetTable): string {
  return `${catalogFrom(name)} AND c.oid = ${id} AND c.relnatts = ${attributes}`
}

/** SQL: a table's row `c` of pg_class. Its `relnatts` counts columns; those that were dropped go on counting. */
function catalogFrom({ schema, name }: TableName): string {
  return `pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ${literal(schema)} AND c.relname = ${literal(name)}`
}

/** Names of schemas that are there. */
export async function hasSchema(store: Reader, schema: string, signal: AbortSignal): Promise<boolean> {
  const rows = await store.query(
    `SELECT schema_name FROM svv_redshift_schemas WHERE database_name = CURRENT_DATABASE() AND schema_name = ${literal(schema)}`,
    'millrace read schemas',
    signal,
  )
  return rows.length > 0
}

/** Views that a DROP … CASCADE of the table takes along. Late-binding views are not among them: they stay. */
export async function dependentViews(
  store: Reader,
  table: TableName,
  signal: AbortSignal,
): Promise<TableName[]> {
  const { schema, name } = foldTable(table)
  const rows = await store.query(
    `SELECT DISTINCT vn.nspname AS schema_name, v.relname AS view_name FROM pg_class t JOIN pg_namespace tn ON tn.oid = t.relnamespace JOIN pg_depend d ON d.refobjid = t.oid JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace vn ON vn.oid = v.relnamespace WHERE tn.nspname = ${literal(schema)} AND t.relname = ${literal(name)} AND v.oid <> t.oid ORDER BY 1, 2`,
    'millrace read views',
    signal,
  )
  return rows.map((row) => ({ schema: trimmed(row.schema_name), name: trimmed(row.view_name) }))
}

function trimmed(text: string | null | undefined): string {
  return (text ?? '').trim()
}

function isTrue(text: string | null | undefined): boolean {
  return /^(t|true|1)$/i.test(trimmed(text))
}
