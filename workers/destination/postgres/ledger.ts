import type { Ledger } from '../ledger.ts'
import { ledgerBackfills, listBackfills } from './ledger-backfills.ts'
import { ledgerChunks } from './ledger-chunks.ts'
import { type LedgerNames, openLedgerSchema } from './ledger-schema.ts'
import { ledgerTables, listTables } from './ledger-tables.ts'
import type { Sessions } from './sessions.ts'

/** What the parts of the ledger work with. */
export interface LedgerContext {
  readonly sessions: Sessions
  readonly names: LedgerNames
  /** metadata.uid of the Pipeline. */
  readonly pipeline: string
  /** Its namespace and name. */
  readonly label: string
}

// Locks are always taken in this order, by every transaction on the ledger, so that none waits for another in a circle:
// the table's row, the backfill's row, chunks. (A chunk writes the destination first and takes the backfill's row last,
// but shared, and no table's row at all.)

/** The ledger of one Pipeline in a PostgreSQL destination. */
export function createLedger(context: LedgerContext): Ledger {
  const { sessions, names, pipeline } = context
  return {
    open: (signal) => openLedgerSchema(sessions, names, pipeline, signal),
    readAll: (signal) =>
      sessions.snapshot(signal, async (session) => ({
        tables: await listTables(session, names, pipeline),
        backfills: await listBackfills(session, names, 'b.pipeline = $1', [pipeline]),
        // Readers wait for nobody here.
        locked: [],
      })),
    ...ledgerTables(context),
    ...ledgerBackfills(context),
    ...ledgerChunks(context),
  }
}
