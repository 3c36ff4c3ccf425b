import { MillraceError } from '../../../lib/errors.ts'
import { type TableDefinition, type TableName, tableLabel } from '../../source/table.ts'

/** Every table has these, unseen. */
const SYSTEM_COLUMNS = new Set(['oid', 'tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid'])
/** Redshift's limit, in bytes of UTF-8. */
const MAX_BYTES = 127

/**
 * A name as Redshift keeps it. ASCII letters become small ones, in quotes too, unless the warehouse has
 * `enable_case_sensitive_identifier` on; with small letters a name is the same one in either case, and nobody has to quote
 * it in a query.
 */
export function foldName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

export function foldTable(table: TableName): TableName {
  return { schema: foldName(table.schema), name: foldName(table.name) }
}

/** Always in quotes, so that reserved words and odd characters are names. A name with a double quote never gets here. */
export function quoteName(name: string): string {
  if (name.includes('"')) throw new Error('a name with a double quote is not one of Redshift')
  return `"${foldName(name)}"`
}

export function quoteTableName(table: TableName): string {
  return `${quoteName(table.schema)}.${quoteName(table.name)}`
}

/**
 * Refuses names that Redshift cannot hold, and columns that are one there: `InvalidSpec` that names the table, the columns and
 * the cure.
 */
export function checkNames(
  target: TableName,
  definition: Pick<TableDefinition, 'schema' | 'name' | 'columns'>,
): void {
  const label = tableLabel(definition)
  for (const [what, name] of [
    ['schema', target.schema],
    ['name', target.name],
  ] as const) {
    const wrong = problem(name)
    if (wrong === undefined) continue
    throw invalid(
      `spec.tables[].destination.${what}: the name ${JSON.stringify(name)} for table ${label} ${wrong} in Redshift; choose another one there`,
      `spec.tables[].destination.${what}`,
    )
  }
  const seen = new Map<string, string>()
  for (const { name } of definition.columns) {
    const wrong = SYSTEM_COLUMNS.has(foldName(name)) ? 'has the name of a system column' : problem(name)
    if (wrong !== undefined) {
      throw invalid(
        `spec.tables[].columns: column ${JSON.stringify(name)} of table ${label} ${wrong} in Redshift; rename it in the source, or list it in columns.exclude`,
      )
    }
    const other = seen.get(foldName(name))
    if (other !== undefined) {
      throw invalid(
        `spec.tables[].columns: columns ${JSON.stringify(other)} and ${JSON.stringify(name)} of table ${label} are one name in Redshift, which does not tell upper from lower case; rename one in the source, or list one in columns.exclude`,
      )
    }
    seen.set(foldName(name), name)
  }
}

function problem(name: string): string | undefined {
  if (name.includes('"')) return 'has a double quote, which no name may have'
  if (name.includes('\0')) return 'has a NUL character, which no name may have'
  const bytes = Buffer.byteLength(name)
  return bytes > MAX_BYTES
    ? `is longer than the ${MAX_BYTES} bytes (${bytes}) that a name may have`
    : undefined
}

function invalid(message: string, field = 'spec.tables[].columns'): MillraceError {
  return new MillraceError('InvalidSpec', message, { field })
}
