import { randomBytes } from 'node:crypto'
import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib'
import type { ObjectCalls } from './aws.ts'
import { type Buffers, createBuffers } from './buffers.ts'

/** One file of rows after the other, compressed, on its way to S3. */
export interface Upload {
  /** Takes whole rows; a file ends only where they do. Waits while S3 is behind. The bytes are not needed afterwards. */
  write(rows: Buffer, signal: AbortSignal): Promise<void>
  /** Ends the last file; returns the keys of all when they are in S3. */
  finish(signal: AbortSignal): Promise<string[]>
  /** Lets go of what is at work. The files that are there are for the caller to remove. */
  abandon(): void
  /** Keys so far. */
  readonly keys: readonly string[]
}

export interface UploadOptions {
  readonly objects: ObjectCalls
  /** What the keys begin with. */
  readonly prefix: string
  /** A file that has come to so many bytes, compressed, ends with the next row. */
  readonly fileBytes: number
  /** Default: new ones for each. */
  readonly buffers?: Buffers
}

/**
 * Fast rather than small: the network to S3 is seldom what is waited for. Window (128 KB) and table stay in the processor's cache,
 * which takes a fifth less time; rows are like the rows just before them, so that files hardly become larger.
 */
const COMPRESSION = {
  [constants.ZSTD_c_compressionLevel]: 1,
  [constants.ZSTD_c_windowLog]: 17,
  [constants.ZSTD_c_hashLog]: 13,
}
/** Bytes that are compressed at once: each time costs a change of threads. */
const BLOCK = 256 * 1024
/** Room that a file begins with; it doubles when that is full. */
const BODY = 1024 * 1024

export function createUpload({
  objects,
  prefix,
  fileBytes,
  buffers = createBuffers(),
}: UploadOptions): Upload {
  const keys: string[] = []
  let file: CompressedFile | undefined
  // One block is filled while the other is compressed.
  let [block, other] = [undefined, undefined] as (Buffer | undefined)[]
  let filled = 0
  let compressing: Promise<void> = Promise.resolve()
  let sending: Promise<void> = Promise.resolve()

  async function send(key: string, body: Body, signal: AbortSignal): Promise<void> {
    await objects.put(key, body.bytes, signal)
    // Not if it has failed: a socket may still look at it.
    body.release()
  }

  async function flushBlock(): Promise<void> {
    if (!block || filled === 0) return
    const bytes = block.subarray(0, filled)
    await compressing
    file ??= createFile(buffers)
    compressing = file.write(bytes)
    compressing.catch(() => {})
    ;[block, other] = [other, block]
    filled = 0
  }

  async function endFile(signal: AbortSignal): Promise<void> {
    await flushBlock()
    await compressing
    if (!file) return
    const ending = file
    file = undefined
    const body = await ending.end()
    const key = `${prefix}${String(keys.length).padStart(4, '0')}-${randomBytes(6).toString('hex')}.csv.zst`
    // One file is sent while the next one is made: more of them would take more memory and no less time.
    await sending
    keys.push(key)
    sending = send(key, body, signal)
    sending.catch(() => {})
  }

  return {
    keys,
    async write(rows, signal) {
      signal.throwIfAborted()
      if (file && file.size() >= fileBytes) await endFile(signal)
      for (let from = 0; from < rows.length; ) {
        block ??= buffers.take(BLOCK)
        const copied = rows.copy(block, filled, from)
        filled += copied
        from += copied
        if (filled === BLOCK) await flushBlock()
      }
    },
    async finish(signal) {
      await endFile(signal)
      await sending
      for (const each of [block, other]) if (each) buffers.give(each)
      block = undefined
      other = undefined
      return keys
    },
    abandon() {
      file?.abandon()
      file = undefined
      filled = 0
    },
  }
}

interface Body {
  readonly bytes: Buffer
  /** Lets the bytes be overwritten. */
  release(): void
}

interface CompressedFile {
  /** The bytes may be overwritten once it resolves. */
  write(bytes: Buffer): Promise<void>
  end(): Promise<Body>
  /** Compressed bytes so far. */
  size(): number
  abandon(): void
}

function createFile(buffers: Buffers): CompressedFile {
  let body = buffers.take(BODY)
  let size = 0
  let failure: Error | undefined
  const stream: ZstdCompress = createZstdCompress({
    chunkSize: 64 * 1024,
    params: COMPRESSION,
  })
  stream.on('data', (part: Buffer) => {
    while (size + part.length > body.length) {
      const larger = buffers.take(2 * body.length)
      body.copy(larger, 0, 0, size)
      buffers.give(body)
      body = larger
    }
    size += part.copy(body, size)
  })
  const ended = new Promise<void>((resolve, reject) => {
    stream.once('end', resolve)
    stream.once('error', (error) => {
      failure = error
      reject(error)
    })
  })
  ended.catch(() => {})
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        if (failure) return reject(failure)
        stream.write(bytes, (error) => (error ? reject(error) : resolve()))
      }),
    async end() {
      stream.end()
      await ended
      return { bytes: body.subarray(0, size), release: () => buffers.give(body) }
    },
    size: () => size,
    abandon: () => stream.destroy(),
  }
}
