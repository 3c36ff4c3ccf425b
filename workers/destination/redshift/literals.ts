import type { RedshiftType } from './redshift-type.ts'
import { typeText } from './redshift-type.ts'

/** A text as an SQL literal. A backslash escapes in Redshift, so it is doubled. */
export function literal(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/** A converted value as an SQL expression of its column's type; what COPY makes of the same text in a file. */
export function typedLiteral(type: RedshiftType, text: string | null): string {
  if (text === null) return 'NULL'
  switch (type.kind) {
    case 'smallint':
    case 'integer':
    case 'bigint':
      return /^-?\d+$/.test(text) ? text : `${literal(text)}::${typeText(type)}`
    case 'varchar':
    case 'char':
      return literal(text)
    case 'super':
      return `JSON_PARSE(${literal(text)})`
    case 'varbyte':
      return `FROM_HEX(${literal(text)})`
    default:
      return `${literal(text)}::${typeText(type)}`
  }
}

/** The same where no column says what type it is to be. */
export function castLiteral(type: RedshiftType, text: string): string {
  return `${literal(text)}::${typeText(type)}`
}
