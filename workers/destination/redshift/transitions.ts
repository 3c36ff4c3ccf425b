import { MillraceError } from '../../../lib/errors.ts'
import { ORIGIN } from '../../source/position.ts'
import { tableLabel } from '../../source/table.ts'
import type {
  ChunkPlan,
  ClosedFacts,
  Fence,
  HeldFacts,
  LedgerBackfill,
  LedgerTable,
  TableClaim,
} from '../ledger.ts'

// What a ledger's rows become. The rows are those that were read; that they are still the same is the transaction's guard.

/** A table that nobody has claimed yet. */
export function claimedTable(pipeline: string, claim: TableClaim): LedgerTable {
  return {
    pipeline,
    table: claim.table,
    destination: claim.destination,
    version: 0n,
    topic: claim.topic,
    incarnation: '',
    nextOffset: 0n,
    position: ORIGIN,
    state: 'active',
    stopCode: '',
    stopMessage: '',
    heldBy: '',
    unknownHistory: claim.unknownHistory,
    needsEmptying: false,
    historyComplete: claim.historyComplete,
  }
}

/** The table at a hold. Throws `ActionRefused` for a stopped one that the backfill does not empty (rule R21). */
export function heldTable(row: LedgerTable, hold: HeldFacts): LedgerTable {
  if (row.heldBy !== '') throw changed(row)
  if (row.state === 'stopped' && hold.action === 'DoNothing') {
    throw new MillraceError(
      'ActionRefused',
      `table ${tableLabel(row.table)} has stopped (${row.stopCode}): a backfill with destinationTable DoNothing does not cure that; use Truncate or Drop`,
      { field: 'spec.destinationTable' },
    )
  }
  // A table that goes on behind the change that it could not apply has lost what was in between (rule R21).
  const skipped =
    row.state === 'stopped'
      ? ({
          state: 'active',
          unknownHistory: true,
          needsEmptying: true,
          historyComplete: false,
        } as const)
      : {}
  return { ...row, ...skipped, heldBy: hold.uid, nextOffset: hold.holdOffset, position: hold.position }
}

export function heldBackfill(row: LedgerTable, hold: HeldFacts): LedgerBackfill {
  return {
    ...blank,
    uid: hold.uid,
    name: hold.name,
    table: row.table,
    state: 'held',
    action: hold.action,
    holdLSN: hold.holdLSN,
    holdOffset: hold.holdOffset,
  }
}

const blank = {
  version: 0n,
  attempt: 0,
  holdLSN: 0n,
  holdOffset: 0n,
  actionDone: false,
  append: false,
  plan: 0,
  scan: '',
  snapshot: '',
  visibility: '',
  rows: 0n,
  bytes: 0n,
  closeCode: '',
  closeMessage: '',
} as const

/** The backfill when it is closed; the one that was given where it has ended already, or got too far. */
export function closedBackfill(found: LedgerBackfill | undefined, closed: ClosedFacts): LedgerBackfill {
  const facts = { state: 'closed', closeCode: closed.code, closeMessage: closed.message } as const
  if (!found) {
    return {
      ...blank,
      uid: closed.uid,
      name: closed.name,
      table: closed.table,
      action: closed.action,
      ...facts,
    }
  }
  const ends = found.state === 'held' || (found.state === 'copied' && closed.evenCopied === true)
  return ends ? { ...found, ...facts } : found
}

/** Throws `Fenced` unless the backfill is held and the attempt is the fence's (rule R6). */
export function assertFence(
  found: LedgerBackfill | undefined,
  fence: Fence,
): asserts found is LedgerBackfill {
  if (found?.state === 'held' && found.attempt === fence.attempt) return
  throw new MillraceError(
    'Fenced',
    found
      ? `backfill ${found.name} may not write any more: it is ${found.state}, attempt ${found.attempt}; this is attempt ${fence.attempt}`
      : `backfill ${fence.uid} may not write: the ledger does not know it`,
  )
}

/** The backfill with a new plan; `LedgerConflict` when there is a later one. */
export function plannedBackfill(found: LedgerBackfill, plan: ChunkPlan): LedgerBackfill {
  if (found.plan >= plan.plan) {
    throw new MillraceError(
      'LedgerConflict',
      `plan ${plan.plan} of backfill ${found.name} cannot be recorded: plan ${found.plan} is there already`,
    )
  }
  return {
    ...found,
    plan: plan.plan,
    scan: plan.scan,
    snapshot: plan.snapshot,
    visibility: plan.visibility,
    append: found.append && plan.append,
    // Its totals are those of the plan.
    rows: 0n,
    bytes: 0n,
  }
}

export function notHeld(uid: string, found: LedgerBackfill | undefined): MillraceError {
  return new MillraceError(
    'NotHeld',
    found
      ? `backfill ${found.name} does not hold its table: it is ${found.state}${found.closeMessage && ` (${found.closeMessage})`}`
      : `backfill ${uid} does not hold its table: apply has not come to its hold`,
  )
}

export function changed(row: LedgerTable): MillraceError {
  return conflict(
    `the ledger's row of table ${tableLabel(row.table)} is not at version ${row.version} any more: another process has changed it`,
  )
}

export function conflict(message: string): MillraceError {
  return new MillraceError('LedgerConflict', message)
}
