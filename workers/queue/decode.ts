import { MillraceError } from '../../lib/errors.ts'
import { type LSN, parseLSN } from '../source/lsn.ts'
import type { ControlLine, Header, RowLine, TransactionLine } from './format.ts'
import { parseLargeLine } from './large-line.ts'

/** One line of a run, typed. */
export type RunEntry =
  /** Columns, epoch and incarnation of all that follows. */
  | { readonly kind: 'header'; readonly header: Header }
  /** Transaction of the rows that follow; `at` is its commit time in milliseconds since 1970. */
  | { readonly kind: 'transaction'; readonly lsn: LSN; readonly xid: number; readonly at: number }
  /** `bytes`: length of the line. */
  | { readonly kind: 'row'; readonly line: RowLine; readonly bytes: number }
  | { readonly kind: 'control'; readonly line: ControlLine; readonly lsn: LSN; readonly at: number }

const NEWLINE = 0x0a
const ROW = 0x5b

/** Lines from this size on are read without an intermediate copy as text, bytes. */
const LARGE_LINE = 1_000_000

/**
 * Reads the lines of a run, one at a time. Throws `Internal` for what is no run of this version, without quoting it.
 *
 * @param value the whole run; bytes of large lines are overwritten, so a run can be read only once
 * @param where topic and offset, for messages
 */
export function* readRun(value: Buffer, where: string): Generator<RunEntry, void, void> {
  let number = 0
  for (let start = 0; start < value.length; ) {
    const newline = value.indexOf(NEWLINE, start)
    const end = newline < 0 ? value.length : newline
    number += 1
    const entry = readLine(value, start, end, `${where}, line ${number}`)
    if (number === 1 && entry.kind !== 'header') throw unreadable(`${where}: the run has no header`)
    yield entry
    start = end + 1
  }
}

/** Reads one line, without its newline. Throws as `readRun` does. */
export function readLine(value: Buffer, start: number, end: number, where: string): RunEntry {
  const parsed = parse(value, start, end, where)
  if (value[start] === ROW) return { kind: 'row', line: parsed as RowLine, bytes: end - start + 1 }
  const line = parsed as Partial<Header> & Partial<TransactionLine> & Partial<ControlLine>
  if (line.control !== undefined) {
    const { tx = '', at = '' } = line
    return { kind: 'control', line: line as ControlLine, lsn: parseLSN(tx), at: Date.parse(at) }
  }
  if (line.tx !== undefined) {
    const { tx, xid = 0, at = '' } = line
    return { kind: 'transaction', lsn: parseLSN(tx), xid, at: Date.parse(at) }
  }
  if (line.v === 1) return { kind: 'header', header: line as Header }
  throw unreadable(
    `${where}: format ${JSON.stringify(line.v ?? null)} is not known to this version of Millrace: it was written by a later one, which must read it too`,
  )
}

function parse(value: Buffer, start: number, end: number, where: string): unknown {
  try {
    if (end - start >= LARGE_LINE && value[start] === ROW) return parseLargeLine(value.subarray(start, end))
    return JSON.parse(value.toString('utf8', start, end))
  } catch {
    // The parser's own message would quote the line, which holds data.
    throw unreadable(`${where}: not a line of a run (${end - start} bytes)`)
  }
}

function unreadable(message: string): MillraceError {
  return new MillraceError('Internal', `queue: ${message}`)
}
