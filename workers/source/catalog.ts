import { MillraceError } from '../../lib/errors.ts'
import { quoteTable } from '../../lib/sql.ts'
import { COLUMNS, LEAVES, RELATION, UNIQUE_INDEXES } from './catalog-queries.ts'
import { filterColumns } from './columns.ts'
import type { Connection, TextRow } from './connect.ts'
import { type Column, type ColumnFilter, type TableDefinition, type TableName, tableLabel } from './table.ts'

/** Which entry of the spec a table is, for messages, such as `spec.tables[3]`. */
export interface TableField {
  readonly field: string
}

/** A table that holds rows: one leaf of a partitioned table, or the table itself. */
export interface LeafTable extends TableName {
  readonly oid: number
  /** `pg_relation_filenode()`: another one means that the table was rewritten (rule R12). */
  readonly filenode: string
}

/**
 * Reads what the catalog says about a table, with the columns that the filter lets through.
 *
 * Throws `TableNotFound` (also for views and the like), `InvalidSpec` when the filter takes away the key, `ColumnNotFound`
 * when it names a column that is not there. Whether the table can be *replicated* is `checkReplicable`'s question.
 */
export async function readTableDefinition(
  connection: Connection,
  table: TableName,
  options: TableField & { readonly filter?: ColumnFilter | undefined },
): Promise<TableDefinition> {
  const [relation] = await connection.query(RELATION, [table.schema, table.name])
  if (!relation) throw notFound(table, options.field, connection)
  const oid = Number(relation.oid)
  assertTable(relation, table, options.field)
  const columns = (await connection.query(COLUMNS, [String(oid)])).map(toColumn)
  const indexes = (await connection.query(UNIQUE_INDEXES, [String(oid)])).map(toIndex)
  const replicaIdentity = IDENTITIES[relation.relreplident ?? 'n'] ?? 'nothing'
  const key = chooseKey(replicaIdentity, indexes)
  return {
    schema: table.schema,
    name: table.name,
    oid,
    columns: filterColumns(table, columns, key, options.filter, options.field),
    key,
    replicaIdentity,
    partitioned: relation.relkind === 'p',
  }
}

/**
 * The tables that hold the rows of a table, by ascending oid. Empty for a partitioned table without partitions.
 */
export async function leafTables(connection: Connection, oid: number): Promise<LeafTable[]> {
  const rows = await connection.query(LEAVES, [String(oid)])
  return rows.map((row) => ({
    schema: row.nspname ?? '',
    name: row.relname ?? '',
    oid: Number(row.oid),
    filenode: row.filenode ?? '',
  }))
}

/**
 * What to write behind FROM to read the rows that the publication publishes for a table, and no others. (Tables that
 * inherit from a plain table are tables of their own to the publication.)
 */
export function fromClause(definition: TableName & { readonly partitioned: boolean }): string {
  return definition.partitioned ? quoteTable(definition) : `ONLY ${quoteTable(definition)}`
}

/**
 * How many rows a table has, as the planner guesses from its present size and last statistics; 0 only when it is empty.
 * Costs no scan.
 */
export async function estimateRows(connection: Connection, definition: TableDefinition): Promise<bigint> {
  const leaves = await leafTables(connection, definition.oid)
  const [size] = await connection.query(
    'SELECT coalesce(sum(pg_relation_size(oid)), 0) AS bytes FROM unnest($1::oid[]) AS oid',
    [`{${leaves.map((leaf) => leaf.oid).join(',')}}`],
  )
  if (size?.bytes === '0') return 0n
  const rows = await connection.query(`EXPLAIN (FORMAT JSON) SELECT 1 FROM ${fromClause(definition)}`)
  const plan: unknown = JSON.parse(rows[0]?.['QUERY PLAN'] ?? '[]')
  const estimate = (plan as [{ Plan?: { 'Plan Rows'?: number } }])[0]?.Plan?.['Plan Rows'] ?? 0
  return BigInt(Math.max(1, Math.round(estimate)))
}

export const IDENTITIES: Readonly<Record<string, TableDefinition['replicaIdentity']>> = {
  d: 'default',
  f: 'full',
  i: 'index',
  n: 'nothing',
}

export interface UniqueIndex {
  readonly primary: boolean
  readonly replicaIdentity: boolean
  readonly columns: readonly string[]
}

/**
 * The columns that identify a row; see `TableDefinition.key`. With a replica identity index, deletes and key changes carry
 * only that index's columns, so nothing else can be the key.
 */
export function chooseKey(
  identity: TableDefinition['replicaIdentity'],
  indexes: readonly UniqueIndex[],
): readonly string[] {
  if (identity === 'index') return indexes.find((index) => index.replicaIdentity)?.columns ?? []
  const primary = indexes.find((index) => index.primary)?.columns
  return primary ?? (identity === 'full' ? indexes[0]?.columns : undefined) ?? []
}

function toColumn(row: TextRow): Column {
  return {
    name: row.attname ?? '',
    type: row.type ?? '',
    typeOid: Number(row.atttypid),
    typeModifier: Number(row.atttypmod),
    typeKind: typeKind(row),
    baseType: row.base_type ?? row.type ?? '',
    notNull: row.attnotnull === 't',
    ...(row.equals && { equals: row.equals }),
    ...(row.compared_as && { comparedAs: row.compared_as }),
    ...constantDefault(row),
  }
}

function typeKind(row: TextRow): Column['typeKind'] {
  if (row.typtype === 'd') return 'domain'
  if (row.is_array === 't') return 'array'
  if (row.typtype === 'e') return 'enum'
  if (row.typtype === 'c') return 'composite'
  return row.typtype === 'r' || row.typtype === 'm' ? 'range' : 'base'
}

// What an ADD COLUMN put into the rows that were there is kept by PostgreSQL until the table is rewritten; after that the
// default of now, when it is a plain literal, is the best guess.
function constantDefault(row: TextRow): { constantDefault?: string } {
  if (row.missing !== null && row.missing !== undefined) return { constantDefault: row.missing }
  const literal = literalText(row.default_expression ?? '')
  return literal === undefined ? {} : { constantDefault: literal }
}

/**
 * Text of a default that is one literal, such as `'new'::text`, `7` or `true`; undefined for everything else. The catalog
 * shows a constant by its type's own output, so what stands between the quotes is the value's text.
 */
export function literalText(expression: string): string | undefined {
  const quoted = /^'((?:[^'\\]|'')*)'(?:::[\w ".]+)?$/.exec(expression)
  if (quoted) return quoted[1]?.replaceAll("''", "'")
  const number = /^\(?(-?\d+(?:\.\d+)?)\)?$/.exec(expression)
  if (number) return number[1]
  if (expression === 'true') return 't'
  return expression === 'false' ? 'f' : undefined
}

function toIndex(row: TextRow): UniqueIndex {
  return {
    primary: row.indisprimary === 't',
    replicaIdentity: row.indisreplident === 't',
    columns: JSON.parse(row.columns ?? '[]') as string[],
  }
}

function notFound(table: TableName, field: string, connection: Connection): MillraceError {
  return new MillraceError(
    'TableNotFound',
    `${field}: database ${JSON.stringify(connection.place.database)} has no table ${tableLabel(table)}: check schema and name (they are taken to the letter, upper case included), or create the table`,
    { field },
  )
}

const KINDS: Readonly<Record<string, string>> = {
  v: 'a view',
  m: 'a materialized view',
  f: 'a foreign table',
  S: 'a sequence',
  i: 'an index',
  c: 'a composite type',
  I: 'an index',
  t: 'a TOAST table',
}

function assertTable(relation: TextRow, table: TableName, field: string): void {
  const label = tableLabel(table)
  const refuse = (what: string, cure: string) => {
    throw new MillraceError('TableNotFound', `${field}: ${label} is ${what}: ${cure}`, { field })
  }
  const kind = relation.relkind ?? ''
  if (kind !== 'r' && kind !== 'p') {
    refuse(KINDS[kind] ?? 'not a table', 'only tables can be replicated; name the table behind it')
  }
  if (relation.relispartition === 't') {
    refuse('a partition', 'name the partitioned table at the root; its partitions come with it')
  }
  if (relation.relpersistence === 'u') {
    refuse(
      'unlogged, so that its changes are not in the log',
      `run ALTER TABLE ${quoteTable(table)} SET LOGGED`,
    )
  }
  if (relation.relpersistence === 't') refuse('temporary', 'name a permanent table')
}
