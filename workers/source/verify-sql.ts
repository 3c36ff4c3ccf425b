import { quoteIdentifier } from '../../lib/sql.ts'

/**
 * One side of a comparison that is PostgreSQL: how its rows are read so that equal rows give equal text. Every expression
 * names its columns as those of `t`.
 */
export interface VerifySide {
  /** What stands behind FROM, without an alias. */
  readonly from: string
  /** Rows that count; empty = all. */
  readonly where: string
  /** A row's hash. */
  readonly hash: string
  /** Text over the hashes `h` of rows, whatever their order. */
  readonly checksum: string
  /** What ranges are cut by; undefined where the two sides have no order in common. */
  readonly order: readonly OrderTerm[] | undefined
  /** The key as a number from 0 to 2^32 - 1, the same on both sides. */
  readonly scatter: string
  readonly key: readonly KeyTerm[]
  /** Whether several rows can have one key, because nothing keeps them from it. */
  readonly mayRepeat?: boolean
  /** What is compared of a row that is read by its key, as texts; undefined: its hash. */
  readonly values?: readonly string[]
}

export interface OrderTerm {
  readonly term: string
  /** Text of a bound. */
  readonly text: string
  /** Type that the text is cast to, with its collation. */
  readonly bound: string
}

export interface KeyTerm {
  /** The key's text, which tells one row from another. */
  readonly text: string
  /** What is equal to `wanted(text)` where `text` is a row's; better something that has an index. */
  readonly place: string
  /** SQL operator; default the plain sign. */
  readonly equals?: string | undefined
  wanted(text: string): string
}

/** Half-open, as text values in the order's terms; undefined = open end. */
export interface VerifyRange {
  readonly from?: readonly string[]
  readonly to?: readonly string[]
}

/** Slices of a table: ranges that follow one another; or parts by `scatter`, where there is no order in common, or none that helps. */
export type Slices = { readonly ranges: readonly VerifyRange[] } | Parts

export interface Parts {
  /** Parts of the whole, a power of two. */
  readonly scattered: number
  /** Those that are meant, by their numbers. */
  readonly picked: readonly number[]
  /** What the whole is; default the table. */
  readonly within?: VerifyRange
}

/** Most that is read of one listing: rows, and bytes of their keys but for the last one's. */
export interface ListLimit {
  readonly rows: number
  readonly keyBytes: number
}

export interface Statement {
  readonly text: string
  readonly values: string[]
}

export const SCATTER = 2 ** 32

/** A column of `t`. */
export function column(name: string): string {
  return `t.${quoteIdentifier(name)}`
}

/** The text that a type writes of a value. format() does; a cast to text would not (it cuts the blanks of character(n)). */
export function output(name: string): string {
  return `format('%s', ${column(name)})`
}

/** Number of rows and a checksum for each slice `b` that has rows. */
export function digestSQL(side: VerifySide, slices: Slices): Statement {
  const statement = createStatement(side)
  // OFFSET 0: without it each row is hashed once for either aggregate, and what it is put in order by as often as it is compared.
  if ('scattered' in slices) {
    const where = statement.where(slices.within, pickedParts(side, slices))
    return statement.end(
      `SELECT b, count(*) AS n, ${side.checksum} AS checksum FROM (
         SELECT ${partOf(side, slices)} AS b, ${side.hash} AS h FROM ${side.from} AS t${where} OFFSET 0
       ) AS r GROUP BY b`,
    )
  }
  const { ranges } = slices
  const where = statement.where(wholeOf(ranges))
  if (ranges.length === 1) {
    return statement.end(
      `SELECT 0 AS b, count(*) AS n, ${side.checksum} AS checksum
       FROM (SELECT ${side.hash} AS h FROM ${side.from} AS t${where} OFFSET 0) AS r`,
    )
  }
  return statement.end(
    `SELECT b, count(*) AS n, ${side.checksum} AS checksum
     FROM (SELECT ${statement.slice(ranges)} AS b, ${side.hash} AS h FROM ${side.from} AS t${where} OFFSET 0) AS r GROUP BY b`,
  )
}

/** What ranges that follow one another cover together. */
export function wholeOf(ranges: readonly VerifyRange[]): VerifyRange {
  const { from } = ranges[0] ?? {}
  const { to } = ranges.at(-1) ?? {}
  return { ...(from && { from }), ...(to && { to }) }
}

/**
 * SQL of the number, from 0, of the range that a row is in.
 *
 * @param isBelow SQL of whether the row comes before the range of this number
 */
export function bisect(ranges: number, isBelow: (range: number) => string): string {
  const choose = (low: number, high: number): string => {
    if (low === high) return String(low)
    const middle = Math.ceil((low + high) / 2)
    return `CASE WHEN ${isBelow(middle)} THEN ${choose(low, middle - 1)} ELSE ${choose(middle, high)} END`
  }
  return choose(0, ranges - 1)
}

/** SQL of the number of the part that a row is in. */
export function partOf({ scatter }: Pick<VerifySide, 'scatter'>, { scattered }: Parts): string {
  return `${scatter} / ${SCATTER / scattered}`
}

/** SQL condition of a row of these parts; empty = all. */
export function pickedParts(side: Pick<VerifySide, 'scatter'>, parts: Parts): string {
  return parts.picked.length === parts.scattered
    ? ''
    : `${partOf(side, parts)} IN (${parts.picked.join(', ')})`
}

/** Key, hash and slice `b` of each row, one more than `limit` has at most; `cut`, not NULL, where its bytes are used up. */
export function rowsSQL(side: VerifySide, slices: Slices, limit: ListLimit): Statement {
  const statement = createStatement(side)
  const isScattered = 'scattered' in slices
  const slice = isScattered ? partOf(side, slices) : statement.slice(slices.ranges)
  const where = isScattered
    ? statement.where(slices.within, pickedParts(side, slices))
    : statement.where(wholeOf(slices.ranges))
  const size = side.key.map((_, index) => `octet_length(k${index})`).join(' + ')
  return statement.end(
    `SELECT *, CASE WHEN total >= ${limit.keyBytes} THEN 1 END AS cut FROM (
       SELECT *, sum(${size}) OVER (ROWS UNBOUNDED PRECEDING) AS total, ${size} AS own FROM (
         SELECT ${keys(side)}, ${side.hash} AS h, ${slice} AS b FROM ${side.from} AS t${where} OFFSET 0
       ) AS r
     ) AS r WHERE total - own < ${limit.keyBytes} LIMIT ${limit.rows + 1}`,
  )
}

/** Stands for the hash where there are several rows of one key: equal to none. */
const REPEATED = 'repeated'

/** Rows by their keys, one for each; those that are not there are left out. */
export function keysSQL(side: VerifySide, wanted: readonly (readonly string[])[]): Statement {
  const same = side.key.map(
    (term, index) => `${term.place} ${term.equals ?? '='} ${term.wanted(`r.w${index}`)}`,
  )
  const and = side.where === '' ? '' : ` AND ${side.where}`
  const what = side.values?.map((value, index) => `${value} AS x${index}`).join(', ') ?? `${side.hash} AS h`
  const found = `SELECT ${keys(side)}, ${what}, ${VERSION} AS v FROM ${keyRows(side)} JOIN ${side.from} AS t ON ${same.join(' AND ')}${and}`
  return { text: side.mayRepeat ? oneOfEach(side, found) : found, values: keyValues(side, wanted) }
}

/** By the letters of their keys, whatever the collation calls equal; one row is one, however many keys it was found by. */
function oneOfEach({ key }: VerifySide, found: string): string {
  const names = key.map((_, index) => `k${index} COLLATE "C" AS k${index}`)
  return `SELECT ${names.join(', ')}, CASE count(DISTINCT v) WHEN 1 THEN min(h)::text ELSE '${REPEATED}' END AS h, min(v) AS v FROM (${found}) AS r GROUP BY ${names.map((_, index) => index + 1).join(', ')}`
}

/** Fails when the side's types cannot hold one of the keys. Reads no table. */
export function castSQL(side: VerifySide, wanted: readonly (readonly string[])[]): Statement {
  const casts = side.key.map((term, index) => `count(${term.wanted(`r.w${index}`)}) AS n${index}`)
  return { text: `SELECT ${casts.join(', ')} FROM ${keyRows(side)}`, values: keyValues(side, wanted) }
}

function keyRows({ key }: VerifySide): string {
  const arrays = key.map((_, index) => `$${index + 1}::text[]`).join(', ')
  return `unnest(${arrays}) AS r (${key.map((_, index) => `w${index}`).join(', ')})`
}

function keyValues({ key }: VerifySide, wanted: readonly (readonly string[])[]): string[] {
  return key.map((_, index) => textArray(wanted.map((one) => one[index] ?? '')))
}

/** Bounds that cut a range into `parts` parts of about as many rows; `share`: percent of the blocks to look at. */
export function cutSQL(side: VerifySide, range: VerifyRange, parts: number, share?: number): Statement {
  const statement = createStatement(side)
  const sample = share === undefined ? '' : ` TABLESAMPLE SYSTEM (${share})`
  const order = side.order ?? []
  const texts = order.map(({ text }, index) => `${text} AS k${index}`)
  const count = statement.value(String(parts))
  return statement.end(
    `SELECT * FROM (
       SELECT ${texts.join(', ')}, row_number() OVER (ORDER BY ${order.map(({ term }) => term).join(', ')}) - 1 AS i, count(*) OVER () AS n
       FROM ${side.from} AS t${sample}${statement.where(range)}
     ) AS s WHERE i > 0 AND i * ${count}::bigint / n <> (i - 1) * ${count}::bigint / n ORDER BY i`,
  )
}

/** A function takes at most 100 arguments. */
const AT_ONCE = 96

/** SQL of one text out of many, none of which is NULL. */
export function joined(texts: readonly string[]): string {
  const parts: string[] = []
  for (let start = 0; start < texts.length; start += AT_ONCE) {
    parts.push(`concat(${texts.slice(start, start + AT_ONCE).join(', ')})`)
  }
  return parts.length === 1 ? (parts[0] ?? '') : `(${parts.join(' || ')})`
}

/** Another one after every change of the row. */
const VERSION = `t.xmin || ' ' || t.ctid || ' ' || t.tableoid`

function keys({ key }: VerifySide): string {
  return key.map(({ text }, index) => `${text} AS k${index}`).join(', ')
}

/** Gathers the parameters of a statement. */
function createStatement({ order = [], where }: VerifySide) {
  const values: string[] = []
  const value = (text: string) => `$${values.push(text)}`
  const row = (items: readonly string[]) => (items.length === 1 ? items[0] : `(${items.join(', ')})`)
  const compare = (operator: string, bound: readonly string[]) =>
    `${row(order.map(({ term }) => term))} ${operator} ${row(order.map((term, index) => `(${value(bound[index] ?? '')}${term.bound})`))}`
  return {
    value,
    slice: (ranges: readonly VerifyRange[]) =>
      bisect(ranges.length, (index) => compare('<', ranges[index]?.from ?? [])),
    where({ from, to }: VerifyRange = {}, more = ''): string {
      const conditions = [
        ...(where === '' ? [] : [where]),
        ...(from ? [compare('>=', from)] : []),
        ...(to ? [compare('<', to)] : []),
        ...(more === '' ? [] : [more]),
      ]
      return conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
    },
    end: (text: string): Statement => ({ text, values }),
  }
}

function textArray(values: readonly string[]): string {
  return `{${values.map((value) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`
}
