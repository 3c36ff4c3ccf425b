/**
 * The only way an identifier gets into SQL text: always quoted, so that case, reserved words and odd characters are
 * kept. Works for PostgreSQL and, but for a double quote in a name, for Redshift.
 */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** `"schema"."name"`. */
export function quoteTable(table: { readonly schema: string; readonly name: string }): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`
}
