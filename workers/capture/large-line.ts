import { attachBytes, type ByteSink, writeBytes } from './lines.ts'
import { malformed } from './pgoutput.ts'
import { beginLine, endLine, NULL_TEXT, type RowShape } from './rows.ts'

/** A value of a row that came piece by piece: its encoded bytes, or what stands for it. */
export type LargeValue = readonly Buffer[] | 'null' | 'unchanged'

export interface LargeRow {
  readonly type: 'I' | 'U' | 'D'
  readonly old: readonly (LargeValue | undefined)[] | undefined
  readonly new: readonly (LargeValue | undefined)[] | undefined
}

/** As `writeRow`, for a row that came piece by piece. */
export function writeLargeRow(sink: ByteSink, shape: RowShape, sequence: number, row: LargeRow): void {
  const { keyColumns } = shape
  beginLine(sink, row.type.charCodeAt(0), sequence)
  const all = [...shape.included.keys()].filter((column) => shape.included[column] === 1)
  const identity = keyColumns.length > 0 ? keyColumns : all
  if (row.new) {
    const merged = row.new.map((value, column) => {
      const before = row.old?.[column]
      return value === 'unchanged' && Array.isArray(before) ? before : value
    })
    writeLargeValues(
      sink,
      all.map((column) => merged[column]),
    )
    if (row.old && (keyColumns.length === 0 || keyColumns.some((column) => differ(row, column)))) {
      writeBytes(sink, Buffer.from(','))
      writeLargeValues(
        sink,
        identity.map((column) => row.old?.[column]),
      )
    }
  } else {
    writeLargeValues(
      sink,
      identity.map((column) => row.old?.[column]),
    )
  }
  endLine(sink)
}

function writeLargeValues(sink: ByteSink, values: readonly (LargeValue | undefined)[]): void {
  let separator = '['
  for (const value of values) {
    writeBytes(sink, Buffer.from(separator))
    separator = ','
    if (value === undefined) throw malformed('a row without one of its columns')
    if (value === 'null') writeBytes(sink, NULL_TEXT)
    else if (value === 'unchanged') writeBytes(sink, Buffer.from('0'))
    else writeLargeText(sink, value)
  }
  writeBytes(sink, Buffer.from(values.length === 0 ? '[]' : ']'))
}

function writeLargeText(sink: ByteSink, pieces: readonly Buffer[]): void {
  writeBytes(sink, Buffer.from('"'))
  for (const piece of pieces) attachBytes(sink, piece)
  writeBytes(sink, Buffer.from('"'))
}

function differ(row: LargeRow, column: number): boolean {
  const after = row.new?.[column]
  const before = row.old?.[column]
  if (after === 'unchanged' || before === undefined || after === undefined) return false
  if (!Array.isArray(after) || !Array.isArray(before)) return after !== before
  return Buffer.compare(Buffer.concat(after), Buffer.concat(before)) !== 0
}
