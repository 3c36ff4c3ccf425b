import assert from 'node:assert'
import type { Readable } from 'node:stream'

/** What of the driver's connection is used. */
interface DriverConnection {
  readonly stream: Readable
  query(text: string): void
}

type Take = (bytes: Buffer) => void

/** `COPY … TO STDOUT`, to be given to the driver's `query()`. Its bytes come in pieces that end anywhere. */
export interface CopyOut extends AsyncIterable<Buffer> {
  readonly text: string
  // For the driver.
  submit(connection: DriverConnection): void
  handleError(error: unknown): void
  handleCommandComplete(): void
  handleReadyForQuery(): void
}

const HEADER = 5
const COPY_DATA = 'd'.charCodeAt(0)
/** CopyOutResponse, and what may come between rows: NoticeResponse, ParameterStatus, NotificationResponse. */
const PASSED_OVER = new Set(Array.from('HNSA', (letter) => letter.charCodeAt(0)))

/**
 * A scan costs a message for each row, and nothing else in this process is done for each. So while rows come, the driver's parser,
 * which makes objects of messages, is set aside: what the socket has read is moved together in its own buffer, without
 * the headers of messages, and passed on. No more is read than one piece ahead of the consumer. One that stops early leaves the
 * connection in the middle of the COPY.
 */
export function copyOut(text: string): CopyOut {
  const ready: Buffer[] = []
  let waiting: PromiseWithResolvers<IteratorResult<Buffer>> | undefined
  let failure: { readonly error: unknown } | undefined
  let complete = false
  let stream: Readable | undefined
  let driver: Take | undefined
  const header = Buffer.alloc(HEADER)
  let headerBytes = 0
  // Of the message that has begun.
  let isData = false
  let left = 0

  function settle(): void {
    if (!waiting) return
    const { resolve, reject } = waiting
    const piece = ready.shift()
    if (piece) resolve({ done: false, value: piece })
    else if (failure) reject(failure.error)
    else if (complete) resolve({ done: true, value: undefined })
    else return
    waiting = undefined
  }

  /** Moves the rows in `bytes` to its begin; returns how long they are, and where the driver's messages begin. */
  function compact(bytes: Buffer): { rows: number; rest: number } {
    const { length } = bytes
    let at = 0
    let end = 0
    for (;;) {
      if (left > 0) {
        const taken = Math.min(left, length - at)
        if (isData) {
          if (end < at) bytes.copyWithin(end, at, at + taken)
          end += taken
        }
        at += taken
        left -= taken
      }
      if (at === length) return { rows: end, rest: -1 }
      const begin = at
      if (headerBytes === 0 && length - at >= HEADER) {
        header[0] = bytes[at] as number
        left = bytes.readUInt32BE(at + 1) - 4
        at += HEADER
      } else {
        while (headerBytes < HEADER && at < length) {
          header[headerBytes] = bytes[at] as number
          headerBytes += 1
          at += 1
        }
        if (headerBytes < HEADER) return { rows: end, rest: -1 }
        left = header.readUInt32BE(1) - 4
      }
      const code = header[0] as number
      isData = code === COPY_DATA
      // CopyDone, or an error: the rest is for the driver. Its header may have begun in the piece before.
      if (!isData && !PASSED_OVER.has(code)) return { rows: end, rest: begin }
      headerBytes = 0
    }
  }

  function onData(bytes: Buffer): void {
    const before = headerBytes
    const { rows, rest } = compact(bytes)
    if (rows > 0) ready.push(bytes.subarray(0, rows))
    if (rest >= 0) {
      // What of the header came with an earlier piece is kept in `header` alone.
      const messages = bytes.subarray(rest)
      detach(before > 0 && headerBytes > 0 ? Buffer.concat([header.subarray(0, before), messages]) : messages)
    } else if (ready.length > 0 && !waiting) stream?.pause()
    settle()
  }

  function detach(messages: Buffer): void {
    const handler = driver
    if (!stream || !handler) return
    stream.removeListener('data', onData)
    stream.on('data', handler)
    driver = undefined
    handler(messages)
    stream.resume()
  }

  return {
    text,
    submit(connection) {
      stream = connection.stream
      const listeners = stream.listeners('data') as Take[]
      assert.equal(listeners.length, 1)
      driver = listeners[0]
      stream.removeListener('data', driver as Take)
      stream.on('data', onData)
      connection.query(text)
    },
    handleError(error) {
      failure ??= { error }
      settle()
    },
    handleCommandComplete() {
      complete = true
      settle()
    },
    handleReadyForQuery() {},
    [Symbol.asyncIterator]() {
      return {
        next() {
          assert.equal(waiting, undefined)
          waiting = Promise.withResolvers<IteratorResult<Buffer>>()
          const { promise } = waiting
          settle()
          if (ready.length === 0 && driver) stream?.resume()
          return promise
        },
        async return() {
          if (driver) stream?.pause()
          return { done: true, value: undefined }
        },
      }
    },
  }
}
