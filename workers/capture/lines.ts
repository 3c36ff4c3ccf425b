/**
 * JSON lines, written byte by byte into buffers: a value never becomes a JavaScript string, because capture sees every
 * byte of every change and must neither spend time nor memory on it.
 */

/** Bytes that are being written. `chunk` is filled up to `position`; `done` holds what was filled before. */
export interface ByteSink {
  chunk: Buffer
  position: number
  done: Buffer[]
  doneBytes: number
  /** Size of the first chunk to come: what the last run took, so that a busy table does not grow anew each time. */
  hint: number
}

const FIRST_CHUNK = 4 * 1024
const LARGEST_GROWN_CHUNK = 256 * 1024
const NEXT_CHUNK = 640 * 1024
/** Longest piece that is escaped at once; six times as much must fit into one chunk. */
const SLICE = 16 * 1024

const EMPTY = Buffer.alloc(0)

export function createSink(): ByteSink {
  return { chunk: EMPTY, position: 0, done: [], doneBytes: 0, hint: FIRST_CHUNK }
}

/** Bytes written so far. */
export function sinkBytes(sink: ByteSink): number {
  return sink.doneBytes + sink.position
}

/** Takes everything out; the sink is empty afterwards. */
export function takeBytes(sink: ByteSink): Buffer[] {
  const pieces = sink.done
  const bytes = sinkBytes(sink)
  sink.hint = Math.min(LARGEST_GROWN_CHUNK, Math.max(FIRST_CHUNK, bytes + (bytes >> 3)))
  if (sink.position > 0) pieces.push(sink.chunk.subarray(0, sink.position))
  sink.chunk = EMPTY
  sink.position = 0
  sink.done = []
  sink.doneBytes = 0
  return pieces
}

/** Makes room for `bytes` more in one piece, at most `SLICE` times six. */
export function reserve(sink: ByteSink, bytes: number): void {
  if (sink.position + bytes > sink.chunk.length) grow(sink, bytes)
}

// A small run is moved to a larger chunk as it grows; from a certain size on chunks are strung together instead, so that a
// huge row is never copied.
function grow(sink: ByteSink, bytes: number): void {
  const wanted = sink.chunk.length === 0 ? sink.hint : sink.chunk.length * 2
  if (wanted <= LARGEST_GROWN_CHUNK && sink.position + bytes <= LARGEST_GROWN_CHUNK) {
    let size = wanted
    while (size < sink.position + bytes) size *= 2
    const larger = Buffer.allocUnsafeSlow(size)
    sink.chunk.copy(larger, 0, 0, sink.position)
    sink.chunk = larger
    return
  }
  if (sink.position > 0) {
    sink.done.push(sink.chunk.subarray(0, sink.position))
    sink.doneBytes += sink.position
  }
  sink.chunk = Buffer.allocUnsafeSlow(NEXT_CHUNK)
  sink.position = 0
}

/** Appends bytes as they are, copied. */
export function writeBytes(sink: ByteSink, bytes: Buffer): void {
  for (let start = 0; start < bytes.length; start += SLICE) {
    const end = Math.min(bytes.length, start + SLICE)
    reserve(sink, end - start)
    bytes.copy(sink.chunk, sink.position, start, end)
    sink.position += end - start
  }
}

/** Appends bytes as they are without copying large ones; the caller must not touch them any more. */
export function attachBytes(sink: ByteSink, bytes: Buffer): void {
  if (bytes.length <= SLICE) {
    writeBytes(sink, bytes)
    return
  }
  if (sink.position > 0) {
    sink.done.push(sink.chunk.subarray(0, sink.position))
    sink.doneBytes += sink.position
    sink.chunk = sink.chunk.subarray(sink.position)
    sink.position = 0
  }
  sink.done.push(bytes)
  sink.doneBytes += bytes.length
}

/** Appends a whole number, not negative, in decimal. */
export function writeNumber(sink: ByteSink, value: number): void {
  reserve(sink, 20)
  let divisor = 1
  while (value / divisor >= 10) divisor *= 10
  let rest = value
  for (; divisor >= 1; divisor /= 10) {
    const digit = Math.floor(rest / divisor)
    sink.chunk[sink.position++] = 48 + digit
    rest -= digit * divisor
  }
}

// What JSON wants escaped: control characters, the quote and the backslash. All else is passed on: it is UTF-8, which JSON
// takes as it is. 0 = as it is, 1 = \u00xx, else the letter behind the backslash.
const ESCAPES = new Uint8Array(256)
ESCAPES.fill(1, 0, 0x20)
for (const [code, letter] of [
  [8, 'b'],
  [9, 't'],
  [10, 'n'],
  [12, 'f'],
  [13, 'r'],
  [0x22, '"'],
  [0x5c, '\\'],
] as const) {
  ESCAPES[code] = letter.charCodeAt(0)
}
const HEX = Buffer.from('0123456789abcdef')
const BACKSLASH = 0x5c

/** Appends `source[start, end)` as the inside of a JSON string. Escaping looks at single bytes, so text may come in pieces. */
export function writeEscaped(sink: ByteSink, source: Buffer, start: number, end: number): void {
  for (let from = start; from < end; from += SLICE) {
    const to = Math.min(from + SLICE, end)
    reserve(sink, (to - from) * 6)
    const chunk = sink.chunk
    let position = sink.position
    for (let index = from; index < to; index += 1) {
      const byte = source[index] as number
      const letter = ESCAPES[byte] as number
      if (letter === 0) {
        chunk[position++] = byte
      } else if (letter === 1) {
        chunk[position++] = BACKSLASH
        chunk[position++] = 0x75
        chunk[position++] = 0x30
        chunk[position++] = 0x30
        chunk[position++] = HEX[byte >> 4] as number
        chunk[position++] = HEX[byte & 15] as number
      } else {
        chunk[position++] = BACKSLASH
        chunk[position++] = letter
      }
    }
    sink.position = position
  }
}
