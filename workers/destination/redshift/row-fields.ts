import { csvField } from './csv.ts'
import { DOUBT_MARK, MARK_BEGIN, NULL_TEXT, UNFIT_BEGIN } from './marks.ts'

/** What has to be known of a column to take rows of a scan apart. */
export interface ScannedColumn {
  /** `converted`: the source has made what is loaded, after a mark where the value did not fit. */
  readonly kind: 'plain' | 'converted'
  /** The column stands for its row: a mark says that something in the row may not fit. */
  readonly carrier: boolean
  /** A field of at most so many bytes fits unless the source doubts it, or a needle is in it. */
  readonly bytes: number
  /** Most bytes of a longer field that have to be kept. */
  readonly keep: number
  readonly needle: Buffer | undefined
  /** As `columns.ts` has it; calls `unfit` for a value that does not fit. */
  readonly convert: (text: string, unfit: () => void) => string | null
}

/** One row, taken apart as its bytes come. */
export interface RowFields {
  feed(bytes: Buffer): void
  /** The row as it is loaded; throws what the columns' `convert` does. */
  finish(): Buffer
}

const QUOTE = 0x22
const COMMA = 0x2c
const NEWLINE = 0x0a
const NULL = Buffer.from(NULL_TEXT)
const BEGIN = Buffer.from(UNFIT_BEGIN)
const CLOSE = 0x3e

/**
 * Takes apart one row of CSV, which ends with the last byte that it is given, and converts what has to be. Of a field that is
 * longer than anything that fits no more is kept than decides about it, so that memory is bounded whatever the row holds.
 */
export function createRowFields(
  columns: readonly ScannedColumn[],
  onUnfit: (column: number) => void,
): RowFields {
  const out: Buffer[] = []
  let index = 0
  let inside = false
  let parts: Buffer[] = []
  let kept = 0

  function keep(bytes: Buffer): void {
    const room = (columns[index]?.keep ?? Number.POSITIVE_INFINITY) - kept
    if (bytes.length === 0 || room <= 0) return
    const some = bytes.length <= room ? bytes : bytes.subarray(0, room)
    parts.push(some)
    kept += some.length
  }

  function endField(): void {
    const field = parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts, kept)
    const column = columns[index]
    const unfit = () => onUnfit(index)
    if (column) out.push(column.kind === 'plain' ? plain(column, field, unfit) : converted(field, unfit))
    parts = []
    kept = 0
    index += 1
  }

  return {
    feed(bytes) {
      let from = 0
      for (let at = 0; at < bytes.length; at += 1) {
        if (inside) {
          at = bytes.indexOf(QUOTE, at)
          if (at < 0) break
          inside = false
          continue
        }
        const byte = bytes[at]
        if (byte === QUOTE) inside = true
        else if (byte === COMMA || byte === NEWLINE) {
          keep(bytes.subarray(from, at))
          endField()
          out.push(bytes.subarray(at, at + 1))
          from = at + 1
        }
      }
      keep(bytes.subarray(from))
    },
    finish() {
      if (index < columns.length) endField()
      return Buffer.concat(out)
    },
  }
}

function plain(column: ScannedColumn, field: Buffer, unfit: () => void): Buffer {
  const marked = column.carrier && markLength(field) > 0
  const certain = field.length <= column.bytes && !(column.needle && field.includes(column.needle))
  if (!marked && field.equals(NULL)) return field
  if (!marked && certain && column.bytes < Number.POSITIVE_INFINITY && !field.includes(MARK_BEGIN))
    return field
  const sent = decode(field)
  const text = marked ? carried(sent) : sent
  if (text === null) return NULL
  const loaded = column.convert(text, unfit)
  return loaded === text && !marked ? field : Buffer.from(csvField(loaded))
}

/** Without the mark in front, which is counted. */
function converted(field: Buffer, unfit: () => void): Buffer {
  const length = markLength(field)
  if (length === 0) return field
  unfit()
  if (field[0] !== QUOTE) return field.subarray(length)
  return Buffer.concat([field.subarray(0, 1), field.subarray(1 + length)])
}

/** Bytes of the mark that a field begins with, its quote left out; 0: none. */
function markLength(field: Buffer): number {
  const from = field[0] === QUOTE ? 1 : 0
  if (!field.subarray(from, from + BEGIN.length).equals(BEGIN)) return 0
  return field.indexOf(CLOSE, from) + 1 - from
}

function carried(text: string): string | null {
  const rest = text.slice(DOUBT_MARK.length)
  return rest === '' ? null : rest.slice(1)
}

/** The text of a field, of which the end may be missing. */
function decode(field: Buffer): string {
  const text = field.toString()
  if (field[0] !== QUOTE) return text
  const closed = field.length > 1 && field[field.length - 1] === QUOTE
  return text.slice(1, closed ? -1 : undefined).replaceAll('""', '"')
}
