import { quoteIdentifier } from '../../lib/sql.ts'

/**
 * One side of a comparison, source or destination, both PostgreSQL: how its rows are read so that equal rows give equal
 * text. Every expression names its columns as those of `t`.
 */
export interface VerifySide {
  /** What stands behind FROM, without an alias. */
  readonly from: string
  /** Rows that count; empty = all. */
  readonly where: string
  /** Expressions of the compared columns, in the same order on both sides. */
  readonly columns: readonly string[]
  readonly key: readonly KeyTerm[]
}

export interface KeyTerm {
  /** What ranges are cut by: orders rows alike on both sides. */
  readonly term: string
  /** Type that a bound in text form is cast to, with its collation. */
  readonly bound: string
  /** The key's own text. */
  readonly text: string
}

/** Half-open, as text values in key order; undefined = open end. */
export interface VerifyRange {
  readonly from?: readonly string[]
  readonly to?: readonly string[]
}

export interface Statement {
  readonly text: string
  readonly values: string[]
}

/** A column of `t`. */
export function column(name: string): string {
  return `t.${quoteIdentifier(name)}`
}

/** A key column that both sides order alike by themselves, so that its index is used. */
export function orderedTerm(name: string, type: string): KeyTerm {
  return { term: column(name), bound: `::${type}`, text: output(name) }
}

/** Any other: ordered by the bytes of its text. */
export function textTerm(name: string): KeyTerm {
  return { term: `${output(name)} COLLATE "C"`, bound: '::text COLLATE "C"', text: output(name) }
}

// format() writes a value as its type does; a cast to text would not (it cuts the blanks of character(n)).
function output(name: string): string {
  return `format('%s', ${column(name)})`
}

/**
 * Number of rows and a checksum of the rows of a range, whatever their order. (OFFSET 0: without it each row is hashed twice,
 * once for either aggregate.)
 */
export function digestSQL(side: VerifySide, range: VerifyRange): Statement {
  const { condition, values } = inRange(side, range, 1)
  return {
    text: `SELECT count(*) AS rows, coalesce(bit_xor(h), 0) || ' ' || coalesce(sum(h >> 32), 0) AS checksum
           FROM (SELECT ${hash(side)} AS h FROM ${side.from} AS t${condition} OFFSET 0) AS r`,
    values,
  }
}

/** Key, checksum and version of each row of a range. */
export function rowsSQL(side: VerifySide, range: VerifyRange): Statement {
  const { condition, values } = inRange(side, range, 1)
  return { text: `SELECT ${keyed(side)} FROM ${side.from} AS t${condition}`, values }
}

/** The same of rows by their keys; those that are not there are left out. */
export function keysSQL(side: VerifySide, keys: readonly (readonly string[])[]): Statement {
  const arrays = side.key.map((_, index) => `$${index + 1}::text[]`).join(', ')
  const names = side.key.map((_, index) => `w${index}`).join(', ')
  const same = side.key.map(({ term, bound }, index) => `${term} = (r.w${index}${bound})`)
  const and = side.where === '' ? '' : ` AND ${side.where}`
  return {
    text: `SELECT ${keyed(side)} FROM unnest(${arrays}) AS r (${names}) JOIN ${side.from} AS t ON ${same.join(' AND ')}${and}`,
    values: side.key.map((_, index) => textArray(keys.map((key) => key[index] ?? ''))),
  }
}

/** Keys that cut a range into `parts` parts of about as many rows; `share`: percent of the blocks to look at. */
export function cutSQL(side: VerifySide, range: VerifyRange, parts: number, share?: number): Statement {
  const { condition, values } = inRange(side, range, 2)
  const sample = share === undefined ? '' : ` TABLESAMPLE SYSTEM (${share})`
  const texts = side.key.map(({ text }, index) => `${text} AS k${index}`)
  const order = side.key.map(({ term }) => term).join(', ')
  return {
    text: `SELECT * FROM (
             SELECT ${texts.join(', ')}, row_number() OVER (ORDER BY ${order}) - 1 AS i, count(*) OVER () AS n
             FROM ${side.from} AS t${sample}${condition}
           ) AS s WHERE i > 0 AND i * $1::bigint / n <> (i - 1) * $1::bigint / n ORDER BY i`,
    values: [String(parts), ...values],
  }
}

/** A function takes at most 100 arguments. */
const COLUMNS_AT_ONCE = 48

// concat() writes each value as its type does, and takes a third of the time of a whole row's text. What stands behind each
// value tells NULL from the empty text, and one column from the next.
function hash({ columns }: VerifySide): string {
  const parts: string[] = []
  for (let start = 0; start < columns.length; start += COLUMNS_AT_ONCE) {
    const some = columns.slice(start, start + COLUMNS_AT_ONCE)
    // IS NULL would be true for a composite value of nothing but NULLs.
    const values = some.map(
      (one) => `${one}, CASE WHEN ${one} IS NOT DISTINCT FROM NULL THEN E'\\x01' ELSE E'\\x02' END`,
    )
    parts.push(`concat(${values.join(', ')})`)
  }
  return `hashtextextended((${parts.join(' || ')}) COLLATE "C", 0)`
}

function keyed(side: VerifySide): string {
  const texts = side.key.map(({ text }, index) => `${text} AS k${index}`)
  return `${texts.join(', ')}, ${hash(side)} AS h, t.xmin || ' ' || t.ctid || ' ' || t.tableoid AS v`
}

function inRange(
  { key, where }: VerifySide,
  { from, to }: VerifyRange,
  first: number,
): { condition: string; values: string[] } {
  const values: string[] = []
  const row = (items: readonly string[]) => (items.length === 1 ? items[0] : `(${items.join(', ')})`)
  const compare = (operator: string, bounds: readonly string[]) => {
    const casts = key.map(({ bound }, index) => `($${first + values.length + index}${bound})`)
    values.push(...bounds)
    return `${row(key.map(({ term }) => term))} ${operator} ${row(casts)}`
  }
  const conditions = [
    ...(where === '' ? [] : [where]),
    ...(from ? [compare('>=', from)] : []),
    ...(to ? [compare('<', to)] : []),
  ]
  return { condition: conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`, values }
}

function textArray(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`
}
