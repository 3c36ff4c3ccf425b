import type { Position } from '../source/position.ts'
import type { Column, TableDefinition, TableName } from '../source/table.ts'
import type { Listing, RangeDigest, RowDigest } from '../source/verify-read.ts'
import type { ListLimit, Slices, VerifySide } from '../source/verify-sql.ts'
import type { ChunkRange, Fence, Ledger, LedgerBackfill, LedgerTable } from './ledger.ts'

/**
 * The port to a destination. Two implementations: PostgreSQL and Redshift.
 *
 * Failures are MillraceErrors. `DestinationUnavailable`, `LockTimeout`, `TooManyConnections`, `Throttled` are retryable and
 * left nothing behind, or left something that the same call made again recognises as its own.
 */
export interface Destination {
  readonly kind: 'postgres' | 'redshift'
  readonly ledger: Ledger

  /** Connects, checks privileges, opens the ledger. Errors name the field below `spec.destination`. */
  check(signal: AbortSignal): Promise<void>

  /**
   * SQL expression over the source that gives a column as `writeChunk` takes it: its text as this destination loads it, so that
   * the database converts and the worker only moves bytes, or says which rows have to be looked at on the way; `source` is the quoted column, `table` the definition that it is of (a key may
   * be stored in another way). Invariant I10: apply converts the queue's text with `convertValue` to the same.
   */
  columnExpression(column: Column, source: string, table: TableDefinition): string
  /** `COPY (…) TO STDOUT` options that this destination's loader reads, such as `(FORMAT text)`. */
  readonly copyOptions: string
  /** What a queue value becomes, for invariant I10. `ValueRejected` when it cannot be stored. */
  convertValue(column: Column, text: string, table: TableDefinition): string | null

  /** Is there such a table, and has it rows? */
  inspectTable(table: TableName, signal: AbortSignal): Promise<InspectedTable>

  /**
   * What the catalog says of tables, by `tableLabel`; one that is not there is left out. Only of a destination that can be
   * asked every minute for nothing; undefined for others.
   */
  describeTables?(tables: readonly TableName[], signal: AbortSignal): Promise<Map<string, TargetFacts>>
  /**
   * Of a table that has another file than before: whether no row is older than the file, so that it was emptied, not
   * rewritten. `reshaped`: its columns are other ones too, and what rewrites a table for that makes all rows as old as the file.
   */
  wasEmptied?(table: TableName, reshaped: boolean, signal: AbortSignal): Promise<boolean>

  /**
   * Makes the destination table able to take this definition: creates it, adds columns (existing rows get the source's
   * constant default, rule R19), widens widened types; keeps dropped columns. Idempotent.
   * `SchemaChangeUnsupported` names the column, its type there and the one wanted.
   * Returns the names of all columns that the table has afterwards: a change that is older than the table's last column
   * lacks that one, which then counts as unchanged. And the table's `InspectedTable.facts.id`, where there are facts.
   */
  ensureTable(
    target: TableName,
    definition: TableDefinition,
    options: TableOptions,
    signal: AbortSignal,
  ): Promise<{ readonly columns: readonly string[]; readonly id?: string }>

  /**
   * Writes one compacted batch and moves the ledger's row in the same transaction (invariant I4). `DestinationChanged` when
   * the table is not the one that `ensureTable` has seen, or lacks a column that it had, where nothing but a write shows it.
   */
  flush(batch: Batch, signal: AbortSignal): Promise<FlushResult>

  /**
   * The backfill's destination action (invariant I8): under the fence, together with `actionDone` and `append`, in one
   * transaction. A second call finds it done and does nothing. `ActionRefused` where rule R22 forbids DoNothing.
   * Returns the names of views that a Drop took along or made impossible.
   */
  runAction(request: ActionRequest, signal: AbortSignal): Promise<ActionResult>

  /** Loads one chunk durably exactly once (invariant I9): rows and chunk row commit together, under the fence. */
  writeChunk(request: ChunkRequest, signal: AbortSignal): Promise<ChunkResult>

  /**
   * Prepares comparing the table with its source. Throws `DestinationChanged` when table or columns are missing.
   *
   * @param encoding `server_encoding` of the source
   */
  compare(
    target: TableName,
    definition: TableDefinition,
    encoding: string,
    signal: AbortSignal,
  ): Promise<Comparison>

  /** Idempotent. */
  close(): Promise<void>
}

/**
 * The destination's half of a comparison, by key. Values are compared as the destination stores them: `source` says how the
 * source has to be read so that what is equal there has equal checksums here.
 */
export interface Comparison {
  readonly source: VerifySide
  /** Ranges that one statement is to digest; more where a statement is dear. */
  readonly rangesAtOnce: number
  /** Keys that `byKeys` takes. */
  readonly keysAtOnce: number
  /** The digest of each slice, in their order. */
  digests(slices: Slices, signal: AbortSignal): Promise<RangeDigest[]>
  rows(slices: Slices, limit: ListLimit, signal: AbortSignal): Promise<Listing>
  /** Rows that are not there are left out. */
  byKeys(keys: readonly (readonly string[])[], signal: AbortSignal): Promise<RowDigest[]>
  /** Whether two rows that were read by their key, given by their `hash`, are equal. */
  same(a: string, b: string): boolean
}

export interface InspectedTable {
  readonly exists: boolean
  readonly empty: boolean
  /** What shows what was done to it; of a destination that has no `describeTables`. */
  readonly facts?: {
    /** Another one when the table was made anew. */
    readonly id: string
    /** By its name in the source. */
    has(column: string): boolean
  }
}

/** A destination table as far as it shows what was done to it. */
export interface TargetFacts {
  /** Another one when the table was made anew. */
  readonly id: string
  /** Another one when the table was emptied at once, or rewritten. */
  readonly file: string
  readonly columns: readonly string[]
  /** Another one when columns or their types are other ones, or the table is no longer logged. */
  readonly shape: string
  /** It takes no room, so that there are no rows in it. */
  readonly empty: boolean
}

export interface TableOptions {
  readonly deletes: 'Hard' | 'Soft'
}

/** An image of a row after compaction. `undefined` = unchanged: taken from the row that is there. */
export type RowImage = readonly (string | null | undefined)[]

/**
 * One flush of one table. Applied as: empty the table when `truncate`; delete `deletes`; then put `upserts` (delete by
 * key, then insert; unchanged columns come from the row that was there before).
 */
export interface Batch {
  /** Ledger row as last read; its version guards the transaction. */
  readonly ledger: LedgerTable
  readonly definition: TableDefinition
  readonly options: TableOptions
  readonly truncate: boolean
  /** Full images in the definition's column order; no two have the same key. */
  readonly upserts: readonly RowImage[]
  /** Key values in key order. */
  readonly deletes: readonly (readonly string[])[]
  /** Tables without a key: how often each image is to be added (positive) or taken away (negative). */
  readonly keyless: readonly { readonly image: readonly (string | null)[]; readonly count: number }[]
  /** Where the ledger stands afterwards. */
  readonly nextOffset: bigint
  readonly position: Position
  /** Other facts of the table's ledger row that change in the same transaction. */
  readonly facts: Partial<
    Pick<
      LedgerTable,
      | 'incarnation'
      | 'unknownHistory'
      | 'needsEmptying'
      | 'historyComplete'
      | 'state'
      | 'stopCode'
      | 'stopMessage'
    >
  >
  /** Backfill whose release this batch passes: its row becomes `drained` in the same transaction. */
  readonly drained?: string
}

export type FlushResult =
  | { readonly kind: 'applied'; readonly ledger: LedgerTable }
  /**
   * Nothing was written: these keys have unchanged columns but no row to take them from (invariant I7); apply reads them
   * again from the source and flushes anew.
   */
  | { readonly kind: 'missing'; readonly keys: readonly (readonly string[])[] }

export interface ActionRequest {
  readonly fence: Fence
  readonly backfill: LedgerBackfill
  readonly target: TableName
  readonly definition: TableDefinition
  readonly options: TableOptions
}

export interface ActionResult {
  readonly backfill: LedgerBackfill
  readonly warnings: readonly string[]
}

export interface ChunkRequest {
  readonly fence: Fence
  readonly target: TableName
  readonly definition: TableDefinition
  readonly options: TableOptions
  readonly plan: number
  readonly chunk: number
  readonly range: ChunkRange
  /** Snapshot the rows are read under, '' when each chunk has its own; append needs the plan's (section 4 of the design). */
  readonly snapshot: string
  /**
   * Starts reading; called once, after the destination is ready to take bytes. The chunks of bytes are in
   * `copyOptions`' format and need not end at row ends.
   */
  read(signal: AbortSignal): AsyncIterable<Buffer>
  /** Runs after the last byte was taken and before the commit: rules R12 and R13. Throwing rolls everything back. */
  beforeCommit(signal: AbortSignal): Promise<void>
}

export interface ChunkResult {
  readonly rows: bigint
  readonly bytes: bigint
  /** False when the chunk was durable already and nothing was read. */
  readonly written: boolean
}
