import {
  bisect,
  type ListLimit,
  partOf,
  pickedParts,
  type Slices,
  type VerifyRange,
  wholeOf,
} from '../../source/verify-sql.ts'
import { inGroups } from './byte-groups.ts'

/** A table of Redshift as the other side of a comparison. Every expression names its columns as those of `t`. */
export interface WarehouseSide {
  /** Quoted. */
  readonly table: string
  /** Rows that count; empty = all. */
  readonly where: string
  /** MD5 of a row. */
  readonly hash: string
  /** What ranges are cut by: columns, and how a bound is written. */
  readonly order: readonly { readonly term: string; literal(bound: string): string }[] | undefined
  /** See `VerifySide.scatter`. */
  readonly scatter: string
  readonly key: readonly WarehouseKey[]
  /** What is compared of a row that is fetched by its key. */
  readonly values: readonly string[]
}

export interface WarehouseKey {
  readonly text: string
  /** What is equal to `literal(text)`. */
  readonly place: string
  literal(text: string): string
}

/** A number out of eight hexadecimal digits, the first or the second of a hash. */
export function hashNumber(hash: string, place: 0 | 1): string {
  return `STRTOL(SUBSTRING(${hash}, ${place * 8 + 1}, 8), 16)`
}

/** Rows `n` of each slice `b` that has any, and two sums of their hashes. */
export function digestStatement(side: WarehouseSide, slices: Slices): string {
  const { slice, where } = sliced(side, slices)
  return `SELECT b, COUNT(*) AS n, SUM(${hashNumber('h', 0)}) AS s, SUM(${hashNumber('h', 1)}) AS s2 FROM (SELECT ${slice} AS b, ${side.hash} AS h FROM ${side.table} AS t${where}) AS r GROUP BY b`
}

/** Key, hash and slice of each row, one more than `limit` has at most; `cut`, not NULL, where its bytes are used up. */
export function rowsStatement(side: WarehouseSide, slices: Slices, limit: ListLimit): string {
  const { slice, where } = sliced(side, slices)
  const names = side.key.map((_, index) => `r.k${index}`)
  const size = names.map((name) => `OCTET_LENGTH(${name})`).join(' + ')
  // Redshift knows no frame without an order.
  const total = `SUM(${size}) OVER (ORDER BY ${names.join(', ')} ROWS UNBOUNDED PRECEDING)`
  const listed = `SELECT ${keys(side)}, ${side.hash} AS h, ${slice} AS b FROM ${side.table} AS t${where}`
  return `SELECT *, CASE WHEN total >= ${limit.keyBytes} THEN 1 END AS cut FROM (SELECT ${names.join(', ')}, r.h, r.b, ${total} AS total, ${size} AS own FROM (${listed}) AS r) AS s WHERE total - own < ${limit.keyBytes} LIMIT ${limit.rows + 1}`
}

/** SQL of the slice that a row is in, and of the condition that it is in one of them. */
function sliced(side: WarehouseSide, slices: Slices): { slice: string; where: string } {
  return 'scattered' in slices
    ? { slice: partOf(side, slices), where: whereClause(side, slices.within, pickedParts(side, slices)) }
    : { slice: sliceOf(side, slices.ranges), where: whereClause(side, wholeOf(slices.ranges)) }
}

/** Key and values of rows, of each key two at most; as many statements as their texts need. */
export function keysStatements(
  side: WarehouseSide,
  wanted: readonly (readonly string[])[],
  room: number,
): string[] {
  const what = side.values.map((value, index) => `${value} AS x${index}`).join(', ')
  const places = side.key.map(({ place }) => place).join(', ')
  const statement = (some: readonly string[]) => {
    const [first] = side.key
    const found =
      side.key.length === 1 && first ? `${first.place} IN (${some.join(', ')})` : `(${some.join(' OR ')})`
    const times = `ROW_NUMBER() OVER (PARTITION BY ${places} ORDER BY ${places}) AS n`
    return `SELECT * FROM (SELECT ${keys(side)}, ${what}, ${times} FROM ${side.table} AS t${whereClause(side, {}, found)}) AS r WHERE n <= 2`
  }
  const empty = Buffer.byteLength(statement([]))
  const texts = wanted.map((key) => {
    const one = side.key.map(({ place, literal }, index) => {
      const value = literal(key[index] ?? '')
      return side.key.length === 1 ? value : `${place} = ${value}`
    })
    return side.key.length === 1 ? (one[0] ?? '') : `(${one.join(' AND ')})`
  })
  return inGroups(texts, (text) => Buffer.byteLength(text) + 4, room - empty).map(statement)
}

function keys({ key }: WarehouseSide): string {
  return key.map(({ text }, index) => `${text} AS k${index}`).join(', ')
}

function sliceOf(side: WarehouseSide, ranges: readonly VerifyRange[]): string {
  return bisect(ranges.length, (range) => compare(side, '<', ranges[range]?.from ?? []))
}

function whereClause(side: WarehouseSide, { from, to }: VerifyRange = {}, more = ''): string {
  const conditions = [
    ...(side.where === '' ? [] : [side.where]),
    ...(from ? [`NOT (${compare(side, '<', from)})`] : []),
    ...(to ? [`(${compare(side, '<', to)})`] : []),
    // Once more by the first column alone, which is what finds blocks of a sorted table.
    ...(from && side.order ? [`${side.order[0]?.term} >= ${side.order[0]?.literal(from[0] ?? '')}`] : []),
    ...(to && side.order ? [`${side.order[0]?.term} <= ${side.order[0]?.literal(to[0] ?? '')}`] : []),
    ...(more === '' ? [] : [more]),
  ]
  return conditions.length === 0 ? '' : ` WHERE ${conditions.join(' AND ')}`
}

// Column by column: Redshift descends from a PostgreSQL that compared rows in another way than the standard has it.
function compare({ order = [] }: WarehouseSide, operator: '<', bound: readonly string[]): string {
  const [last, ...before] = order
    .map(({ term, literal }, index) => ({ term, value: literal(bound[index] ?? '') }))
    .reverse()
  if (!last) return 'FALSE'
  return before.reduce(
    (rest, { term, value }) => `${term} ${operator} ${value} OR (${term} = ${value} AND (${rest}))`,
    `${last.term} ${operator} ${last.value}`,
  )
}
