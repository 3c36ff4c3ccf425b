import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ChunkRange } from '../destination/ledger.ts'
import {
  blockRanges,
  chooseScan,
  chunkCount,
  halveBlocks,
  keyRanges,
  type Leaf,
  type ScanFacts,
  type ScanWish,
  sampleShare,
  splitKeys,
} from './scan-plan.ts'

const MB = 1024 * 1024
const leaf = (name: string, blocks: number): Leaf => ({
  schema: 'public',
  name,
  blocks,
  filenode: `1${name}`,
  heap: true,
})

const facts = (changes: Partial<ScanFacts> = {}): ScanFacts => ({
  leaves: [leaf('t', 1000)],
  rows: 100_000,
  bytes: 1_000 * MB,
  correlation: undefined,
  keyProblem: undefined,
  ...changes,
})
const wish = (changes: Partial<ScanWish> = {}): ScanWish => ({
  scan: 'Auto',
  keyed: true,
  field: 'spec.backfill.scan',
  fixed: false,
  ...changes,
})

describe('chooseScan', () => {
  const elsewhere = { leaves: [{ ...leaf('t', 1), heap: false }] }
  it.each<[string, Partial<ScanWish>, Partial<ScanFacts>, 'Key' | 'Ctid']>([
    ['small', {}, { bytes: 10 * MB, correlation: 0 }, 'Key'],
    ['large, in the order of its key', {}, { correlation: 0.99 }, 'Key'],
    ['large, scattered', {}, { correlation: 0.01 }, 'Ctid'],
    ['large, never analyzed', {}, {}, 'Ctid'],
    ['small, with a key that cannot be compared', {}, { bytes: 1, keyProblem: 'no' }, 'Ctid'],
    ['not in a heap', {}, elsewhere, 'Key'],
    ['without a key', { keyed: false }, { keyProblem: 'the table has no key' }, 'Ctid'],
    ['Ctid asked for', { scan: 'Ctid' }, { bytes: 1 }, 'Ctid'],
    ['Key asked for', { scan: 'Key' }, { correlation: 0 }, 'Key'],
  ])('%s', (_name, wished, found, expected) => {
    expect(chooseScan(wish(wished), facts(found))).toBe(expected)
  })

  it.each<[Partial<ScanWish>, Partial<ScanFacts>, string]>([
    [
      { scan: 'Key', keyed: false },
      {},
      'spec.backfill.scan: Key needs a key, and the table has none; use Ctid or Auto',
    ],
    [
      { scan: 'Ctid' },
      elsewhere,
      'spec.backfill.scan: the table is not stored in a heap, so it cannot be read by ranges of blocks; use Key or Auto',
    ],
    [{ scan: 'Key' }, { keyProblem: 'no index' }, 'spec.backfill.scan: no index; use Ctid or Auto'],
    [
      { keyed: false },
      elsewhere,
      'spec.backfill.scan: the table has no key, and the table is not stored in a heap, so it cannot be read by ranges of blocks; add a primary key',
    ],
  ])('refuses %j', (wished, found, message) => {
    const choose = (fixed: boolean) => () => chooseScan(wish({ ...wished, fixed }), facts(found))
    expect(choose(false)).toThrow(expect.objectContaining({ code: 'InvalidSpec', message, retryable: true }))
    expect(choose(true)).toThrow(expect.objectContaining({ retryable: false }))
  })
})

describe('chunkCount', () => {
  const settings = { chunkRows: 100_000, parallelism: 5 }
  it.each([
    [{ rows: 0, bytes: 0 }, 1],
    [{ rows: 1, bytes: 8192 }, 1],
    [{ rows: 30_000, bytes: 3 * MB }, 3],
    [{ rows: 60_000, bytes: 6 * MB }, 5],
    [{ rows: 3_000_000, bytes: 600 * MB }, 30],
    [{ rows: 1_000, bytes: 30_000 * MB }, 118],
    [{ rows: 1e12, bytes: 1e15 }, 50_000],
  ])('%j: %i', (size, expected) => {
    expect(chunkCount(size, settings)).toBe(expected)
  })
})

describe('sampleShare', () => {
  it.each([
    [10, 1_000, undefined],
    [10, 20_000, 10],
    [1_000, 3_000_000, 1],
  ])('%i parts of %i blocks: %s', (parts, blocks, expected) => {
    expect(sampleShare(parts, blocks)).toBe(expected)
  })
})

describe('keyRanges', () => {
  it('leaves both ends open', () => {
    expect(keyRanges([])).toEqual([{ kind: 'key' }])
    expect(
      keyRanges([
        ['5', 'a'],
        ['7', ''],
      ]),
    ).toEqual([
      { kind: 'key', to: ['5', 'a'] },
      { kind: 'key', from: ['5', 'a'], to: ['7', ''] },
      { kind: 'key', from: ['7', ''] },
    ])
  })

  it('splits into what is below and what is from the middle on', () => {
    expect(splitKeys({ kind: 'key', to: ['9'] }, ['5'])).toEqual([
      { kind: 'key', to: ['5'] },
      { kind: 'key', from: ['5'], to: ['9'] },
    ])
    expect(splitKeys({ kind: 'key' }, ['5'])).toEqual([
      { kind: 'key', to: ['5'] },
      { kind: 'key', from: ['5'] },
    ])
  })
})

describe('blockRanges', () => {
  it('cuts every leaf, also an empty one, and leaves its end open', () => {
    expect(blockRanges([leaf('a', 10), leaf('b', 0)], 4)).toEqual([
      { kind: 'ctid', leaf: { schema: 'public', name: 'a' }, filenode: '1a', fromBlock: 0, toBlock: 3 },
      { kind: 'ctid', leaf: { schema: 'public', name: 'a' }, filenode: '1a', fromBlock: 3, toBlock: 5 },
      { kind: 'ctid', leaf: { schema: 'public', name: 'a' }, filenode: '1a', fromBlock: 5, toBlock: 8 },
      { kind: 'ctid', leaf: { schema: 'public', name: 'a' }, filenode: '1a', fromBlock: 8 },
      { kind: 'ctid', leaf: { schema: 'public', name: 'b' }, filenode: '1b', fromBlock: 0 },
    ])
    expect(blockRanges([], 4)).toEqual([])
  })

  it('has each block in one range, however it is cut and split', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 2000 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(fc.nat(1000), { maxLength: 20 }),
        (sizes, parts, splits) => {
          const leaves = sizes.map((blocks, index) => leaf(`l${index}`, blocks))
          let ranges = blockRanges(leaves, parts)
          for (const split of splits) {
            const at = ranges.length === 0 ? 0 : split % ranges.length
            const range = ranges[at]
            if (range?.kind !== 'ctid') continue
            const blocks = leaves.find(({ name }) => name === range.leaf.name)?.blocks ?? 0
            const halves = halveBlocks(range, blocks)
            if (halves) ranges = [...ranges.slice(0, at), ...halves, ...ranges.slice(at + 1)]
          }
          for (const each of leaves) expect(coverage(ranges, each)).toBe('once')
        },
      ),
    )
  })
})

/** Whether the ranges of a leaf follow each other from its first block to an open end. */
function coverage(ranges: readonly ChunkRange[], { name }: Leaf): string {
  const own = ranges.flatMap((range) => (range.kind === 'ctid' && range.leaf.name === name ? [range] : []))
  let next: number | undefined = 0
  for (const range of own) {
    if (range.fromBlock !== next) return `begins at ${range.fromBlock} instead of ${next}`
    if (range.toBlock !== undefined && range.toBlock <= range.fromBlock) return 'an empty range'
    next = range.toBlock
  }
  return next === undefined ? 'once' : `ends at ${next}`
}
