import type { CopyOptions } from './options.ts'

// Text is handled as "binary strings", one character a byte: that is what lengths are counted in, and it is fast.

/** Bytes of one row beyond which COPY fails. */
export const MAX_ROW_BYTES = 4 * 1024 * 1024

/** A row of a file, or why it is none. */
export interface Row {
  /** Line it begins at, from 1. */
  readonly line: number
  readonly raw: string
  readonly fields: readonly string[]
  readonly error?: { readonly code: number; readonly reason: string; readonly position: number }
}

export interface RowParser {
  /** Takes the next part of a file; returns the rows that are complete with it. */
  push(text: string): Row[]
  /** The file ends. */
  end(): Row[]
}

type Format = Pick<CopyOptions, 'format' | 'delimiter' | 'quote' | 'escape'>

/** One attempt at a row: where it ends, or `undefined` when the text ends before it does. */
interface Attempt {
  readonly row: Row
  /** Index behind its line end. */
  readonly next: number
  readonly lines: number
}

export function createRowParser(format: Format): RowParser {
  let rest = ''
  let line = 1
  const attempt = format.format === 'csv' ? csvRow : textRow
  const take = (text: string, last: boolean): Row[] => {
    const rows: Row[] = []
    let at = 0
    while (at < text.length) {
      const found = attempt(text, at, line, format, last)
      if (!found) break
      rows.push(found.row)
      at = found.next
      line += found.lines
    }
    rest = text.slice(at)
    if (rest.length > MAX_ROW_BYTES) {
      rows.push(tooLarge(line, rest))
      rest = ''
    }
    return rows
  }
  return {
    push: (text) => take(rest + text, false),
    end: () => take(rest, true),
  }
}

const tooLarge = (line: number, raw: string): Row => ({
  line,
  raw,
  fields: [],
  error: { code: 1216, reason: `Input row is larger than ${MAX_ROW_BYTES} bytes`, position: 0 },
})

function rowOf(line: number, raw: string, fields: readonly string[]): Row {
  if (raw.length > MAX_ROW_BYTES) return tooLarge(line, raw)
  const nul = raw.indexOf('\0')
  if (nul >= 0) {
    const reason = 'Missing newline: Unexpected character 0x0 found at location'
    return { line, raw, fields, error: { code: 1216, reason: `${reason} ${nul}`, position: nul } }
  }
  return { line, raw, fields }
}

function csvRow(
  text: string,
  start: number,
  line: number,
  format: Format,
  last: boolean,
): Attempt | undefined {
  const newline = text.indexOf('\n', start)
  if (newline < 0 && !last) return undefined
  const end = newline < 0 ? text.length : newline
  const raw = text.slice(start, end)
  if (raw.includes(format.quote)) return quotedRow(text, start, line, format, last)
  const row = raw.endsWith('\r') ? raw.slice(0, -1) : raw
  const next = newline < 0 ? end : newline + 1
  const stray = row.indexOf('\r')
  if (stray >= 0) return { row: strayReturn(line, row, stray), next, lines: 1 }
  return { row: rowOf(line, row, row.split(format.delimiter)), next, lines: 1 }
}

function strayReturn(line: number, raw: string, at: number): Row {
  const code = raw.charCodeAt(at + 1).toString(16)
  const reason = `Missing newline: Unexpected character 0x${code} found at location ${at + 1}`
  return { line, raw, fields: [], error: { code: 1216, reason, position: at + 1 } }
}

const BLANK = /[ \t\v\f]*/y

function skipBlanks(text: string, at: number, delimiter: string): number {
  if (delimiter === '\t') {
    let next = at
    while (text[next] === ' ') next++
    return next
  }
  BLANK.lastIndex = at
  return at + (BLANK.exec(text)?.[0].length ?? 0)
}

/** A row that holds quotes, and with them perhaps delimiters and line ends. */
function quotedRow(
  text: string,
  start: number,
  line: number,
  format: Format,
  last: boolean,
): Attempt | undefined {
  const { delimiter, quote } = format
  const fields: string[] = []
  let at = start
  const fail = (position: number): Attempt | undefined => {
    // Goes on behind the next line end.
    const newline = text.indexOf('\n', position)
    if (newline < 0 && !last) return undefined
    const next = newline < 0 ? text.length : newline + 1
    const raw = text.slice(start, newline < 0 ? next : newline)
    const error = { code: 1214, reason: 'Invalid quote formatting for CSV', position: position - start }
    return { row: { line, raw, fields: [], error }, next, lines: countLines(text, start, next) }
  }
  for (;;) {
    const afterBlanks = skipBlanks(text, at, delimiter)
    if (text[afterBlanks] === quote) {
      const closed = closeQuote(text, afterBlanks + 1, quote)
      if (!closed) return last ? fail(text.length) : undefined
      fields.push(closed.value)
      at = skipBlanks(text, closed.next, delimiter)
    } else {
      const stop = endOfPlain(text, at, delimiter)
      const value = text.slice(at, stop)
      if (value.includes(quote)) return fail(stop)
      fields.push(value)
      at = stop
    }
    if (text[at] === delimiter) {
      at++
      continue
    }
    if (text[at] === '\r' && text[at + 1] === '\n') at++
    if (text[at] === '\n') break
    if (at >= text.length && last) break
    if (at >= text.length) return undefined
    return fail(at)
  }
  const next = Math.min(at + 1, text.length)
  const raw = text.slice(start, at)
  return { row: rowOf(line, raw, fields), next, lines: countLines(text, start, next) }
}

function closeQuote(text: string, start: number, quote: string): { value: string; next: number } | undefined {
  let value = ''
  let at = start
  for (;;) {
    const end = text.indexOf(quote, at)
    // The character behind decides whether it closes, so it must be there.
    if (end < 0) return undefined
    value += text.slice(at, end)
    if (text[end + 1] !== quote) return { value, next: end + 1 }
    value += quote
    at = end + 2
  }
}

function endOfPlain(text: string, start: number, delimiter: string): number {
  let at = start
  while (at < text.length && text[at] !== delimiter && text[at] !== '\n' && text[at] !== '\r') at++
  return at
}

function countLines(text: string, start: number, end: number): number {
  let lines = 0
  for (let at = text.indexOf('\n', start); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) lines++
  return Math.max(lines, 1)
}

/** The format without quotes. With ESCAPE, a backslash takes the meaning from the character behind it. */
function textRow(
  text: string,
  start: number,
  line: number,
  format: Format,
  last: boolean,
): Attempt | undefined {
  let end = text.indexOf('\n', start)
  while (format.escape && end >= 0 && isEscaped(text, start, end)) end = text.indexOf('\n', end + 1)
  if (end < 0 && !last) return undefined
  const stop = end < 0 ? text.length : end
  const raw = text.slice(start, stop)
  const row =
    raw.endsWith('\r') && !(format.escape && isEscaped(text, start, stop - 1)) ? raw.slice(0, -1) : raw
  const fields = format.escape ? splitEscaped(row, format.delimiter) : row.split(format.delimiter)
  const next = end < 0 ? stop : stop + 1
  return { row: rowOf(line, row, fields), next, lines: countLines(text, start, next) }
}

function isEscaped(text: string, start: number, at: number): boolean {
  let slashes = 0
  while (at - 1 - slashes >= start && text[at - 1 - slashes] === '\\') slashes++
  return slashes % 2 === 1
}

function splitEscaped(row: string, delimiter: string): string[] {
  const fields: string[] = []
  let value = ''
  for (let at = 0; at < row.length; at++) {
    const character = row[at] as string
    if (character === delimiter) {
      fields.push(value)
      value = ''
    } else if (character === '\\' && row[at + 1] !== 'N') {
      at++
      value += row[at] ?? ''
    } else value += character
  }
  fields.push(value)
  return fields
}
