import { describe, expect, it } from 'vitest'
import type { ChunkRange, LedgerChunk } from '../destination/ledger.ts'
import { blockRanges, halveBlocks, keyRanges, splitKeys } from '../source/scan-plan.ts'
import { createChunkQueue, isWhole } from './chunks.ts'

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

describe('a plan of which chunks are missing', () => {
  const leaf = (name: string, blocks: number) => ({
    schema: 'public',
    name,
    blocks,
    filenode: `f_${name}`,
    heap: true,
  })
  const keys = keyRanges([
    ['1', 'a'],
    ['5', ''],
    ['9', '{"x"}'],
  ])
  const blocks = blockRanges([leaf('big', 40), leaf('small', 2), leaf('last', 20)], 6)

  /** The plan, with a chunk replaced by its parts for each that is split. */
  function plan(ranges: readonly ChunkRange[], ...splits: { of: number; parts: readonly ChunkRange[] }[]) {
    const all: LedgerChunk[] = ranges.map((range, number) => ({ ...chunk(number, 'done'), range }))
    for (const { of, parts } of splits) {
      all[of] = { ...(all[of] as LedgerChunk), state: 'split' }
      for (const range of parts) all.push({ ...chunk(all.length), range })
    }
    return all
  }
  const [first = { kind: 'key' } as const] = keys
  const [block = { kind: 'all' } as const] = blocks
  const halves = splitKeys(first as Extract<ChunkRange, { kind: 'key' }>, ['0', 'b'])
  const blockHalves = halveBlocks(block as Extract<ChunkRange, { kind: 'ctid' }>, 40) ?? []

  it.each([
    ['by keys', plan(keys)],
    ['by keys, one split', plan(keys, { of: 0, parts: halves })],
    [
      'by keys, one split and split again',
      plan(keys, { of: 0, parts: halves }, { of: 5, parts: splitKeys(halves[1] as never, ['0', 'c']) }),
    ],
    ['one chunk of all keys', plan(keyRanges([]))],
    [
      'one chunk of all keys, split',
      plan(keyRanges([]), { of: 0, parts: splitKeys({ kind: 'key' }, ['3']) }),
    ],
    ['by blocks', plan(blocks)],
    ['by blocks, one split', plan(blocks, { of: 0, parts: blockHalves })],
    ['all in one', plan([{ kind: 'all' }])],
  ])('%s', (_name, chunks) => {
    expect(chunks.length).toBeGreaterThan(0)
    expect(isWhole(chunks)).toBe(true)
    for (const { chunk: gone } of chunks) {
      expect(isWhole(chunks.filter((each) => each.chunk !== gone)), `without ${gone}`).toBe(false)
    }
  })

  it.each([
    ['both ends', plan(keys), [0, 3]],
    ['two in a row', plan(keys), [1, 2]],
    [
      'both parts of the only one',
      plan(keyRanges([]), { of: 0, parts: splitKeys({ kind: 'key' }, ['3']) }),
      [1, 2],
    ],
    ['the whole of a partition in the middle', plan(blocks), [4]],
    ['all', plan(keys), [0, 1, 2, 3]],
  ])('%s', (_name, chunks, gone) => {
    expect(isWhole(chunks.filter((each) => !gone.includes(each.chunk)))).toBe(false)
  })
})
