import { randomBytes } from 'node:crypto'
import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib'
import type { ObjectCalls } from './aws.ts'
import type { Scanned } from './row-scanner.ts'

/** One file of rows after the other, compressed, on its way to S3. */
export interface Upload {
  /** Takes more bytes; a file ends only where a row does. Waits while S3 is behind. */
  write(scanned: Scanned, signal: AbortSignal): Promise<void>
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
}

/** Fast rather than small: the network to S3 is seldom what is waited for. */
const LEVEL = 1
/** Bytes that are compressed at once: each time costs a change of threads. */
const BLOCK = 256 * 1024

export function createUpload({ objects, prefix, fileBytes }: UploadOptions): Upload {
  const keys: string[] = []
  let file: CompressedFile | undefined
  let block: Buffer[] = []
  let blockBytes = 0
  let sending: Promise<void> = Promise.resolve()

  async function compress(bytes: Buffer): Promise<void> {
    file ??= createFile()
    await file.write(bytes)
  }

  async function flushBlock(): Promise<void> {
    if (blockBytes === 0) return
    const bytes = block.length === 1 && block[0] ? block[0] : Buffer.concat(block, blockBytes)
    block = []
    blockBytes = 0
    await compress(bytes)
  }

  async function endFile(signal: AbortSignal): Promise<void> {
    await flushBlock()
    if (!file) return
    const ending = file
    file = undefined
    const body = await ending.end()
    const key = `${prefix}${String(keys.length).padStart(4, '0')}-${randomBytes(6).toString('hex')}.csv.zst`
    // One file is sent while the next one is made: more of them would take more memory and no less time.
    await sending
    keys.push(key)
    sending = objects.put(key, body, signal)
    sending.catch(() => {})
  }

  return {
    keys,
    async write({ bytes, rowEnd }, signal) {
      signal.throwIfAborted()
      const full = rowEnd > 0 && (file?.size() ?? 0) >= fileBytes
      const now = full ? bytes.subarray(0, rowEnd) : bytes
      if (now.length > 0) {
        block.push(now)
        blockBytes += now.length
      }
      if (full) await endFile(signal)
      else if (blockBytes >= BLOCK) await flushBlock()
      if (full && rowEnd < bytes.length) {
        block.push(bytes.subarray(rowEnd))
        blockBytes += bytes.length - rowEnd
      }
    },
    async finish(signal) {
      await endFile(signal)
      await sending
      return keys
    },
    abandon() {
      file?.abandon()
      file = undefined
      block = []
    },
  }
}

interface CompressedFile {
  write(bytes: Buffer): Promise<void>
  end(): Promise<Buffer>
  /** Compressed bytes so far. */
  size(): number
  abandon(): void
}

function createFile(): CompressedFile {
  const parts: Buffer[] = []
  let size = 0
  let failure: Error | undefined
  const stream: ZstdCompress = createZstdCompress({
    chunkSize: 128 * 1024,
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
  })
  stream.on('data', (part: Buffer) => {
    parts.push(part)
    size += part.length
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
      return Buffer.concat(parts, size)
    },
    size: () => size,
    abandon: () => stream.destroy(),
  }
}
