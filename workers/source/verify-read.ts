import type { Connection, TextRow } from './connect.ts'
import { sqlState } from './postgres-errors.ts'
import {
  castSQL,
  cutSQL,
  digestSQL,
  keysSQL,
  type ListLimit,
  rowsSQL,
  type Slices,
  type VerifyRange,
  type VerifySide,
} from './verify-sql.ts'

type Query = Connection['query']

/** Texts in key order. */
type Key = readonly string[]

export interface RangeDigest {
  readonly rows: number
  readonly checksum: string
}

/** A row as far as it is compared. */
export interface RowDigest {
  /** Texts in key order. */
  readonly key: readonly string[]
  /** Hash of the row; of one that was read by its key, where the side says so, its values as a JSON list. */
  readonly hash: string
  /** Another one after every change of the row on this side, even to the same values; not of rows that were listed. */
  readonly version: string
  /** Place of its slice among those that were asked for. */
  readonly slice: number
}

export interface Listing {
  readonly rows: readonly RowDigest[]
  /** False: there are more than the limit had room for. */
  readonly isWhole: boolean
}

/** The digest of each slice, in their order. */
export async function readDigests(query: Query, side: VerifySide, slices: Slices): Promise<RangeDigest[]> {
  const { text, values } = digestSQL(side, slices)
  return inOrder(
    slices,
    (await query(text, values)).map((row) => ({
      slice: Number(row.b),
      rows: Number(row.n),
      checksum: row.checksum ?? '',
    })),
  )
}

/** Puts digests in the order of their slices; a slice without one has no rows. */
export function inOrder(
  slices: Slices,
  found: readonly (RangeDigest & { readonly slice: number })[],
): RangeDigest[] {
  const count = 'ranges' in slices ? slices.ranges.length : slices.picked.length
  const place = placeIn(slices)
  const digests: RangeDigest[] = Array.from({ length: count }, () => ({ rows: 0, checksum: '' }))
  for (const { slice, rows, checksum } of found) if (rows > 0) digests[place(slice)] = { rows, checksum }
  return digests
}

/** The place of a slice among those that were asked for, by its number in SQL. */
function placeIn(slices: Slices): (slice: number) => number {
  if ('ranges' in slices || slices.picked.length === slices.scattered) return (slice) => slice
  const places = new Map(slices.picked.map((part, place) => [part, place]))
  return (slice) => places.get(slice) ?? 0
}

export async function readRows(
  query: Query,
  side: VerifySide,
  slices: Slices,
  limit: ListLimit,
): Promise<Listing> {
  const { text, values } = rowsSQL(side, slices, limit)
  return toListing(await query(text, values), side.key.length, slices, limit)
}

/** What a statement found that asks for one row more than the limit, and says of which on its bytes are used up. */
export function toListing(
  found: readonly TextRow[],
  keyColumns: number,
  slices: Slices,
  limit: ListLimit,
): Listing {
  const place = placeIn(slices)
  return {
    rows: found.slice(0, limit.rows).map((row) => ({
      key: Array.from({ length: keyColumns }, (_, index) => row[`k${index}`] ?? ''),
      hash: row.h ?? '',
      version: '',
      slice: place(Number(row.b)),
    })),
    isWhole: found.length <= limit.rows && found.every(({ cut }) => (cut ?? null) === null),
  }
}

/**
 * Rows by their keys. The other side's key may be of a wider type: of a key that this side's cannot hold, such as
 * 5000000000 of an integer, there is no row here.
 */
export async function readByKeys(query: Query, side: VerifySide, keys: readonly Key[]): Promise<RowDigest[]> {
  try {
    return await readHeld(query, side, keys)
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown
    const held = await keysHeld(query, side, keys)
    // Then it is not the keys that were refused.
    if (held.length === keys.length) throw thrown
    return await readHeld(query, side, held)
  }
}

/** What types say of text that is none of theirs: ltree calls it a syntax error, a domain a violation of its constraint. */
function isRefusal(thrown: unknown): boolean {
  return /^2[23]|^42601$/.test(sqlState(thrown) ?? '')
}

/** Those keys that the side's types can hold; found by halving, since mostly all of them can. */
async function keysHeld(query: Query, side: VerifySide, keys: readonly Key[]): Promise<readonly Key[]> {
  const { text, values } = castSQL(side, keys)
  try {
    await query(text, values)
    return keys
  } catch (thrown) {
    if (!isRefusal(thrown)) throw thrown
  }
  if (keys.length === 1) return []
  const middle = keys.length >> 1
  const held = await keysHeld(query, side, keys.slice(0, middle))
  return [...held, ...(await keysHeld(query, side, keys.slice(middle)))]
}

async function readHeld(query: Query, side: VerifySide, keys: readonly Key[]): Promise<RowDigest[]> {
  if (keys.length === 0) return []
  const { text, values } = keysSQL(side, keys)
  return (await query(text, values)).map((row) =>
    toRow(
      row,
      side,
      side.values ? JSON.stringify(side.values.map((_, index) => row[`x${index}`] ?? null)) : (row.h ?? ''),
    ),
  )
}

/** Ranges of about as many rows, the first and the last as open as the whole. */
export async function cutRange(
  query: Query,
  side: VerifySide,
  range: VerifyRange,
  parts: number,
  share?: number,
): Promise<VerifyRange[]> {
  const { text, values } = cutSQL(side, range, parts, share)
  const order = side.order ?? []
  const bounds = (await query(text, values)).map((row) => order.map((_, index) => row[`k${index}`] ?? ''))
  return [...bounds, range.to].map((to, index) => {
    const from = index === 0 ? range.from : bounds[index - 1]
    return { ...(from && { from }), ...(to && { to }) }
  })
}

function toRow(row: TextRow, side: VerifySide, hash: string): RowDigest {
  return {
    key: side.key.map((_, index) => row[`k${index}`] ?? ''),
    hash,
    version: row.v ?? '',
    slice: 0,
  }
}
