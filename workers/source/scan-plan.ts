import { MillraceError } from '../../lib/errors.ts'
import type { ChunkRange } from '../destination/ledger.ts'
import type { TableName } from './table.ts'

/** A table that has rows of its own: the table itself, or one partition without partitions of its own. */
export interface Leaf extends TableName {
  /** Size of the heap, in blocks. */
  readonly blocks: number
  /** `pg_relation_filenode()` as text: another one means that the rows have moved (rule R12). */
  readonly filenode: string
  /** Rows are in PostgreSQL's own heap, where blocks can be read by range. */
  readonly heap: boolean
}

/** What the scanned server knows about a table. */
export interface ScanFacts {
  readonly leaves: readonly Leaf[]
  /** By the planner's estimate, which knows the present size of the table. */
  readonly rows: number
  /** Heap and TOAST, bytes. */
  readonly bytes: number
  /**
   * How well the order of the key's first column and that of the rows on disk agree, from 0 to 1; undefined when
   * the table was never analyzed.
   */
  readonly correlation: number | undefined
  /** Why ranges of the key cannot be read by its index, or could differ between servers; undefined when they can. */
  readonly keyProblem: string | undefined
}

export interface ScanWish {
  readonly scan: 'Auto' | 'Key' | 'Ctid'
  readonly keyed: boolean
  /** Spec path of the setting, for messages. */
  readonly field: string
  /** The setting cannot be changed, so that what is wrong with it is final. */
  readonly fixed: boolean
}

// A table that fits into memory easily is read as fast in the order of its key, and needs no snapshot that lives long.
const SMALL_BYTES = 256 * 1024 * 1024
const CORRELATED = 0.8

/** How to cut the table. Throws `InvalidSpec` when what is wished cannot be done. */
export function chooseScan(wish: ScanWish, facts: ScanFacts): 'Key' | 'Ctid' {
  const heap = facts.leaves.every((leaf) => leaf.heap)
  const noBlocks = 'the table is not stored in a heap, so it cannot be read by ranges of blocks'
  if (!wish.keyed) {
    if (wish.scan === 'Key')
      throw invalid(wish, 'Key needs a key, and the table has none', 'use Ctid or Auto')
    if (!heap) throw invalid(wish, `the table has no key, and ${noBlocks}`, 'add a primary key')
    return 'Ctid'
  }
  if (wish.scan === 'Ctid') {
    if (!heap) throw invalid(wish, noBlocks, 'use Key or Auto')
    return 'Ctid'
  }
  if (wish.scan === 'Key') {
    if (facts.keyProblem !== undefined) throw invalid(wish, facts.keyProblem, 'use Ctid or Auto')
    return 'Key'
  }
  if (!heap) return 'Key'
  if (facts.keyProblem !== undefined) return 'Ctid'
  if (facts.bytes <= SMALL_BYTES) return 'Key'
  return (facts.correlation ?? 0) >= CORRELATED ? 'Key' : 'Ctid'
}

function invalid({ field, fixed }: ScanWish, found: string, cure: string): MillraceError {
  return new MillraceError('InvalidSpec', `${field}: ${found}; ${cure}`, { field, retryable: !fixed })
}

// A chunk is what a crash makes copied again, and one transaction of the destination: it is bounded in bytes too.
const CHUNK_BYTES = 256 * 1024 * 1024
const MIN_CHUNK_ROWS = 10_000
const MAX_CHUNKS = 50_000

/** Number of chunks that a table of this size is cut into, at least 1. */
export function chunkCount(
  size: Pick<ScanFacts, 'rows' | 'bytes'>,
  settings: { readonly chunkRows: number; readonly parallelism: number },
): number {
  const byRows = size.rows / settings.chunkRows
  const byBytes = size.bytes / CHUNK_BYTES
  // A table smaller than that is still worth spreading over all readers.
  const spread = Math.min(settings.parallelism, size.rows / MIN_CHUNK_ROWS)
  return clamp(Math.ceil(Math.max(byRows, byBytes, spread)), 1, MAX_CHUNKS)
}

const SAMPLED_BLOCKS_PER_PART = 30
const MIN_SAMPLED_BLOCKS = 2_000

/** Share of the blocks to look at to find the bounds of `parts` key ranges, in percent; undefined = all of them. */
export function sampleShare(parts: number, blocks: number): number | undefined {
  const wanted = Math.max(MIN_SAMPLED_BLOCKS, parts * SAMPLED_BLOCKS_PER_PART)
  return wanted >= blocks ? undefined : (100 * wanted) / blocks
}

/** Ranges between the bounds, the first and the last one with an open end (rule R11). */
export function keyRanges(bounds: readonly (readonly string[])[]): ChunkRange[] {
  return Array.from({ length: bounds.length + 1 }, (_, index) => keyRange(bounds[index - 1], bounds[index]))
}

/** Block ranges of every leaf, the last one of each with an open end (rule R11). */
export function blockRanges(leaves: readonly Leaf[], parts: number): ChunkRange[] {
  const blocks = leaves.reduce((sum, leaf) => sum + leaf.blocks, 0)
  const perPart = Math.max(1, Math.ceil(blocks / parts))
  return leaves.flatMap((leaf) => {
    const count = Math.max(1, Math.ceil(leaf.blocks / perPart))
    const bound = (index: number) => Math.round((leaf.blocks * index) / count)
    return Array.from({ length: count }, (_, index) =>
      blockRange(leaf, leaf.filenode, bound(index), index === count - 1 ? undefined : bound(index + 1)),
    )
  })
}

/** Two halves of a block range; undefined when it has only one block. `blocks` is the leaf's present size. */
export function halveBlocks(
  range: Extract<ChunkRange, { kind: 'ctid' }>,
  blocks: number,
): ChunkRange[] | undefined {
  const end = range.toBlock ?? blocks
  if (end - range.fromBlock < 2) return undefined
  const middle = Math.floor((range.fromBlock + end) / 2)
  return [
    blockRange(range.leaf, range.filenode, range.fromBlock, middle),
    blockRange(range.leaf, range.filenode, middle, range.toBlock),
  ]
}

/** The two parts of a key range below and from `middle` on. */
export function splitKeys(
  range: Extract<ChunkRange, { kind: 'key' }>,
  middle: readonly string[],
): ChunkRange[] {
  return [keyRange(range.from, middle), keyRange(middle, range.to)]
}

function keyRange(from: readonly string[] | undefined, to: readonly string[] | undefined): ChunkRange {
  return { kind: 'key', ...(from && { from }), ...(to && { to }) }
}

function blockRange(
  { schema, name }: TableName,
  filenode: string,
  fromBlock: number,
  toBlock: number | undefined,
): ChunkRange {
  const leaf = { schema, name }
  return { kind: 'ctid', leaf, filenode, fromBlock, ...(toBlock === undefined ? {} : { toBlock }) }
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value))
}
