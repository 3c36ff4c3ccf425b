import { type ByteSink, reserve, writeEscaped, writeNumber } from './lines.ts'
import { malformed } from './pgoutput.ts'

/** What the encoder has to know of a table to write its rows. */
export interface RowShape {
  /** Columns of a tuple as PostgreSQL sends it. */
  readonly columnCount: number
  /** 1 for those that are written. */
  readonly included: Uint8Array
  /** Places of the key's columns, in key order; empty for a table without a key. */
  readonly keyColumns: readonly number[]
}

const INSERT = 0x49
const UPDATE = 0x55
const DELETE = 0x44
const NEW = 0x4e
const KEY = 0x4b
const OLD = 0x4f
const NULL = 0x6e
const UNCHANGED = 0x75
const TEXT = 0x74

export const NULL_TEXT = Buffer.from('null')
const QUOTE = 0x22
const COMMA = 0x2c
const OPEN = 0x5b
const CLOSE = 0x5d
const ZERO = 0x30
const NEWLINE = 0x0a

/** Letters of the lines, by message type. */
const LETTERS: Readonly<Record<number, number>> = { [INSERT]: 0x69, [UPDATE]: 0x75, [DELETE]: 0x64 }

/** One tuple: where its values lie. Reused for every row, so nothing is allocated. */
interface Tuple {
  kinds: Uint8Array
  starts: Int32Array
  ends: Int32Array
  /** `K`, `O` or `N`; 0 when there is none. */
  mark: number
}

const oldTuple = createTuple(64)
const newTuple = createTuple(64)

function createTuple(columns: number): Tuple {
  return {
    kinds: new Uint8Array(columns),
    starts: new Int32Array(columns),
    ends: new Int32Array(columns),
    mark: 0,
  }
}

/**
 * Appends the line of one insert, update or delete. `start` is that of the pgoutput message, of which all bytes are there.
 */
export function writeRow(
  sink: ByteSink,
  shape: RowShape,
  sequence: number,
  buffer: Buffer,
  start: number,
  end: number,
): void {
  const type = buffer[start] as number
  const mark = buffer[start + 5] as number
  beginLine(sink, type, sequence)
  if (type !== DELETE && mark === NEW) {
    const next = writeNewTuple(sink, shape, buffer, start + 6, end)
    if (next !== end) throw malformed('a row longer than its columns')
    endLine(sink)
    return
  }
  let offset = readTuple(oldTuple, shape, buffer, start + 5, end)
  if (type === DELETE) {
    writeIdentity(sink, shape, buffer)
  } else {
    offset = readTuple(newTuple, shape, buffer, offset, end)
    writeMerged(sink, shape, buffer)
    if (isIdentityWanted(shape, buffer)) {
      reserve(sink, 1)
      sink.chunk[sink.position++] = COMMA
      writeIdentity(sink, shape, buffer)
    }
  }
  if (offset !== end) throw malformed('a row longer than its columns')
  endLine(sink)
}

/** Appends the line of a TRUNCATE. */
export function writeTruncate(sink: ByteSink, sequence: number): void {
  reserve(sink, 4)
  sink.position += sink.chunk.write('["t"', sink.position, 'latin1')
  reserve(sink, 1)
  sink.chunk[sink.position++] = COMMA
  writeNumber(sink, sequence)
  endLine(sink)
}

/** Writes `["i",17,`; `type` is the pgoutput message's. */
export function beginLine(sink: ByteSink, type: number, sequence: number): void {
  reserve(sink, 5)
  sink.chunk[sink.position++] = OPEN
  sink.chunk[sink.position++] = QUOTE
  sink.chunk[sink.position++] = LETTERS[type] as number
  sink.chunk[sink.position++] = QUOTE
  sink.chunk[sink.position++] = COMMA
  writeNumber(sink, sequence)
  reserve(sink, 1)
  sink.chunk[sink.position++] = COMMA
}

export function endLine(sink: ByteSink): void {
  reserve(sink, 2)
  sink.chunk[sink.position++] = CLOSE
  sink.chunk[sink.position++] = NEWLINE
}

/** The common case: a new tuple alone, read and written in one go. Returns where it ends. */
function writeNewTuple(sink: ByteSink, shape: RowShape, buffer: Buffer, start: number, end: number): number {
  const { included, columnCount } = shape
  assertColumns(buffer.readUInt16BE(start), shape)
  let offset = start + 2
  let first = true
  reserve(sink, 1)
  sink.chunk[sink.position++] = OPEN
  for (let column = 0; column < columnCount; column += 1) {
    if (offset >= end) throw malformed('a row shorter than its columns')
    const kind = buffer[offset] as number
    let length = 0
    offset += 1
    if (kind === TEXT) {
      length = buffer.readUInt32BE(offset)
      offset += 4
      if (offset + length > end) throw malformed('a row shorter than its columns')
    }
    if (included[column] === 1) {
      writeValue(sink, kind, buffer, offset, offset + length, first)
      first = false
    }
    offset += length
  }
  reserve(sink, 1)
  sink.chunk[sink.position++] = CLOSE
  return offset
}

function writeValue(
  sink: ByteSink,
  kind: number,
  buffer: Buffer,
  start: number,
  end: number,
  first: boolean,
): void {
  reserve(sink, 8)
  if (!first) sink.chunk[sink.position++] = COMMA
  if (kind === TEXT) {
    sink.chunk[sink.position++] = QUOTE
    writeEscaped(sink, buffer, start, end)
    reserve(sink, 1)
    sink.chunk[sink.position++] = QUOTE
  } else if (kind === NULL) {
    sink.position += NULL_TEXT.copy(sink.chunk, sink.position)
  } else if (kind === UNCHANGED) {
    sink.chunk[sink.position++] = ZERO
  } else {
    throw malformed(`a value of kind ${kind}`)
  }
}

/** Finds the values of a tuple that begins with its mark; returns where it ends. */
function readTuple(tuple: Tuple, shape: RowShape, buffer: Buffer, start: number, end: number): number {
  const mark = buffer[start] as number
  if (mark !== NEW && mark !== KEY && mark !== OLD) throw malformed(`a tuple of kind ${mark}`)
  const count = buffer.readUInt16BE(start + 1)
  assertColumns(count, shape)
  if (tuple.kinds.length < count) Object.assign(tuple, createTuple(count))
  tuple.mark = mark
  let offset = start + 3
  for (let column = 0; column < count; column += 1) {
    if (offset >= end) throw malformed('a row shorter than its columns')
    const kind = buffer[offset] as number
    const length = kind === TEXT ? buffer.readUInt32BE(offset + 1) : 0
    offset += kind === TEXT ? 5 : 1
    if (offset + length > end) throw malformed('a row shorter than its columns')
    tuple.kinds[column] = kind
    tuple.starts[column] = offset
    offset += length
    tuple.ends[column] = offset
  }
  return offset
}

/** The new tuple; a value that is unchanged is taken from the old one where that brought it (invariant I7). */
function writeMerged(sink: ByteSink, shape: RowShape, buffer: Buffer): void {
  let first = true
  reserve(sink, 1)
  sink.chunk[sink.position++] = OPEN
  for (let column = 0; column < shape.columnCount; column += 1) {
    if (shape.included[column] !== 1) continue
    const kind = newTuple.kinds[column] as number
    const from = kind === UNCHANGED && oldTuple.kinds[column] === TEXT ? oldTuple : newTuple
    writeFrom(sink, from, column, buffer, first)
    first = false
  }
  reserve(sink, 1)
  sink.chunk[sink.position++] = CLOSE
}

/** The old key in key order; without a key the whole old row. */
function writeIdentity(sink: ByteSink, shape: RowShape, buffer: Buffer): void {
  reserve(sink, 1)
  sink.chunk[sink.position++] = OPEN
  if (shape.keyColumns.length > 0) {
    let first = true
    for (const column of shape.keyColumns) {
      writeFrom(sink, oldTuple, column, buffer, first)
      first = false
    }
  } else {
    let first = true
    for (let column = 0; column < shape.columnCount; column += 1) {
      if (shape.included[column] !== 1) continue
      writeFrom(sink, oldTuple, column, buffer, first)
      first = false
    }
  }
  reserve(sink, 1)
  sink.chunk[sink.position++] = CLOSE
}

function writeFrom(sink: ByteSink, tuple: Tuple, column: number, buffer: Buffer, first: boolean): void {
  const { kinds, starts, ends } = tuple
  writeValue(sink, kinds[column] as number, buffer, starts[column] as number, ends[column] as number, first)
}

/** Whether the old key has to go along: it differs from the new one, or there is none and the whole row stands for it. */
function isIdentityWanted(shape: RowShape, buffer: Buffer): boolean {
  if (shape.keyColumns.length === 0) return true
  return shape.keyColumns.some((column) => {
    if (newTuple.kinds[column] === UNCHANGED) return false
    return (
      buffer.compare(
        buffer,
        oldTuple.starts[column],
        oldTuple.ends[column],
        newTuple.starts[column],
        newTuple.ends[column],
      ) !== 0
    )
  })
}

function assertColumns(count: number, shape: RowShape): void {
  if (count !== shape.columnCount) {
    throw malformed(`a row of ${count} columns where ${shape.columnCount} were announced`)
  }
}
