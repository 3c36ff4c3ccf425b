import type { LSN } from '../source/lsn.ts'
import type { Position } from '../source/position.ts'
import type { TableName } from '../source/table.ts'

/**
 * The ledger: small tables in the destination that record what is durably in it. It is the truth of the whole protocol:
 * no safety depends on status or on any process's memory (rule R5).
 *
 * Every change of a row is a compare-and-set on its `version`; a lost race is `LedgerConflict`, which means: somebody
 * else is at work, read again. Names of the ledger's tables: tables, backfills, chunks, all in the ledger schema.
 */
export interface Ledger {
  /**
   * Creates schema and tables when they are missing, also where somebody has dropped some of them. Idempotent, safe against
   * another pod doing the same.
   */
  open(signal: AbortSignal): Promise<void>

  /**
   * All that there is of the pipeline, for the start. What it says of one table is of one moment: a row that is free already
   * beside a backfill that is not copied yet would hide what the copy has seen (rule R14).
   */
  readAll(signal: AbortSignal): Promise<LedgerContent>

  // ---- tables
  readTables(signal: AbortSignal): Promise<LedgerTable[]>
  readTable(table: TableName, signal: AbortSignal): Promise<LedgerTable | undefined>
  /**
   * Creates the table's row. Refused with `DestinationConflict` when another pipeline owns the destination table
   * (rule R25). Returns the row that is there afterwards.
   */
  claimTable(claim: TableClaim, signal: AbortSignal): Promise<LedgerTable>
  /** Compare-and-set of the row's facts; returns the new row. `LedgerConflict` when `version` has moved on. */
  updateTable(row: LedgerTable, patch: Partial<LedgerTableFacts>, signal: AbortSignal): Promise<LedgerTable>
  /** Gives the destination table free again: the row goes, the table and its rows stay. */
  releaseTable(row: LedgerTable, signal: AbortSignal): Promise<void>

  // ---- backfills
  readBackfill(uid: string, signal: AbortSignal): Promise<LedgerBackfill | undefined>
  /** Those of one table that are held or copied, and the ended ones of the last days; the oldest first. */
  readBackfills(table: TableName, signal: AbortSignal): Promise<LedgerBackfill[]>
  /**
   * Apply has come to the hold: one transaction writes the backfill's row as `held` and the table's `heldBy`, guarded by
   * the table's version. The next offset stays at the hold (rule R5).
   *
   * A stopped table goes on from here (rule R21): it becomes active, and its row says that rows of unknown history may be
   * there, that it needs emptying, and that its history is incomplete, and still why; with DoNothing that is refused with
   * `ActionRefused`. A hold that is recorded already is returned as it is; `NotHeld` when its backfill is over.
   */
  recordHeld(row: LedgerTable, hold: HeldFacts, signal: AbortSignal): Promise<LedgerTable>
  /**
   * Ends a backfill without success: `held` (or nothing yet) → `closed`; also frees the table. A row that is copied,
   * closed or drained already stays as it is (first transition wins), but for `evenCopied`: `copied` → `closed`. Conflicts
   * with every chunk in flight (rule R6).
   */
  closeBackfill(backfill: ClosedFacts, signal: AbortSignal): Promise<LedgerBackfill>
  /** A pod takes the backfill over: attempt + 1; from now on writes of earlier attempts fail. `NotHeld` unless held. */
  beginAttempt(uid: string, signal: AbortSignal): Promise<LedgerBackfill>
  /**
   * All chunks durable: `held` → `copied`, frees the table. `Fenced` when the fence is gone; `Internal` when the action or a
   * chunk of the plan is not done. Said twice by the same attempt, it is done once.
   */
  recordCopied(fence: Fence, signal: AbortSignal): Promise<LedgerBackfill>

  // ---- chunks (rule R7)
  readChunks(uid: string, plan: number, signal: AbortSignal): Promise<LedgerChunk[]>
  /** Records a plan with all its chunks, replacing none; sets `plan`, `scan`, `snapshot` of the backfill, under the fence. */
  recordPlan(fence: Fence, plan: ChunkPlan, signal: AbortSignal): Promise<LedgerBackfill>
  /**
   * Replaces a chunk by its parts before either part is written, under the fence. Returns the parts; also when the chunk
   * has been split already. `LedgerConflict` when it is durable.
   */
  splitChunk(
    fence: Fence,
    plan: number,
    chunk: number,
    parts: readonly ChunkRange[],
    signal: AbortSignal,
  ): Promise<LedgerChunk[]>
}

export interface LedgerContent {
  readonly tables: readonly LedgerTable[]
  /** As `readBackfills` has them, of all tables. */
  readonly backfills: readonly LedgerBackfill[]
  /** Tables of which nothing could be read soon, because somebody has locked what is recorded of them: they are left out. */
  readonly locked: readonly TableName[]
}

/** Facts of one table of one pipeline. */
export interface LedgerTable extends LedgerTableFacts {
  readonly pipeline: string
  readonly table: TableName
  readonly destination: TableName
  /** Grows by one at every write. */
  readonly version: bigint
}

export interface LedgerTableFacts {
  readonly topic: string
  /** Incarnation of the topic that `nextOffset` belongs to; empty until the first record was read. */
  readonly incarnation: string
  /** Offset of the first record that is not durably in the destination. */
  readonly nextOffset: bigint
  /** Last change that is durably in the destination. */
  readonly position: Position
  /** `active`, `stopped` by a change that cannot be applied (rule R21), or `left`: it is out of the publication. */
  readonly state: 'active' | 'stopped' | 'left'
  /** What was lost, or why it stopped; stays until a drained backfill has made it good. */
  readonly stopCode: string
  readonly stopMessage: string
  /** uid of the backfill that holds the table; empty when none does. Orthogonal to `state`. */
  readonly heldBy: string
  /** Rows of unknown history may be there (rule R17): unchanged columns are read again from the source. */
  readonly unknownHistory: boolean
  /** Rows may be there that the source has deleted (rule R22): only Truncate or Drop cures. */
  readonly needsEmptying: boolean
  /** The destination has everything the source had at the position (rule R25). */
  readonly historyComplete: boolean
}

export interface TableClaim {
  readonly table: TableName
  readonly destination: TableName
  readonly topic: string
  /** True when the table is to be streamed without a backfill: its history counts as complete from the start. */
  readonly historyComplete: boolean
  /** The destination table exists already with rows that this pipeline did not write (rule R17). */
  readonly unknownHistory: boolean
}

export type DestinationAction = 'DoNothing' | 'Truncate' | 'Drop'

/** held → copied → drained, or held → closed. */
export type BackfillState = 'held' | 'copied' | 'drained' | 'closed'

export interface LedgerBackfill {
  readonly uid: string
  readonly name: string
  readonly table: TableName
  readonly state: BackfillState
  readonly action: DestinationAction
  readonly version: bigint
  readonly attempt: number
  /** End of the hold's commit (rule R3): what the scanned server must have. */
  readonly holdLSN: LSN
  readonly holdOffset: bigint
  readonly actionDone: boolean
  /** Rows may be appended: the table was emptied or created by this backfill and the plan still stands. */
  readonly append: boolean
  /** Current plan's number; 0 before the first. */
  readonly plan: number
  readonly scan: 'Key' | 'Ctid' | ''
  /** Exported snapshot that the plan's appended chunks are read under; empty for Key scans. */
  readonly snapshot: string
  /** For tables without a key (rule R14): `pg_current_snapshot()` of the scan; changes it saw are left out by apply. */
  readonly visibility: string
  readonly rows: bigint
  readonly bytes: bigint
  readonly closeCode: string
  readonly closeMessage: string
}

export interface HeldFacts {
  readonly uid: string
  readonly name: string
  readonly action: DestinationAction
  readonly holdLSN: LSN
  readonly holdOffset: bigint
  /** Where the table stands at the hold: a stopped table (rule R21) jumps here. */
  readonly position: Position
}

export interface ClosedFacts {
  readonly uid: string
  readonly name: string
  readonly table: TableName
  readonly action: DestinationAction
  readonly code: string
  readonly message: string
  /** Changes that the copy builds on were lost before it was drained (rules R21, R22), so it will never be complete. */
  readonly evenCopied?: true
}

/** Every destination write of a backfill holds on to this (rule R6): state is held and the attempt is ours. */
export interface Fence {
  readonly uid: string
  readonly attempt: number
}

/** What one chunk covers. Key ranges are half-open, as text values in key order; undefined = open end (rule R11). */
export type ChunkRange =
  | { readonly kind: 'key'; readonly from?: readonly string[]; readonly to?: readonly string[] }
  | {
      readonly kind: 'ctid'
      /** Leaf table. */
      readonly leaf: TableName
      readonly fromBlock: number
      /** Exclusive; undefined = open end. */
      readonly toBlock?: number
      /** `pg_relation_filenode()` of the leaf at planning (rule R12), as text. */
      readonly filenode: string
    }
  | { readonly kind: 'all' }

export interface ChunkPlan {
  readonly plan: number
  readonly scan: 'Key' | 'Ctid'
  readonly snapshot: string
  readonly visibility: string
  /** False when rows of an earlier plan may be there already: upsert from now on. */
  readonly append: boolean
  readonly ranges: readonly ChunkRange[]
  /**
   * The destination table, when the rows of earlier plans are void: it is emptied by the same transaction that records
   * the plan, so that no chunk of an earlier plan can come after it. For a table without a key whose snapshot was lost
   * (rule R14), which cannot be upserted; left out, the rows stay.
   */
  readonly discard?: TableName
}

export interface LedgerChunk {
  readonly chunk: number
  readonly range: ChunkRange
  readonly state: 'planned' | 'done' | 'split'
  readonly attempt: number
  readonly rows: bigint
  readonly bytes: bigint
}
