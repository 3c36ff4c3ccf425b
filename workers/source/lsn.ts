import { MillraceError } from '../../lib/errors.ts'

/** A log sequence number: a byte position in PostgreSQL's write-ahead log. Compared as a number, never as text. */
export type LSN = bigint

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/

/** Reads PostgreSQL's text form, such as `16/B374D848`. Throws `Internal` when it is not one. */
export function parseLSN(text: string): LSN {
  const match = LSN_TEXT.exec(text)
  if (!match) throw new MillraceError('Internal', `not a log sequence number: ${JSON.stringify(text)}`)
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`)
}

/** PostgreSQL's text form of a position. */
export function formatLSN(lsn: LSN): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`
}
