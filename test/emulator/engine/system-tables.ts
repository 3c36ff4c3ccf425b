import type { TableRef } from '../sql/ast.ts'
import { UnknownToEmulator } from '../sql/errors.ts'
import { HOME, sqlName, sqlString } from '../sql/names.ts'
import type { History } from './history.ts'

/** System views that are views of the emulator in PostgreSQL, under the prefix `system_`. */
const STORED: ReadonlySet<string> = new Set([
  'svv_tables',
  'svv_columns',
  'svv_redshift_schemas',
  'svv_redshift_tables',
  'svv_redshift_columns',
  'svv_table_info',
  'pg_table_def',
  'pg_namespace',
  'pg_class',
  'pg_attribute',
  'pg_depend',
  'pg_rewrite',
  'pg_tables',
  'pg_views',
  'pg_user',
  'pg_database',
  'information_schema.tables',
  'information_schema.columns',
  'information_schema.schemata',
  'information_schema.table_constraints',
  'information_schema.key_column_usage',
])

/** Names that begin so belong to Redshift. */
const SYSTEM_PREFIX = /^(svv|svl|svcs|stl|stv|sys|pg)_/

/** The system view that a table reference means; undefined for a user's table. */
export function systemView(ref: TableRef): string | undefined {
  const name = ref.schema === 'information_schema' ? `information_schema.${ref.name}` : ref.name
  const system =
    ref.schema === 'information_schema' ||
    ref.schema === 'pg_catalog' ||
    (ref.schema === undefined && SYSTEM_PREFIX.test(ref.name))
  return system ? name : undefined
}

/** SQL of a system view in FROM. What the emulator knows only in memory goes in as a constant. */
export function renderSystemView(view: string, alias: string, history: History): string {
  if (STORED.has(view)) return `${HOME}.${sqlName(`system_${view.replace('.', '_')}`)} AS ${sqlName(alias)}`
  const live = history.view(view)
  if (!live) throw new UnknownToEmulator(`the system view ${view}`)
  const columns = live.columns.map(([name, type]) => `${sqlName(name)} ${type}`).join(', ')
  const rows = live.rows.map((row) =>
    Object.fromEntries(live.columns.map(([name], index) => [name, row[index] ?? null])),
  )
  const withoutNul = (_: string, value: unknown) =>
    typeof value === 'string' ? value.replaceAll('\0', '') : value
  const data = sqlString(JSON.stringify(rows, withoutNul))
  return `(SELECT * FROM jsonb_to_recordset(${data}::jsonb) AS r(${columns})) AS ${sqlName(alias)}`
}
