import { once } from 'node:events'
import { createZstdDecompress, type ZstdDecompress } from 'node:zlib'

/**
 * Decompresses zstd of any number of frames. Node's own stream stops without a word at the end of a frame when the next
 * one begins in the same chunk.
 */
export async function* decompressZstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let frame = createZstdDecompress()
  try {
    for await (const chunk of source) {
      let rest = chunk
      while (rest.length > 0) {
        const before = frame.bytesWritten
        yield* outputDuring(frame, write(frame, rest))
        const taken = frame.bytesWritten - before
        rest = rest.subarray(taken)
        if (rest.length === 0) break
        yield* finish(frame)
        frame = createZstdDecompress()
      }
    }
    yield* finish(frame)
  } finally {
    frame.destroy()
  }
}

function write(frame: ZstdDecompress, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    frame.once('error', reject)
    frame.write(chunk, (error) => {
      frame.off('error', reject)
      if (error) reject(error)
      else resolve()
    })
  })
}

async function* finish(frame: ZstdDecompress): AsyncGenerator<Buffer> {
  const ended = once(frame, 'end')
  frame.end()
  yield* outputDuring(frame, ended)
}

/** What comes out until the promise settles; its failure is this one's. */
async function* outputDuring(frame: ZstdDecompress, work: Promise<unknown>): AsyncGenerator<Buffer> {
  let settled = false
  const watched = work.finally(() => {
    settled = true
  })
  watched.catch(() => {})
  for (;;) {
    const chunk = frame.read() as Buffer | null
    if (chunk !== null) yield chunk
    else if (settled) break
    else await readableOr(frame, watched)
  }
  await watched
}

async function readableOr(frame: ZstdDecompress, watched: Promise<unknown>) {
  const waiting = new AbortController()
  const readable = once(frame, 'readable', { signal: waiting.signal }).catch(() => {})
  await Promise.race([readable, watched.catch(() => {})])
  waiting.abort()
}
