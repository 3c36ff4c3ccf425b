import { MAX_MARK, UNFIT_BEGIN } from './marks.ts'

/**
 * What passes by in a stream of CSV: rows, and marks of values that did not fit, which are cut out. Works on bytes alone; a
 * line end inside of quotes is not the end of a row, and a quote is written twice where it does not begin or end a value, so
 * that being inside is a matter of odd and even.
 */
export interface RowScanner {
  /** Takes the next bytes and gives back what can go on. */
  push(bytes: Buffer): Scanned
  /** The bytes that were held back because a mark might have begun there. */
  end(): Scanned
  /** Rows so far, `end()` included. */
  rows(): number
  /** Values that did not fit, by the column's place in the definition. */
  readonly unfit: ReadonlyMap<number, number>
}

export interface Scanned {
  readonly bytes: Buffer
  /** Place behind the last end of a row in `bytes`; 0 when there is none. */
  readonly rowEnd: number
}

const QUOTE = 0x22
const NEWLINE = 0x0a
const BEGIN = Buffer.from(UNFIT_BEGIN)
const CLOSE = 0x3e
const NO_WORDS = new Int32Array(0)
const EMPTY: Scanned = { bytes: Buffer.alloc(0), rowEnd: 0 }

export function createRowScanner(): RowScanner {
  const unfit = new Map<number, number>()
  let held: Buffer = EMPTY.bytes
  let quoted = false
  let rows = 0
  let open = false

  // It sees every byte of a table: four at a time where none of them matters, which is most of the time.
  function scan(bytes: Buffer): Scanned {
    const { length, byteOffset } = bytes
    const begin = -byteOffset & 3
    const words =
      length - begin < 4 ? NO_WORDS : new Int32Array(bytes.buffer, byteOffset + begin, (length - begin) >> 2)
    let rowEnd = 0
    let inside = quoted
    let count = 0
    for (let at = 0; at < length; at += 1) {
      if (at >= begin && ((at - begin) & 3) === 0) {
        let word = (at - begin) >> 2
        while (word < words.length && !mayEndRow(words[word] as number)) word += 1
        at = begin + word * 4
        if (at >= length) break
      }
      const byte = bytes[at]
      if (byte === QUOTE) inside = !inside
      else if (byte === NEWLINE && !inside) {
        count += 1
        rowEnd = at + 1
      }
    }
    quoted = inside
    rows += count
    if (length > 0) open = rowEnd < length
    return { bytes, rowEnd }
  }

  /** Without the marks that are whole; what may be the begin of one at the end is held back. */
  function withoutMarks(bytes: Buffer): Buffer {
    let from = 0
    const parts: Buffer[] = []
    for (;;) {
      const at = bytes.indexOf(BEGIN, from)
      if (at < 0) break
      const close = bytes.indexOf(CLOSE, at + BEGIN.length)
      if (close < 0) break
      const column = Number(bytes.toString('latin1', at + BEGIN.length, close))
      unfit.set(column, (unfit.get(column) ?? 0) + 1)
      parts.push(bytes.subarray(from, at))
      from = close + 1
    }
    const keep = beginOfMark(bytes, from)
    held = keep === bytes.length ? EMPTY.bytes : Buffer.from(bytes.subarray(keep))
    const rest = bytes.subarray(from, keep)
    return parts.length === 0 ? rest : Buffer.concat([...parts, rest])
  }

  return {
    push(bytes) {
      return scan(withoutMarks(held.length === 0 ? bytes : Buffer.concat([held, bytes])))
    },
    end() {
      const rest = held
      held = EMPTY.bytes
      const scanned = scan(rest)
      // A last line without its end is a row all the same.
      if (open) rows += 1
      open = false
      return { bytes: scanned.bytes, rowEnd: scanned.bytes.length }
    },
    rows: () => rows,
    unfit,
  }
}

/** Whether one of a word's four bytes is a quote or a line end: x - 1 & ~x has the high bit of a byte set where x is zero. */
function mayEndRow(word: number): boolean {
  const quote = word ^ 0x22222222
  const newline = word ^ 0x0a0a0a0a
  return ((((quote - 0x01010101) & ~quote) | ((newline - 0x01010101) & ~newline)) & 0x80808080) !== 0
}

/** Where at the end of `bytes`, not before `from`, a mark begins that is not whole; the length of `bytes` if none does. */
function beginOfMark(bytes: Buffer, from: number): number {
  const first = Math.max(from, bytes.length - MAX_MARK)
  const at = bytes.lastIndexOf(BEGIN[0] as number)
  if (at < first) return bytes.length
  const tail = bytes.subarray(at)
  const length = Math.min(tail.length, BEGIN.length)
  return tail.compare(BEGIN, 0, length, 0, length) === 0 && !tail.includes(CLOSE) ? at : bytes.length
}
