import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import type { ApplyEnv } from './env.ts'
import { lostFacts } from './facts.ts'
import { tampered } from './ledger-check.ts'
import type { TableState } from './state.ts'

const TABLE_ROW = tampered('LedgerChanged', "the table's row in the ledger does not say what holds it")
const BACKFILL_ROW = tampered(
  'LedgerChanged',
  'the row in the ledger of the backfill that holds the table was deleted or changed',
)

/**
 * Ends backfills that go on writing to a table whose row knows nothing of them, because it was deleted or changed by hand: both
 * would write to it (invariant I3). Returns the table's row.
 *
 * @param known the table's backfills, read before now; a hold that came or went since is no orphan
 */
export async function endOrphans(
  env: ApplyEnv,
  state: TableState,
  row: LedgerTable,
  known: readonly LedgerBackfill[],
  signal: AbortSignal,
): Promise<LedgerTable> {
  const { ledger } = env.destination
  let now = row
  for (const { uid, name, table, action, state: was } of known) {
    if (was !== 'held' || uid === now.heldBy) continue
    const found = await ledger.readTable(table, signal)
    // Hold and row change together: held before and after, and not by the row in between, is nobody's doing but a person's.
    if (!found || found.heldBy === uid || (await ledger.readBackfill(uid, signal))?.state !== 'held') continue
    const { code, message } = TABLE_ROW
    env.log.error({ table: state.label, backfill: name, code, reason: message }, 'Changed by hand')
    const closed = await ledger.closeBackfill({ uid, name, table, action, code, message }, signal)
    now = found.needsEmptying ? found : await ledger.updateTable(found, lostFacts(code, message), signal)
    state.row = now
    env.sawBackfill(closed)
  }
  return now
}

/**
 * Frees a table that is held by a backfill of which the ledger does not say so: nothing would ever end that. Its row was read
 * after the backfill's, and the two change together.
 */
export async function freeHeld(
  env: ApplyEnv,
  state: TableState,
  row: LedgerTable,
  signal: AbortSignal,
): Promise<LedgerTable> {
  const { ledger } = env.destination
  const { code, message } = BACKFILL_ROW
  env.log.error({ table: state.label, uid: row.heldBy, code, reason: message }, 'Changed by hand')
  const object = env.seenBackfill(row.heldBy)
  const freed = await ledger.updateTable(row, { heldBy: '', ...lostFacts(code, message) }, signal)
  state.row = freed
  if (object) {
    const { name } = object.metadata
    const action = object.spec.destinationTable
    const facts = {
      uid: row.heldBy,
      name,
      table: row.table,
      action,
      code,
      message,
      evenCopied: true as const,
    }
    env.sawBackfill(await ledger.closeBackfill(facts, signal))
  }
  return freed
}
