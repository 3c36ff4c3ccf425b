import { NULL_TEXT, UNFIT_BEGIN } from './marks.ts'
import { createRowFields, type RowFields, type ScannedColumn } from './row-fields.ts'

/**
 * What passes by in a stream of CSV: whole rows, nearly always as they came. Only a row in which something may not fit is taken
 * apart: one with a mark of the source, with the text of a mark or of NULL in a value, or longer than what fits in any case.
 *
 * Works on bytes alone; a line end inside of quotes is not the end of a row, and a quote is written twice where it does not begin
 * or end a value, so that being inside is a matter of odd and even.
 */
export interface RowScanner {
  /** Takes the next bytes and gives back whole rows. Throws what the columns' `convert` does. */
  push(bytes: Buffer): Buffer[]
  /** What is left: a last row without its end. */
  end(): Buffer[]
  /** Rows so far, `end()` included. */
  rows(): number
  /** Values that did not fit, by the column's place in the definition. */
  readonly unfit: ReadonlyMap<number, number>
}

const QUOTE = 0x22
const NEWLINE = 0x0a
const NO_WORDS = new Int32Array(0)
const MARK = Buffer.from(UNFIT_BEGIN)
/** A value that is the text of NULL, or ends with it: a NULL itself is without quotes. */
const QUOTED_NULL = Buffer.from(`${NULL_TEXT}"`)

export function createRowScanner(columns: readonly ScannedColumn[]): RowScanner {
  const unfit = new Map<number, number>()
  const needles = [MARK, QUOTED_NULL, ...columns.flatMap(({ needle }) => (needle ? [needle] : []))]
  const longest = Math.min(...columns.map(({ bytes }) => bytes), Number.POSITIVE_INFINITY)
  // The begin of a row whose end has not come yet.
  let held: Buffer[] = []
  let heldBytes = 0
  // The same row when it has become too long to be held.
  let long: RowFields | undefined
  let inside = false
  let rows = 0

  const onUnfit = (column: number) => {
    unfit.set(column, (unfit.get(column) ?? 0) + 1)
  }

  // It sees every byte of a table: four at a time where none of them is a line end, which is most of the time.
  function scan(bytes: Buffer) {
    const { length, byteOffset } = bytes
    const begin = -byteOffset & 3
    const words =
      length - begin < 4 ? NO_WORDS : new Int32Array(bytes.buffer, byteOffset + begin, (length - begin) >> 2)
    let quoted = inside
    let count = 0
    let firstEnd = 0
    let lastEnd = 0
    let most = 0
    for (let at = 0; at < length; at += 1) {
      if (at >= begin && ((at - begin) & 3) === 0) {
        let word = (at - begin) >> 2
        for (; word < words.length; word += 1) {
          const four = words[word] as number
          if (mayHoldNewline(four)) break
          if (hasOddQuotes(four)) quoted = !quoted
        }
        at = begin + word * 4
        if (at >= length) break
      }
      const byte = bytes[at]
      if (byte === QUOTE) quoted = !quoted
      else if (byte === NEWLINE && !quoted) {
        count += 1
        if (count === 1) firstEnd = at + 1
        else if (at + 1 - lastEnd > most) most = at + 1 - lastEnd
        lastEnd = at + 1
      }
    }
    inside = quoted
    return { count, firstEnd, lastEnd, most }
  }

  const suspicious = (bytes: Buffer) => needles.some((needle) => bytes.includes(needle))

  function takeApart(row: Buffer): Buffer {
    const fields = createRowFields(columns, onUnfit)
    fields.feed(row)
    return fields.finish()
  }

  /** Whole rows, of which the longest has so many bytes. */
  function check(bytes: Buffer, most: number): Buffer[] {
    if (most <= longest && !suspicious(bytes)) return [bytes]
    const out: Buffer[] = []
    let from = 0
    for (const end of rowEnds(bytes)) {
      const row = bytes.subarray(from, end)
      out.push(row.length > longest || suspicious(row) ? takeApart(row) : row)
      from = end
    }
    return out
  }

  function hold(bytes: Buffer): void {
    if (bytes.length === 0) return
    if (long) {
      long.feed(bytes)
      return
    }
    held.push(bytes)
    heldBytes += bytes.length
    if (heldBytes <= longest) return
    long = createRowFields(columns, onUnfit)
    for (const each of held) long.feed(each)
    held = []
    heldBytes = 0
  }

  /** The row that is held, with its last bytes. */
  function release(last: Buffer): Buffer[] {
    hold(last)
    const row = long
      ? [long.finish()]
      : heldBytes === 0
        ? []
        : check(Buffer.concat(held, heldBytes), heldBytes)
    held = []
    heldBytes = 0
    long = undefined
    return row
  }

  return {
    push(bytes) {
      const { count, firstEnd, lastEnd, most } = scan(bytes)
      rows += count
      if (count === 0) {
        hold(bytes)
        return []
      }
      const open = heldBytes > 0 || long !== undefined
      const first = open ? release(bytes.subarray(0, firstEnd)) : []
      const from = open ? firstEnd : 0
      const rest = from < lastEnd ? check(bytes.subarray(from, lastEnd), Math.max(most, firstEnd - from)) : []
      hold(bytes.subarray(lastEnd))
      return first.length === 0 ? rest : [...first, ...rest]
    },
    end() {
      // A last line without its end is a row all the same.
      if (heldBytes > 0 || long) rows += 1
      inside = false
      return release(EMPTY)
    },
    rows: () => rows,
    unfit,
  }
}

const EMPTY = Buffer.alloc(0)

/** Places behind the ends of whole rows. */
function rowEnds(bytes: Buffer): number[] {
  const ends: number[] = []
  let quoted = false
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]
    if (byte === QUOTE) quoted = !quoted
    else if (byte === NEWLINE && !quoted) ends.push(at + 1)
  }
  if (ends.at(-1) !== bytes.length) ends.push(bytes.length)
  return ends
}

/** Whether one of a word's four bytes is a line end: x - 1 & ~x has the high bit of a byte set where x is zero. */
function mayHoldNewline(word: number): boolean {
  const newline = word ^ 0x0a0a0a0a
  return ((newline - 0x01010101) & ~newline & 0x80808080) !== 0
}

/** Whether an odd number of a word's four bytes are quotes; exact, unlike the above: no byte borrows from the next. */
function hasOddQuotes(word: number): boolean {
  const quote = word ^ 0x22222222
  const found = ~(((quote & 0x7f7f7f7f) + 0x7f7f7f7f) | quote | 0x7f7f7f7f)
  if (found === 0) return false
  const half = found ^ (found >>> 16)
  return ((half ^ (half >>> 8)) & 0x80) !== 0
}
