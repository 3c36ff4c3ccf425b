import { MillraceError } from '../../lib/errors.ts'

/**
 * Cuts PostgreSQL's side of a COPY BOTH conversation into messages, in place: what lies whole in one chunk of the socket is
 * handed on without a copy, and a huge message piece by piece as it arrives.
 */
export interface FrameHandler {
  /** Payload `[start, end)` of one CopyData. False: stop here, `feed` is called again for the rest of the chunk. */
  data(buffer: Buffer, start: number, end: number): boolean
  /** A CopyData of `length` bytes begins that is too large to be collected. False: as above. */
  largeBegin(length: number): boolean
  /** The next bytes of it. False: stop here, `feed` is called again for these. */
  largePiece(buffer: Buffer, start: number, end: number): boolean
  /** It is complete. False: as above. */
  largeEnd(): boolean
  /** Any other message, such as an error. */
  other(type: string, body: Buffer): void
}

export interface FrameParser {
  /** Takes `chunk` from `offset` on and says how far it came: less than the chunk's length when told to stop. */
  feed(chunk: Buffer, offset: number): number
}

/** CopyData messages above this are not collected. */
export const LARGE_MESSAGE = 256 * 1024

/** No message that is not CopyData is ever this large; whatever looks like one is not PostgreSQL. */
const LARGEST_OTHER = 1024 * 1024
const HEADER = 5
const COPY_DATA = 0x64

export function createFrameParser(handler: FrameHandler): FrameParser {
  const header = Buffer.alloc(HEADER)
  let headerFill = 0
  let type = 0
  /** Bytes of the present body that are still to come. */
  let missing = 0
  let inBody = false
  let large = false
  /** Body that began in an earlier chunk. */
  let carry: Buffer | undefined
  let carryFill = 0

  function whole(buffer: Buffer, start: number, end: number): boolean {
    inBody = false
    if (type === COPY_DATA) return handler.data(buffer, start, end)
    handler.other(String.fromCharCode(type), buffer.subarray(start, end))
    return true
  }

  /** Reads a header; returns the offset behind it, or -1 when the chunk ends before. */
  function readHeader(chunk: Buffer, offset: number): number {
    if (headerFill === 0 && chunk.length - offset >= HEADER) {
      type = chunk[offset] as number
      missing = chunk.readUInt32BE(offset + 1) - 4
      return offset + HEADER
    }
    const taken = Math.min(HEADER - headerFill, chunk.length - offset)
    chunk.copy(header, headerFill, offset, offset + taken)
    headerFill += taken
    if (headerFill < HEADER) return -1
    headerFill = 0
    type = header[0] as number
    missing = header.readUInt32BE(1) - 4
    return offset + taken
  }

  function feedLarge(chunk: Buffer, offset: number): { offset: number; more: boolean } {
    const taken = Math.min(missing, chunk.length - offset)
    if (taken > 0 && !handler.largePiece(chunk, offset, offset + taken)) return { offset, more: false }
    missing -= taken
    if (missing > 0) return { offset: offset + taken, more: true }
    inBody = false
    large = false
    return { offset: offset + taken, more: handler.largeEnd() }
  }

  return {
    feed(chunk, from) {
      let offset = from
      while (offset < chunk.length || (inBody && missing === 0)) {
        if (!inBody) {
          const next = readHeader(chunk, offset)
          if (next === -1) return chunk.length
          offset = next
          if (missing < 0 || (type !== COPY_DATA && missing > LARGEST_OTHER)) throw malformed(type, missing)
          inBody = true
          large = type === COPY_DATA && missing > LARGE_MESSAGE
          if (large && !handler.largeBegin(missing)) return offset
        }
        if (large) {
          const result = feedLarge(chunk, offset)
          offset = result.offset
          if (!result.more) return offset
          continue
        }
        const available = chunk.length - offset
        if (!carry && missing <= available) {
          const start = offset
          offset += missing
          if (!whole(chunk, start, offset)) return offset
          continue
        }
        carry ??= Buffer.allocUnsafeSlow(missing)
        const taken = Math.min(carry.length - carryFill, available)
        chunk.copy(carry, carryFill, offset, offset + taken)
        carryFill += taken
        offset += taken
        if (carryFill < carry.length) return offset
        const body = carry
        carry = undefined
        carryFill = 0
        if (!whole(body, 0, body.length)) return offset
      }
      return offset
    },
  }
}

function malformed(type: number, length: number): MillraceError {
  return new MillraceError(
    'ConnectionLost',
    `the source sent a message that is none of PostgreSQL's (type ${type}, length ${length})`,
  )
}

/** What an ErrorResponse says. */
export interface ServerError extends Error {
  readonly severity: string
  readonly code: string
}

/** Reads the fields of an ErrorResponse or NoticeResponse. */
export function readServerError(body: Buffer): ServerError {
  const fields = new Map<string, string>()
  for (let offset = 0; offset < body.length && body[offset] !== 0; ) {
    const end = body.indexOf(0, offset + 1)
    if (end === -1) break
    fields.set(String.fromCharCode(body[offset] as number), body.toString('utf8', offset + 1, end))
    offset = end + 1
  }
  return Object.assign(new Error(fields.get('M') ?? 'no reason given'), {
    severity: fields.get('V') ?? fields.get('S') ?? '',
    code: fields.get('C') ?? '',
  })
}
