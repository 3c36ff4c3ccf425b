/**
 * Reads one line of JSON (arrays, strings, whole numbers and null) in which a string may be tens of megabytes, decoding
 * each string straight from its bytes: `JSON.parse` would need the whole line as text beside the values, which is twice or,
 * with characters beyond Latin-1, four times the memory.
 *
 * Escapes are resolved in place, so the buffer is worthless afterwards. Throws `SyntaxError`.
 */
export function parseLargeLine(bytes: Buffer): unknown {
  const cursor: Cursor = { bytes, at: 0 }
  const value = readValue(cursor)
  skipBlanks(cursor)
  if (cursor.at !== bytes.length) throw wrong(cursor)
  return value
}

interface Cursor {
  readonly bytes: Buffer
  at: number
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN = 0x5b
const CLOSE = 0x5d
const COMMA = 0x2c

function readValue(cursor: Cursor): unknown {
  skipBlanks(cursor)
  const first = cursor.bytes[cursor.at]
  if (first === QUOTE) return readString(cursor)
  if (first === OPEN) return readArray(cursor)
  const start = cursor.at
  while (cursor.at < cursor.bytes.length && !isEnd(cursor.bytes[cursor.at])) cursor.at += 1
  return JSON.parse(cursor.bytes.toString('latin1', start, cursor.at))
}

function readArray(cursor: Cursor): unknown[] {
  const items: unknown[] = []
  cursor.at += 1
  skipBlanks(cursor)
  if (cursor.bytes[cursor.at] === CLOSE) {
    cursor.at += 1
    return items
  }
  for (;;) {
    items.push(readValue(cursor))
    skipBlanks(cursor)
    const next = cursor.bytes[cursor.at]
    cursor.at += 1
    if (next === CLOSE) return items
    if (next !== COMMA) throw wrong(cursor)
  }
}

function readString(cursor: Cursor): string {
  const { bytes } = cursor
  const start = cursor.at + 1
  let quote = bytes.indexOf(QUOTE, start)
  if (quote < 0) throw wrong(cursor)
  // Everything between two escapes is moved as a whole over the hole that the escapes before have left.
  let read = start
  let write = start
  for (;;) {
    const found = bytes.subarray(read, quote).indexOf(BACKSLASH)
    if (found < 0) break
    write = move(bytes, read, read + found, write)
    const [length, after] = resolveEscape(bytes, read + found, write)
    write += length
    read = after
    if (quote < read) quote = bytes.indexOf(QUOTE, read)
    if (quote < 0) throw wrong(cursor)
  }
  write = move(bytes, read, quote, write)
  cursor.at = quote + 1
  return bytes.toString('utf8', start, write)
}

function move(bytes: Buffer, from: number, to: number, target: number): number {
  if (from !== target) bytes.copyWithin(target, from, to)
  return target + to - from
}

const LETTERS: Readonly<Record<string, number>> = {
  '"': 0x22,
  '\\': 0x5c,
  '/': 0x2f,
  b: 0x08,
  f: 0x0c,
  n: 0x0a,
  r: 0x0d,
  t: 0x09,
}

/** Writes what the escape at `at` stands for; returns how many bytes that are and where the text goes on. */
function resolveEscape(bytes: Buffer, at: number, target: number): [length: number, after: number] {
  const letter = String.fromCharCode(bytes[at + 1] ?? 0)
  const plain = LETTERS[letter]
  if (plain !== undefined) {
    bytes[target] = plain
    return [1, at + 2]
  }
  if (letter !== 'u') throw new SyntaxError('unknown escape')
  // A pair of surrogates makes one character; together they are escaped by 12 bytes and need at most 4.
  let after = at + 6
  let text = String.fromCharCode(unit(bytes, at + 2))
  const isHigh = text >= '\ud800' && text <= '\udbff'
  if (isHigh && bytes[after] === BACKSLASH && bytes[after + 1] === 0x75) {
    text += String.fromCharCode(unit(bytes, after + 2))
    after += 6
  }
  return [bytes.write(text, target, 'utf8'), after]
}

function unit(bytes: Buffer, at: number): number {
  const digits = bytes.toString('latin1', at, at + 4)
  if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw new SyntaxError('unknown escape')
  return Number.parseInt(digits, 16)
}

function skipBlanks(cursor: Cursor): void {
  while (cursor.bytes[cursor.at] === 0x20) cursor.at += 1
}

function isEnd(byte: number | undefined): boolean {
  return byte === COMMA || byte === CLOSE || byte === 0x20
}

function wrong(cursor: Cursor): SyntaxError {
  return new SyntaxError(`unexpected byte at ${cursor.at}`)
}
