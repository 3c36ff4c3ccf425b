import { describe, expect, it } from 'vitest'
import type { LedgerChunk } from '../destination/ledger.ts'
import { createChunkQueue } from './chunks.ts'

const chunk = (number: number, state: LedgerChunk['state'] = 'planned', rows = 0n): LedgerChunk => ({
  chunk: number,
  range: { kind: 'all' },
  state,
  attempt: 1,
  rows,
  bytes: rows * 10n,
})
const take = (queue: ReturnType<typeof createChunkQueue>) => queue.take() as LedgerChunk

describe('a queue of chunks', () => {
  it('begins where earlier attempts ended', () => {
    const queue = createChunkQueue([chunk(0, 'done', 5n), chunk(1, 'split'), chunk(2), chunk(3)])
    expect(queue.progress()).toEqual({ chunksDone: 1, chunksTotal: 3, rows: 5n, bytes: 50n })
    expect([queue.take()?.chunk, queue.take()?.chunk, queue.take()]).toEqual([2, 3, undefined])
  })

  it('is complete when nothing waits and nobody works', () => {
    const queue = createChunkQueue([chunk(0), chunk(1)])
    const [first, second] = [take(queue), take(queue)]
    queue.done(first, { rows: 1n, bytes: 2n })
    expect(queue.complete()).toBe(false)
    queue.done(second, { rows: 3n, bytes: 4n })
    expect(queue.complete()).toBe(true)
    expect(queue.progress()).toEqual({ chunksDone: 2, chunksTotal: 2, rows: 4n, bytes: 6n })
    expect(createChunkQueue([chunk(0, 'done')]).complete()).toBe(true)
    expect(createChunkQueue([]).complete()).toBe(true)
  })

  it('gives a failed chunk out again before the rest, or its parts', () => {
    const queue = createChunkQueue([chunk(0), chunk(1)])
    queue.putBack(take(queue))
    const again = take(queue)
    expect(again.chunk).toBe(0)
    queue.replace(again, [chunk(2), chunk(3)])
    expect(queue.progress().chunksTotal).toBe(3)
    expect([take(queue).chunk, take(queue).chunk, take(queue).chunk]).toEqual([2, 3, 1])
    expect(queue.complete()).toBe(false)
  })
})
