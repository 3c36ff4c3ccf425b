import { createHash } from 'node:crypto'
import { quoteIdentifier } from '../../../lib/sql.ts'
import type { TableRef } from './ast.ts'

/** Schema of the functions and catalog tables that the emulator keeps in PostgreSQL. */
export const HOME = 'redshift_emulator'

const MAX_POSTGRES_BYTES = 63
const SHORT_MARK = '\u00a7'

/**
 * Name that an object gets in PostgreSQL, whose names are half as long as Redshift's: what does not fit is cut off and
 * a hash of the whole name takes its place.
 */
export function postgresName(name: string): string {
  if (Buffer.byteLength(name) <= MAX_POSTGRES_BYTES) return name
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 20)
  let kept = ''
  for (const character of name) {
    if (Buffer.byteLength(kept + character) > 40) break
    kept += character
  }
  const short = `${kept}${SHORT_MARK}${hash}`
  longNames.set(short, name)
  return short
}

/** Long names seen so far. A label of a result set comes from a statement of this process, so it is always here. */
const longNames = new Map<string, string>()

/** The name as Redshift knows it. */
export const redshiftName = (name: string) => longNames.get(name) ?? name

/** A name as it is written in a statement for PostgreSQL. */
export const sqlName = (name: string) => quoteIdentifier(postgresName(name))

export function sqlTable(table: TableRef): string {
  return table.schema === undefined ? sqlName(table.name) : `${sqlName(table.schema)}.${sqlName(table.name)}`
}

/** A string literal for PostgreSQL with standard_conforming_strings. */
export const sqlString = (value: string) => `'${value.replaceAll("'", "''")}'`

/** A table as messages name it. */
export const displayTable = (table: TableRef) =>
  table.schema === undefined ? table.name : `${table.schema}.${table.name}`
