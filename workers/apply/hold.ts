import type { BackfillPhase } from '../../crds/api.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { ErrorCode } from '../../lib/errors.ts'
import type { LedgerBackfill, LedgerTable } from '../destination/ledger.ts'
import type { HoldLine } from '../queue/format.ts'
import { tableLabel } from '../source/table.ts'

/** Why a backfill ends without success. */
export interface Ending {
  readonly code: ErrorCode
  readonly message: string
}

/** What to do at a hold. */
export type HoldVerdict =
  | { readonly do: 'hold' }
  | { readonly do: 'pass' }
  | { readonly do: 'close'; readonly why: Ending }

/** What the Pipeline says about a table, as last seen. */
export interface Scope {
  /** The table is in spec.tables. */
  readonly listed: boolean
  /** The Pipeline is being deleted, or gone. */
  readonly deleting: boolean
  /** Capture has it in the publication, as far as it has reported. */
  readonly published: boolean
}

/**
 * Whether the ledger alone decides about a hold: it knows the backfill already. A copy of a hold changes nothing (rule R4).
 * Undefined: the API server has to be asked.
 */
export function judgeKnownHold(
  backfill: LedgerBackfill | undefined,
  table: LedgerTable,
): HoldVerdict | undefined {
  if (!backfill) return undefined
  return backfill.state === 'held' && table.heldBy === backfill.uid ? { do: 'hold' } : { do: 'pass' }
}

/**
 * What to do at the hold of a backfill that the ledger does not know (rule R8).
 *
 * @param object what the API server answers at this moment, never a cache: undefined = there is none of that name
 */
export function judgeHold(
  hold: Pick<HoldLine, 'uid' | 'name' | 'action'>,
  object: TableBackfill | undefined,
  table: LedgerTable,
  scope: Scope,
): HoldVerdict {
  const over = whyOver(hold, object, scope)
  if (over) return { do: 'close', why: over }
  if (hold.action !== 'DoNothing') return { do: 'hold' }
  const label = tableLabel(table.table)
  if (table.state === 'stopped') {
    return refuse(
      `table ${label} has stopped (${table.stopCode}: ${table.stopMessage}), and changes behind that were left out: only a TableBackfill with destinationTable Truncate or Drop mends it`,
    )
  }
  if (table.needsEmptying) {
    return refuse(
      `changes of table ${label} were lost, so that rows may be in the destination that the source has deleted: only a TableBackfill with destinationTable Truncate or Drop removes them`,
    )
  }
  return { do: 'hold' }
}

const OVER: ReadonlySet<BackfillPhase> = new Set(['Draining', 'Streaming', 'Verified', 'Cancelled', 'Failed'])

/** Why a backfill that has not copied everything yet is over; undefined while it is not. */
export function whyOver(
  backfill: { readonly uid: string; readonly name: string },
  object: TableBackfill | undefined,
  scope: Scope,
): Ending | undefined {
  const name = `TableBackfill ${backfill.name}`
  const over = (message: string): Ending => ({ code: 'Cancelled', message })
  if (scope.deleting) return over('the Pipeline was deleted')
  if (!scope.listed) return over('the table was removed from spec.tables of the Pipeline')
  if (!object || object.metadata.uid !== backfill.uid) return over(`${name} was deleted`)
  if (object.metadata.deletionTimestamp !== undefined) return over(`${name} is being deleted`)
  if (object.spec.cancel) return over(`${name} was cancelled`)
  const phase = object.status?.phase
  // Of one that is copied, or more, the ledger has forgotten that it was held: nobody will copy it again.
  if (phase !== undefined && OVER.has(phase)) return over(`${name} has ended: ${phase}`)
  return undefined
}

function refuse(message: string): HoldVerdict {
  return { do: 'close', why: { code: 'ActionRefused', message } }
}
