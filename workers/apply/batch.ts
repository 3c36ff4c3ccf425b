import type { RowLine } from '../queue/format.ts'
import type { Position } from '../source/position.ts'
import { addChange, type Compaction, createCompaction, type Transaction } from './compact.ts'
import type { FactChange } from './facts.ts'
import { addKeylessChange, createMultiset, type Multiset } from './keyless.ts'
import type { Layout } from './layout.ts'

/** Changes of one table that are gathered to be written together. */
export interface TableBatch {
  /** Undefined: no rows, only a new place. */
  readonly layout: Layout | undefined
  readonly keyed: Compaction
  readonly keyless: Multiset
  changes: number
  /** Length of the changes in the queue. */
  bytes: number
  /** What they take in memory, estimated. */
  cost: number
  /** When the first was taken, milliseconds of the monotonic clock. */
  since: number
  /** Commit time of the first and of the last, milliseconds since 1970. */
  firstAt: number
  lastAt: number
}

/** Where the ledger stands when the batch is written, and what else changes with it. */
export interface BatchEnd {
  readonly nextOffset: bigint
  readonly position: Position
  readonly facts: FactChange
  readonly drained?: string
}

export function createBatch(layout: Layout | undefined): TableBatch {
  return {
    layout,
    keyed: createCompaction(),
    keyless: createMultiset(),
    changes: 0,
    bytes: 0,
    cost: 0,
    since: 0,
    firstAt: 0,
    lastAt: 0,
  }
}

/** What a change costs beside its bytes: objects per row, and a string per value. */
const ROW_COST = 200
const VALUE_COST = 32

export interface BatchChange {
  readonly line: RowLine
  readonly bytes: number
  readonly transaction: Transaction & { readonly at: number }
  readonly unknownHistory: boolean
}

/** Adds a change; returns what that costs in memory, estimated. */
export function addToBatch(batch: TableBatch, layout: Layout, change: BatchChange, now: number): number {
  const { line, bytes, transaction } = change
  if (layout.definition.key.length > 0) {
    addChange(batch.keyed, layout, line, transaction, change.unknownHistory)
  } else addKeylessChange(batch.keyless, layout, line)
  const values = line[0] === 't' ? 0 : line[2].length
  const cost = bytes + ROW_COST + VALUE_COST * values
  if (batch.changes === 0) {
    batch.since = now
    batch.firstAt = transaction.at
  }
  batch.changes += 1
  batch.bytes += bytes
  batch.cost += cost
  batch.lastAt = transaction.at
  return cost
}
