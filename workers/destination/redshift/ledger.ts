import type { Ledger } from '../ledger.ts'
import { ledgerBackfills } from './ledger-backfills.ts'
import { ledgerChunks } from './ledger-chunks.ts'
import type { Known } from './ledger-known.ts'
import { readLedger } from './ledger-list.ts'
import { openLedgerSchema } from './ledger-schema.ts'
import type { LedgerStore, Work } from './ledger-store.ts'
import { ledgerTables } from './ledger-tables.ts'
import type { RowWrite } from './transaction-sql.ts'

/** Rows on their way into a ledger: inside of the statements, or through a file. */
export interface LoadedRows {
  readonly work: readonly Work[]
  readonly writes: readonly RowWrite[]
  /** The transaction has ended, however it did. */
  done(): void
}

/** What the parts of the ledger work with. */
export interface LedgerContext {
  readonly store: LedgerStore
  readonly known: Known
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly readBackfill: Ledger['readBackfill']
  /** Many new rows of a ledger. */
  loadRows(ledger: string, rows: readonly RowWrite[], signal: AbortSignal): Promise<LoadedRows>
}

/** The ledger of one Pipeline in Redshift; `transaction-sql.ts` says how its rows are guarded. */
export function createLedger(options: Omit<LedgerContext, 'readBackfill'>): Ledger {
  const context: LedgerContext = {
    ...options,
    readBackfill: (uid, signal) => backfills.readBackfill(uid, signal),
  }
  const backfills = ledgerBackfills(context)
  return {
    open: (signal) => openLedgerSchema(context.store, signal),
    readAll: (signal) => readLedger(context, signal),
    ...ledgerTables(context),
    ...backfills,
    ...ledgerChunks(context),
  }
}
