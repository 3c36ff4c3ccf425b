import type { Column } from '../../source/table.ts'
import { column, joined } from '../../source/verify-sql.ts'
import { parseTypeName } from '../type-name.ts'
import type { TargetColumn } from './catalog.ts'

/** A column as both sides have it. */
export interface ColumnPair {
  readonly own: Column
  readonly there: TargetColumn
}

/** A value as it is compared, in SQL of one side. */
export interface ComparedValue {
  readonly value: string
  /** Bytes of its text in UTF-8, NULL for NULL; undefined where no text of the type can be mistaken for what ends a value. */
  readonly length: string | undefined
}

const TEXTS = new Set(['text', 'character varying'])

/** The source's value as the destination's column holds it: what a number or a document looks like depends on the type. */
export function storedAs(own: Column, there: Pick<TargetColumn, 'baseType'>): string {
  const name = column(own.name)
  return isWritten(own, there)
    ? `CASE WHEN ${name} IS NULL THEN NULL ELSE format('%s', ${name})::${there.baseType} END`
    : name
}

/** Whether the destination's column may write another text of the same value. */
export function isWritten(own: Column, { baseType }: Pick<TargetColumn, 'baseType'>): boolean {
  const { builtIn, name } = parseTypeName(baseType)
  return baseType !== own.type && baseType !== own.baseType && builtIn && !TEXTS.has(name)
}

export function sourceValue({ own, there }: ColumnPair, encoding: string): ComparedValue {
  const value = storedAs(own, there)
  if (isPlain({ own, there })) return { value, length: undefined }
  if (encoding !== 'UTF8')
    return { value, length: formattedLength(value, (text) => `convert_to(${text}, 'UTF8')`) }
  return { value, length: lengthOf(value, isWritten(own, there) ? there.baseType : typeBehind(own)) }
}

export function destinationValue({ own, there }: ColumnPair): ComparedValue {
  const value = column(own.name)
  return { value, length: isPlain({ own, there }) ? undefined : lengthOf(value, there.baseType) }
}

/** Types of which no text has a control character. */
const PLAIN = new Set([
  'smallint',
  'integer',
  'bigint',
  'numeric',
  'real',
  'double precision',
  'boolean',
  'uuid',
  'bytea',
  'date',
  'timestamp without time zone',
  'timestamp with time zone',
  'time without time zone',
  'time with time zone',
  'interval',
  'json',
  'jsonb',
])

function isPlain({ own, there }: ColumnPair): boolean {
  return [typeBehind(own), there.baseType].every((type) => {
    const { builtIn, array, name } = parseTypeName(type)
    return builtIn && !array && PLAIN.has(name)
  })
}

function typeBehind({ typeKind, type, baseType }: Column): string {
  return typeKind === 'domain' ? baseType : type
}

const STRINGS = new Set([...TEXTS, 'character', 'bpchar'])

function lengthOf(value: string, type: string): string {
  const { builtIn, array, name } = parseTypeName(type)
  // Which reads no value that is stored elsewhere.
  if (builtIn && !array && STRINGS.has(name)) return `octet_length(${value})`
  return formattedLength(value, (text) => text)
}

function formattedLength(value: string, encoded: (text: string) => string): string {
  return `CASE WHEN ${isNull(value)} THEN NULL ELSE octet_length(${encoded(`format('%s', ${value})`)}) END`
}

// IS NULL would be true for a composite value of nothing but NULLs.
const isNull = (value: string) => `${value} IS NOT DISTINCT FROM NULL`

/**
 * Text of a row, which no other row has: concat() writes each value as its type does, and takes a third of the time of a whole
 * row's text. A mark tells NULL from the empty text; it ends a value whose text cannot have it, and any other begins with its length.
 */
export function rowText(values: readonly ComparedValue[]): string {
  return joined(
    values.flatMap(({ value, length }) => {
      const mark = `CASE WHEN ${isNull(value)} THEN E'\\x01' ELSE E'\\x02' END`
      return length === undefined ? [value, mark] : [length, mark, value]
    }),
  )
}
