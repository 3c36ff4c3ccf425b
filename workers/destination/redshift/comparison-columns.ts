import type { Column } from '../../source/table.ts'
import { output, column as ownColumn } from '../../source/verify-sql.ts'
import { parseTypeName } from '../type-name.ts'
import type { ColumnRule, UnfitPolicy } from './columns.ts'
import { quoteName } from './names.ts'
import { MAX_VARBYTE, MAX_VARCHAR, type RedshiftKind, type RedshiftType } from './redshift-type.ts'

// How the two sides write a column's values so that equal ones are the same text. What the destination's column is decides it:
// the source writes what would be loaded, as that column then has it.

export interface ComparedColumn {
  readonly kind: RedshiftKind
  /** SQL of the source and of Redshift: the value's text; NULL for NULL. */
  readonly source: string
  readonly destination: string
  /** The same as part of the row's hash: begun by its length where it can have what ends it. */
  readonly sourcePart: string
  readonly destinationPart: string
  /** The same for rows that are fetched by key: what the values mean is looked at, see `sameValues`. */
  readonly sourceValue: string
  readonly destinationValue: string
}

/** A document that is too long for a row of a result stands as this, which no document is. */
export const LONG = 'long'

/** Longest texts that are hashed as they are: not longer than what MD5 makes of them, times two. */
const SHORT = 64
/** Columns from which on that is too much for the text of a row, which has room for 65,535 bytes. */
const MANY_COLUMNS = 900
const MD5_BYTES = 32
/** Bytes whose hexadecimal digits MD5 is given at once. */
const PIECE = 30_000
/** JSON that fits a VARCHAR, with room for blanks. */
const MAX_JSON = 60_000
const MAX_RESULT_ROW = 60_000

export interface ComparedInput {
  readonly column: Column
  readonly rule: ColumnRule
  /** What the destination's column is. */
  readonly type: RedshiftType
}

export function comparedColumns(inputs: readonly ComparedInput[], policy: UnfitPolicy): ComparedColumn[] {
  const documents = inputs.filter(({ type }) => type.kind === 'super').length
  const room = Math.max(1_000, Math.floor((MAX_RESULT_ROW - 40 * inputs.length) / Math.max(1, documents)))
  const short = inputs.length > MANY_COLUMNS ? MD5_BYTES : SHORT
  return inputs.map(({ column, rule, type }) => {
    const there = destinationText(rule.name, type, short)
    const stored = (write: (x: string) => string) => storedText(column, rule, type, policy, write)
    const here = stored((x) => sourceText(x, type, short))
    const isFree = type.kind === 'char' || isShort(type, short)
    const both = {
      kind: type.kind,
      source: here,
      destination: there,
      sourcePart: isFree ? stored((x) => measured(sourceText(x, type, short))) : here,
      destinationPart: isFree ? `CAST(OCTET_LENGTH(${there}) AS VARCHAR(8)) || ':' || ${there}` : there,
    }
    if (type.kind !== 'super') return { ...both, sourceValue: here, destinationValue: there }
    const name = `t.${quoteName(rule.name)}`
    return {
      ...both,
      sourceValue: stored((x) => `CASE WHEN octet_length(${x}) <= ${room} THEN ${x} ELSE '${LONG}' END`),
      destinationValue: `CASE WHEN ${name} IS NULL THEN NULL WHEN JSON_SIZE(${name}) <= ${room} THEN JSON_SERIALIZE(${name}) ELSE '${LONG}' END`,
    }
  })
}

/** Text of a row's columns, in SQL of the source: each ended, so that one is told from the next and NULL from no text. */
export function sourceParts(columns: readonly ComparedColumn[]): string[] {
  return columns.map(({ sourcePart }) => `coalesce(${sourcePart} || E'\\x02', E'\\x01')`)
}

export function destinationParts(columns: readonly ComparedColumn[]): string {
  return columns.map(({ destinationPart }) => `COALESCE(${destinationPart} || CHR(2), CHR(1))`).join(' || ')
}

/** Text that says how many bytes it has, in SQL of the source. */
function measured(text: string): string {
  return `octet_length(convert_to(${text}, 'UTF8')) || ':' || ${text}`
}

function isShort({ kind, length }: RedshiftType, short: number): boolean {
  return kind === 'varchar' && (length ?? MAX_VARCHAR) <= short
}

const TYPED: ReadonlySet<RedshiftKind> = new Set([
  'smallint',
  'integer',
  'bigint',
  'numeric',
  'date',
  'timestamp',
  'timestamptz',
  'time',
])

/** What is loaded of a value: as `columnExpression` has it, but for the marks, and written by `write`. */
function storedText(
  column: Column,
  { form, key }: ColumnRule,
  type: RedshiftType,
  policy: UnfitPolicy,
  write: (x: string) => string,
): string {
  const value = ownColumn(column.name)
  if (!form.fits && !form.via) return write(form.text?.(value) ?? plainText(column, type))
  const near = policy === 'Truncate' && !key ? form.nearest : undefined
  const choose = (x: string) => {
    const fitting = write(TYPED.has(type.kind) && type.kind === form.type.kind ? x : (form.text?.(x) ?? x))
    if (!form.fits) return fitting
    const otherwise = near ? write(`(${near(x)})`) : 'NULL'
    return `CASE WHEN ${form.fits(x, value)} THEN ${fitting} WHEN ${x} IS NULL THEN NULL ELSE ${otherwise} END`
  }
  if (!form.via) return choose(value)
  // As in `columnExpression`; the name is another one than the table's.
  return `CASE WHEN num_nulls(${value}) = 0 THEN (SELECT ${choose('s.v')} FROM (SELECT ${form.via(value)} AS v OFFSET 0) AS s) END`
}

const WRITTEN_ALIKE = new Set(['text', 'character varying', 'smallint', 'integer', 'bigint', 'uuid', 'oid'])

/** Text of a value that is loaded as its type writes it. */
function plainText(column: Column, { kind }: RedshiftType): string {
  const value = ownColumn(column.name)
  const { name, builtIn, array } = parseTypeName(column.typeKind === 'domain' ? column.baseType : column.type)
  if (builtIn && !array) {
    if (name === 'boolean') return `CASE ${value} WHEN true THEN 't' WHEN false THEN 'f' END`
    if (TYPED.has(kind) || WRITTEN_ALIKE.has(name)) return `${value}::text`
  }
  return `CASE WHEN num_nulls(${value}) = 0 THEN ${output(column.name)} END`
}

/** TO_CHAR knows no times of day, but any day and one make a time stamp. */
const DAY = `DATE '2000-01-01'`
const TIME = `'HH24:MI:SS.US'`
const MOMENT = `'YYYY-MM-DD HH24:MI:SS.US'`

/** A loaded text, or a value of the source that becomes it, as a column of this type has it. */
function sourceText(x: string, type: RedshiftType, short: number): string {
  switch (type.kind) {
    case 'numeric':
      return `(${x})::numeric(${type.length ?? 18},${type.scale ?? 0})::text`
    case 'real':
      return floatText(`(${x})::text::real`, 6)
    case 'double precision':
      return floatText(`(${x})::text::double precision`, 15)
    case 'date':
      return `to_char((${x})::date, 'YYYY-MM-DD')`
    case 'timestamp':
      return `to_char((${x})::timestamp, ${MOMENT})`
    case 'timestamptz':
      return `to_char((${x})::timestamptz AT TIME ZONE 'UTC', ${MOMENT})`
    case 'time':
      return `to_char(${DAY} + (${x})::time, ${TIME})`
    case 'char':
      return `rtrim(${x}, ' ')`
    case 'varchar':
      return isShort(type, short) ? `(${x})` : md5Text(x)
    case 'varbyte':
      return `(SELECT string_agg(md5(substr(${x}, i, ${2 * PIECE})), '' ORDER BY i) FROM generate_series(1, length(${x}), ${2 * PIECE}) AS i)`
    case 'super': {
      const bare = `regexp_replace(nullif(${x}, 'null'), '${JSON_BLANKS}', '\\1', 'g')`
      return `(SELECT CASE WHEN octet_length(d.b) > ${MAX_JSON} THEN jsonb_typeof((${x})::jsonb) ELSE ${md5Text('d.b')} END FROM (SELECT ${bare} AS b OFFSET 0) AS d)`
    }
    default:
      return `(${x})::text`
  }
}

/** A regular expression: blanks of a document, or a whole string of it, whose blanks are a value. Only the string is kept. */
const JSON_BLANKS = '("[^"\\\\]*(?:\\\\.[^"\\\\]*)*")|[ \\n\\t\\r]+'

const md5Text = (x: string) => `md5(convert_to(${x}, 'UTF8'))`

/**
 * Floating point as `%.15g` (`%.6g`) has it, which is what PostgreSQL 8 wrote, and Redshift with it: a cast to numeric has as many
 * digits.
 */
function floatText(x: string, digits: number): string {
  const picture = `9.${'9'.repeat(digits - 1)}EEEE`
  return (
    `(SELECT CASE WHEN s.n = 0 THEN '0' WHEN abs(s.n) >= 1e${digits} OR abs(s.n) < 0.0001` +
    ` THEN regexp_replace(trim(to_char(s.n, '${picture}')), '\\.?0*e', 'e')` +
    ` ELSE trim_scale(s.n)::text END FROM (SELECT (${x})::numeric AS n OFFSET 0) AS s)`
  )
}

/** The same in SQL of Redshift. */
function destinationText(column: string, type: RedshiftType, short: number): string {
  const name = `t.${quoteName(column)}`
  switch (type.kind) {
    case 'boolean':
      return `CASE WHEN ${name} THEN 't' WHEN NOT ${name} THEN 'f' END`
    case 'date':
      return `TO_CHAR(${name}, 'YYYY-MM-DD')`
    case 'timestamp':
      return `TO_CHAR(${name}, ${MOMENT})`
    case 'timestamptz':
      return `TO_CHAR(${name} AT TIME ZONE 'UTC', ${MOMENT})`
    case 'time':
      return `TO_CHAR(${DAY} + ${name}, ${TIME})`
    case 'char':
      return `RTRIM(${name})`
    case 'varchar':
      return isShort(type, short) ? name : `MD5(${name})`
    case 'varbyte':
      return binaryText(name, type.length ?? MAX_VARBYTE)
    case 'super':
      // Of NULL, JSON_SERIALIZE makes 'null'; of a document, a text whose only blanks are in its strings.
      return `CASE WHEN ${name} IS NULL THEN NULL WHEN JSON_SIZE(${name}) > ${MAX_JSON} THEN JSON_TYPEOF(${name}) ELSE MD5(NULLIF(JSON_SERIALIZE(${name}), 'null')) END`
    default:
      return `CAST(${name} AS VARCHAR(64))`
  }
}

/** VARBYTE in pieces, because its digits have to fit a VARCHAR. */
function binaryText(name: string, bytes: number): string {
  const piece = (from: number) => `MD5(LOWER(TO_HEX(SUBSTRING(${name}, ${from + 1}, ${PIECE}))))`
  let text = piece(0)
  for (let from = PIECE; from < Math.min(bytes, MAX_VARBYTE); from += PIECE) {
    text += ` || CASE WHEN LEN(${name}) > ${from} THEN ${piece(from)} ELSE '' END`
  }
  return `(${text})`
}
