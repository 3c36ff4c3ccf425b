import type {
  BackfillState,
  ChunkRange,
  LedgerBackfill,
  LedgerChunk,
  LedgerTable,
} from '../../workers/destination/ledger.ts'

export type Value = string | null

/** A row of the destination. Keys are not enforced, so that a row that comes twice is seen. */
export interface StoredRow {
  readonly values: Readonly<Record<string, Value>>
  readonly deleted: boolean
}

export interface StoredBackfill extends Omit<LedgerBackfill, 'rows' | 'bytes' | 'state'> {
  readonly state: BackfillState
  readonly totals: { readonly rows: bigint; readonly bytes: bigint } | undefined
}

export interface StoredChunk extends LedgerChunk {
  readonly plan: number
  readonly uid: string
  readonly parent: number | undefined
  readonly range: ChunkRange
}

/** What the destination holds. Every change of it happens in one step, as a transaction's does. */
export interface Store {
  /** Undefined: there is no such table. */
  columns: string[] | undefined
  rows: StoredRow[]
  tables: LedgerTable[]
  readonly backfills: Map<string, StoredBackfill>
  chunks: StoredChunk[]
  /** How often the table was claimed. */
  claims: number
}

export function createStore(): Store {
  return { columns: undefined, rows: [], tables: [], backfills: new Map(), chunks: [], claims: 0 }
}
