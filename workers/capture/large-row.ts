import type { LargeRow, LargeValue } from './large-line.ts'
import { createSink, takeBytes, writeEscaped } from './lines.ts'
import { malformed } from './pgoutput.ts'
import type { RowShape } from './rows.ts'

/**
 * Reads a row of any size as its bytes arrive, holding nothing but the encoded values: a 30 MB row costs 30 MB, not a
 * multiple of that.
 */
export interface LargeRowReader {
  /** Takes the next bytes of the pgoutput message. */
  feed(buffer: Buffer, start: number, end: number): void
  /** The row; throws when bytes are missing. */
  finish(): LargeRow
}

interface Input {
  buffer: Buffer
  position: number
  end: number
}

const TYPES: Readonly<Record<number, LargeRow['type']>> = { 73: 'I', 85: 'U', 68: 'D' }
const NEW = 0x4e
const NULL = 0x6e
const UNCHANGED = 0x75
const TEXT = 0x74

/** @param shapeOf finds the table by the oid that the message names */
export function createLargeRowReader(shapeOf: (oid: number) => RowShape): LargeRowReader {
  const input: Input = { buffer: Buffer.alloc(0), position: 0, end: 0 }
  const reading = readRow(input, shapeOf)
  let row: LargeRow | undefined
  return {
    feed(buffer, start, end) {
      input.buffer = buffer
      input.position = start
      input.end = end
      if (row) throw malformed('a row longer than its columns')
      const step = reading.next()
      if (!step.done) return
      row = step.value
      if (input.position !== input.end) throw malformed('a row longer than its columns')
    },
    finish() {
      if (!row) throw malformed('a row shorter than its columns')
      return row
    },
  }
}

function* readRow(input: Input, shapeOf: (oid: number) => RowShape): Generator<void, LargeRow, void> {
  const type = TYPES[yield* readNumber(input, 1)]
  if (!type) throw malformed('a large message that is no row')
  const shape = shapeOf(yield* readNumber(input, 4))
  let mark = yield* readNumber(input, 1)
  let old: LargeRow['old']
  if (mark !== NEW) {
    old = yield* readValues(input, shape)
    if (type === 'D') return { type, old, new: undefined }
    mark = yield* readNumber(input, 1)
  }
  if (mark !== NEW) throw malformed(`a tuple of kind ${mark}`)
  return { type, old, new: yield* readValues(input, shape) }
}

function* readValues(input: Input, shape: RowShape): Generator<void, (LargeValue | undefined)[], void> {
  const count = yield* readNumber(input, 2)
  if (count !== shape.columnCount) {
    throw malformed(`a row of ${count} columns where ${shape.columnCount} were announced`)
  }
  const values: (LargeValue | undefined)[] = []
  for (let column = 0; column < count; column += 1) {
    const kind = yield* readNumber(input, 1)
    const wanted = shape.included[column] === 1
    if (kind === TEXT) {
      const pieces = yield* readText(input, yield* readNumber(input, 4), wanted)
      values.push(wanted ? pieces : undefined)
    } else if (kind === NULL || kind === UNCHANGED) {
      values.push(wanted ? (kind === NULL ? 'null' : 'unchanged') : undefined)
    } else {
      throw malformed(`a value of kind ${kind}`)
    }
  }
  return values
}

function* readText(input: Input, length: number, wanted: boolean): Generator<void, Buffer[], void> {
  const sink = createSink()
  for (let missing = length; missing > 0; ) {
    if (input.position === input.end) yield
    const taken = Math.min(missing, input.end - input.position)
    if (wanted) writeEscaped(sink, input.buffer, input.position, input.position + taken)
    input.position += taken
    missing -= taken
  }
  return takeBytes(sink)
}

function* readNumber(input: Input, bytes: number): Generator<void, number, void> {
  let value = 0
  for (let index = 0; index < bytes; index += 1) {
    if (input.position === input.end) yield
    value = value * 256 + (input.buffer[input.position] as number)
    input.position += 1
  }
  return value
}
