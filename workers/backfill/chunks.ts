import type { LedgerChunk } from '../destination/ledger.ts'

/** How far a plan has come. */
export interface Progress {
  readonly chunksDone: number
  readonly chunksTotal: number
  readonly rows: bigint
  readonly bytes: bigint
}

/** The chunks of one plan as this process knows them: who works on what. The truth is in the ledger. */
export interface ChunkQueue {
  /** The next chunk that nobody works on, in the order of the plan; undefined when there is none at present. */
  take(): LedgerChunk | undefined
  /** A chunk that was taken goes back to where it was. */
  putBack(chunk: LedgerChunk): void
  /** A chunk that was taken is durable. */
  done(chunk: LedgerChunk, result: { readonly rows: bigint; readonly bytes: bigint }): void
  /** A chunk that was taken has been replaced by its parts, which are next. */
  replace(chunk: LedgerChunk, parts: readonly LedgerChunk[]): void
  /** Nothing waits and nobody works: every chunk is durable. */
  complete(): boolean
  progress(): Progress
}

/** @param chunks of the plan, as the ledger has them: done, split and planned ones */
export function createChunkQueue(chunks: readonly LedgerChunk[]): ChunkQueue {
  const waiting = chunks.filter((chunk) => chunk.state === 'planned')
  const finished = chunks.filter((chunk) => chunk.state === 'done')
  let taken = 0
  let chunksDone = finished.length
  let rows = finished.reduce((sum, chunk) => sum + chunk.rows, 0n)
  let bytes = finished.reduce((sum, chunk) => sum + chunk.bytes, 0n)
  return {
    take() {
      const chunk = waiting.shift()
      if (chunk) taken += 1
      return chunk
    },
    putBack(chunk) {
      taken -= 1
      waiting.unshift(chunk)
    },
    done(_chunk, result) {
      taken -= 1
      chunksDone += 1
      rows += result.rows
      bytes += result.bytes
    },
    replace(_chunk, parts) {
      taken -= 1
      waiting.unshift(...parts)
    },
    complete: () => waiting.length === 0 && taken === 0,
    progress: () => ({ chunksDone, chunksTotal: chunksDone + taken + waiting.length, rows, bytes }),
  }
}
