import type { Connection, TextRow } from './connect.ts'
import { cutSQL, digestSQL, keysSQL, rowsSQL, type VerifyRange, type VerifySide } from './verify-sql.ts'

type Query = Connection['query']

export interface RangeDigest {
  readonly rows: number
  readonly checksum: string
}

/** A row as far as it is compared. */
export interface RowDigest {
  /** Texts in key order. */
  readonly key: readonly string[]
  readonly hash: string
  /** Another one after every change of the row on this side, even to the same values. */
  readonly version: string
}

export async function readDigest(query: Query, side: VerifySide, range: VerifyRange): Promise<RangeDigest> {
  const { text, values } = digestSQL(side, range)
  const [row] = await query(text, values)
  return { rows: Number(row?.rows), checksum: row?.checksum ?? '' }
}

export async function readRows(query: Query, side: VerifySide, range: VerifyRange): Promise<RowDigest[]> {
  const { text, values } = rowsSQL(side, range)
  return (await query(text, values)).map((row) => toRow(row, side))
}

export async function readByKeys(
  query: Query,
  side: VerifySide,
  keys: readonly (readonly string[])[],
): Promise<RowDigest[]> {
  if (keys.length === 0) return []
  const { text, values } = keysSQL(side, keys)
  return (await query(text, values)).map((row) => toRow(row, side))
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
  const bounds = (await query(text, values)).map((row) => keyOf(row, side))
  return [...bounds, range.to].map((to, index) => {
    const from = index === 0 ? range.from : bounds[index - 1]
    return { ...(from && { from }), ...(to && { to }) }
  })
}

function toRow(row: TextRow, side: VerifySide): RowDigest {
  return { key: keyOf(row, side), hash: row.h ?? '', version: row.v ?? '' }
}

function keyOf(row: TextRow, side: VerifySide): string[] {
  return side.key.map((_, index) => row[`k${index}`] ?? '')
}
