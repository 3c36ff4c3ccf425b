import type { LedgerBackfill, LedgerChunk } from '../ledger.ts'
import { parentOf, type StoredRow, toChunk, type Versioned } from './ledger-rows.ts'

/** A chunk as its row has it. */
export interface KnownChunk extends Versioned<LedgerChunk> {
  readonly parent: number | undefined
}

/**
 * What this process has last read or written of its backfills, so that a chunk needs no query before it is read. Whatever is
 * decided by it is guarded by the versions: when it is old, the transaction fails and the ledger is read again.
 */
export interface Known {
  ledgerOf(uid: string): string | undefined
  backfill(uid: string): LedgerBackfill | undefined
  chunk(uid: string, plan: number, chunk: number): KnownChunk | undefined
  /** Every chunk of the plan is known. */
  isWhole(uid: string, plan: number): boolean
  remember(ledger: string, backfill: LedgerBackfill): void
  /** `whole`: these are all chunks of the plan. */
  rememberChunks(uid: string, plan: number, rows: readonly StoredRow[], whole: boolean): void
  forget(uid: string): void
}

export function createKnown(): Known {
  const ledgers = new Map<string, string>()
  const backfills = new Map<string, LedgerBackfill>()
  const plans = new Map<string, { plan: number; whole: boolean; chunks: Map<number, KnownChunk> }>()

  const planOf = (uid: string, plan: number) => {
    const found = plans.get(uid)
    return found?.plan === plan ? found : undefined
  }

  return {
    ledgerOf: (uid) => ledgers.get(uid),
    backfill: (uid) => backfills.get(uid),
    chunk: (uid, plan, chunk) => planOf(uid, plan)?.chunks.get(chunk),
    isWhole: (uid, plan) => planOf(uid, plan)?.whole ?? false,
    remember(ledger, backfill) {
      ledgers.set(backfill.uid, ledger)
      backfills.set(backfill.uid, backfill)
    },
    rememberChunks(uid, plan, rows, whole) {
      const found = planOf(uid, plan) ?? { plan, whole, chunks: new Map<number, KnownChunk>() }
      if (whole) found.whole = true
      for (const row of rows) {
        const value = toChunk(row)
        found.chunks.set(value.chunk, { value, version: row.version, parent: parentOf(row) })
      }
      plans.set(uid, found)
    },
    forget(uid) {
      backfills.delete(uid)
      plans.delete(uid)
    },
  }
}
