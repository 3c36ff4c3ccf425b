import { identifiesRows, type LeafIdentity } from '../source/partitions.ts'

/** A table that holds rows of a published one: a partition, or the table itself. */
export interface FingerprintLeaf {
  readonly oid: number
  readonly name: string
  readonly filenode: string
  /** Undefined for the table itself, and in records of before it was remembered. */
  readonly partition?: PartitionFacts | undefined
}

export interface PartitionFacts {
  /** pg_class.relpersistence. */
  readonly persistence: string
  readonly tablespace: number
  readonly identity: LeafIdentity
  /** Each attachment between the leaf and the root, as `oid:xid`: another one when it was detached and attached again. */
  readonly attached: readonly string[]
}

/** What the rows of the leaves tell. */
export interface LeafHistory {
  /** New leaves that may have had rows before they were attached. */
  readonly filled: ReadonlySet<number>
  /** Leaves that were there before and lost all the rows that they had, by the transaction that did it. */
  readonly emptied: ReadonlyMap<number, string>
  /** Names of columns that were altered by what gave a leaf its present file. */
  readonly altered: ReadonlySet<string>
  /** Names of added columns of which older rows have something else than what is told of them. */
  readonly odd: ReadonlySet<string>
}

type Leaves = readonly FingerprintLeaf[]

/**
 * What happened to the leaves that row events do not show.
 *
 * @param key names of the key's columns
 */
export function compareLeaves(
  before: Leaves,
  after: Leaves,
  key: readonly string[],
  history: LeafHistory,
): string | undefined {
  const present = new Set(after.map((leaf) => leaf.oid))
  const gone = before.find((leaf) => !present.has(leaf.oid))
  if (gone) return `partition ${gone.name} was detached or dropped`
  for (const [old, leaf] of knownLeaves(before, after)) {
    if (history.emptied.has(leaf.oid)) return `partition ${leaf.name} was emptied`
    const change = comparePartitions(old.partition, leaf.partition, key)
    if (change) return `partition ${leaf.name} ${change}`
  }
  const attached = newLeaves(before, after).find((leaf) => history.filled.has(leaf.oid))
  return attached && `partition ${attached.name} was attached with rows in it`
}

/** Leaves that are in the second but not in the first. */
export function newLeaves(before: Leaves, after: Leaves): Leaves {
  const known = new Set(before.map((leaf) => leaf.oid))
  return after.filter((leaf) => !known.has(leaf.oid))
}

/** Leaves that are in both and have another file. */
export function rewrittenLeaves(
  before: Leaves,
  after: Leaves,
): (readonly [FingerprintLeaf, FingerprintLeaf])[] {
  return knownLeaves(before, after).filter(([old, leaf]) => old.filenode !== leaf.filenode)
}

/**
 * The transaction that emptied all leaves there were, if it was one. That may have been a TRUNCATE of the root, which is in the
 * log, or one of each partition, which is not: the catalog looks alike.
 */
export function wholeTruncation(
  before: Leaves,
  after: Leaves,
  emptied: LeafHistory['emptied'],
): string | undefined {
  const known = knownLeaves(before, after)
  const transactions = new Set(known.map(([, leaf]) => emptied.get(leaf.oid)))
  return transactions.size === 1 ? [...transactions][0] : undefined
}

function knownLeaves(before: Leaves, after: Leaves): (readonly [FingerprintLeaf, FingerprintLeaf])[] {
  const known = new Map(before.map((leaf) => [leaf.oid, leaf]))
  return after.flatMap((leaf) => {
    const old = known.get(leaf.oid)
    return old ? [[old, leaf] as const] : []
  })
}

// What makes changes go missing is refused for as long as it lasts; only when it is mended can the rows be copied anew.
function comparePartitions(
  old: PartitionFacts | undefined,
  now: PartitionFacts | undefined,
  key: readonly string[],
): string | undefined {
  if (!old || !now) return undefined
  if (String(old.attached) !== String(now.attached)) return 'was detached and attached again'
  if (old.persistence !== 'p' && now.persistence === 'p') return 'was unlogged for a time'
  // Without any identity the source refuses updates and deletes, so that none is missing.
  const lost = old.identity.length > 0 && !identifiesRows(old.identity, key)
  if (lost && identifiesRows(now.identity, key))
    return 'had deletes and changes of keys that do not say of which row'
  return undefined
}
