import type { Header, HeaderColumn, HeaderType } from '../queue/format.ts'
import { isIncluded } from '../source/columns.ts'
import type { Column, ColumnFilter, TableDefinition } from '../source/table.ts'

/**
 * The table as the rows of a header describe it. The queue is behind the catalog: what the header says holds, and the
 * catalog adds what it knows of columns that still have the same type. What an added column gave to the rows that were there
 * is told by the header where it can be: by now the column may have another default, or the table another file. Only what the
 * Pipeline replicates follows its spec of now: whoever excludes a column that the destination cannot take wants to get past
 * the changes that are queued with it.
 *
 * @param catalog undefined when the source has no such table any more
 * @param filter never takes away the key, without which the rows could not be told apart
 */
export function headerDefinition(
  header: Header,
  catalog: TableDefinition | undefined,
  filter?: ColumnFilter,
): TableDefinition {
  const known = new Map(catalog?.columns.map((column) => [column.name, column]))
  const [schema, name] = header.table
  const wanted = header.columns.filter(([column, , place]) => place > 0 || isIncluded(filter, column))
  const columns = wanted.map((column) => {
    const found = known.get(column[0])
    return withAdded(
      found?.type === column[1] ? found : goneColumn(column, header.types?.[column[1]]),
      column[3],
    )
  })
  const key = header.columns
    .filter(([, , place]) => place > 0)
    .sort((a, b) => a[2] - b[2])
    .map(([column]) => column)
  return {
    schema,
    name,
    oid: catalog?.oid ?? 0,
    columns,
    key,
    replicaIdentity: catalog?.replicaIdentity ?? (key.length > 0 ? 'default' : 'full'),
    partitioned: catalog?.partitioned ?? false,
  }
}

/**
 * The same with the columns that are younger than the header but in the destination already, because a backfill made the
 * table from the catalog: rows of the header lack them, and must not take them away (rule R19).
 *
 * @param present names of the destination table's columns
 */
export function wideDefinition(
  definition: TableDefinition,
  catalog: TableDefinition | undefined,
  present: readonly string[],
): TableDefinition {
  const own = new Set(definition.columns.map(({ name }) => name))
  const further = catalog?.columns.filter(({ name }) => !own.has(name) && present.includes(name)) ?? []
  return further.length === 0 ? definition : { ...definition, columns: [...definition.columns, ...further] }
}

function withAdded(column: Column, added: string | null | undefined): Column {
  if (added === undefined) return column
  const { constantDefault: _, ...rest } = column
  return added === null ? rest : { ...rest, constantDefault: added }
}

/** Of a column that the catalog does not know like this (any more), as far as the header tells what is behind its type. */
function goneColumn([name, type]: HeaderColumn, behind: HeaderType | undefined): Column {
  const array = type.endsWith('[]')
  return {
    name,
    type,
    typeOid: 0,
    typeModifier: -1,
    typeKind: array ? 'array' : (behind?.[0] ?? 'base'),
    baseType: array ? type.slice(0, -2) : (behind?.[1] ?? type),
    notNull: false,
  }
}
