import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import type { Ahead, Loss } from './ahead.ts'
import type { Bell } from './bell.ts'
import type { ApplyEnv } from './env.ts'
import { type Ending, whyOver } from './hold.ts'
import { type TableState, takeRow } from './state.ts'

/** How often the ledger is asked while a table is held; a destination that is billed by the minute is left alone more. */
const POLL = { postgres: 3_000, redshift: 30_000 } as const

/**
 * Waits until the backfill that holds the table is over: it has copied everything, or is closed; closes it itself when it
 * was cancelled or is gone, or when changes behind the hold are lost (rule R22). The ledger decides, what the API server shows
 * only wakes (rule R5).
 */
export async function waitForHoldEnd(
  env: ApplyEnv,
  state: TableState,
  row: LedgerTable,
  ahead: Ahead,
  bell: Bell,
  signal: AbortSignal,
): Promise<void> {
  const { ledger } = env.destination
  const uid = row.heldBy
  state.emptied += 1
  state.target = undefined
  state.error = undefined
  state.failures = 0
  state.waiting = undefined
  env.changed(true)
  for (;;) {
    const backfill = await ledger.readBackfill(uid, signal)
    if (backfill) env.sawBackfill(backfill)
    // The new table has the columns that the source has now: of others that were written, none is missed.
    if (backfill?.action === 'Drop') state.columns = []
    if (backfill?.state !== 'held') return
    const loss = await ahead.loss(signal)
    if (loss) return await end(backfill, loss.why, loss)
    const digest = look(env.seenBackfill(uid))
    if (whyOver(backfill, env.seenBackfill(uid), env.seenScope(state.table))) {
      const object = await env.freshBackfill(backfill.name, signal)
      const why = whyOver(backfill, object, await env.freshScope(state.table, signal))
      if (why) return await end(backfill, why)
    }
    const deadline = performance.now() + POLL[env.destination.kind]
    for (let left = 1; left > 0 && look(env.seenBackfill(uid)) === digest && !ahead.hasNews(); ) {
      left = deadline - performance.now()
      await bell.wait(left, signal)
    }
  }

  async function end(backfill: LedgerBackfill, why: Ending, loss?: Loss): Promise<void> {
    const { name, table, action } = backfill
    const closed = await ledger.closeBackfill({ uid, name, table, action, ...why }, signal)
    env.log.info({ table: state.label, backfill: name, code: why.code, reason: why.message }, 'Hold ended')
    // What the backfill has done to the table is in its row, which is reported with it.
    const now = await ledger.readTable(table, signal)
    takeRow(state, now)
    // Told now; the queue brings the table to it only later. After the close, since the backfill's action would take it back.
    if (now && loss && now.state !== 'stopped') state.row = await ledger.updateTable(now, loss.facts, signal)
    env.sawBackfill(closed)
  }
}

/** What of a TableBackfill can mean that the hold is over. */
function look(object: TableBackfill | undefined): string {
  if (!object) return ''
  const { metadata, spec, status } = object
  return [metadata.deletionTimestamp, spec.cancel, status?.phase, status?.copy?.stage].join(' ')
}
