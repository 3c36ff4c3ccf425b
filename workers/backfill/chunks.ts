import type { ChunkRange, LedgerChunk } from '../destination/ledger.ts'
import { tableLabel } from '../source/table.ts'

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

/**
 * Whether the chunks of a plan are all there: no number is missing, and each bound at which one ends is one at which another
 * begins. What somebody has deleted would count as copied. Not to be seen is only that the last ones are gone which were all
 * of a partition.
 */
export function isWhole(chunks: readonly LedgerChunk[]): boolean {
  // Numbers begin at 0 and are given without holes, also to the parts of what is split.
  if (chunks.length === 0 || chunks.some(({ chunk }) => chunk >= chunks.length)) return false
  const begun = new Set<string>()
  const open = new Map<string, number>()
  const count = (bound: string, by: number) => open.set(bound, (open.get(bound) ?? 0) + by)
  for (const { range, state } of chunks) {
    if (state === 'split') continue
    const { track, from, to } = endsOf(range)
    if (from === EDGE) begun.add(track)
    count(`${track} ${from}`, 1)
    count(`${track} ${to}`, -1)
  }
  const balanced = [...open.values()].every((left) => left === 0)
  return balanced && chunks.every(({ range }) => begun.has(endsOf(range).track))
}

const EDGE = 'edge'

/** Where a range begins and ends, and the row of ranges that it is one of. */
function endsOf(range: ChunkRange): { readonly track: string; readonly from: string; readonly to: string } {
  switch (range.kind) {
    case 'all':
      return { track: 'all', from: EDGE, to: EDGE }
    case 'key': {
      const bound = (key: readonly string[] | undefined) => (key ? JSON.stringify(key) : EDGE)
      return { track: 'key', from: bound(range.from), to: bound(range.to) }
    }
    case 'ctid': {
      const { leaf, filenode, fromBlock, toBlock } = range
      const from = fromBlock === 0 ? EDGE : String(fromBlock)
      return {
        track: `${tableLabel(leaf)} ${filenode}`,
        from,
        to: toBlock === undefined ? EDGE : String(toBlock),
      }
    }
  }
}
