import type { Ledger } from '../ledger.ts'
import { ledgerBackfills, listBackfills } from './ledger-backfills.ts'
import { ledgerChunks } from './ledger-chunks.ts'
import { type LedgerNames, openLedgerSchema } from './ledger-schema.ts'
import { ledgerTables } from './ledger-tables.ts'
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
  const tables = ledgerTables(context)
  return {
    open: (signal) => openLedgerSchema(sessions, names, pipeline, signal),
    async readAll(signal) {
      const backfills = sessions.use(signal, (session) =>
        listBackfills(session, names, 'b.pipeline = $1', [pipeline]),
      )
      const all = await Promise.all([tables.readTables(signal), backfills])
      // Readers wait for nobody here.
      return { tables: all[0], backfills: all[1], locked: [] }
    },
    ...tables,
    ...ledgerBackfills(context),
    ...ledgerChunks(context),
  }
}
