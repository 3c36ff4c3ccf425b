import type { TableBackfill, TableBackfillStatus } from '../../crds/table-backfill.ts'
import { cut, setConditions, timestamp } from '../conditions.ts'
import type { BackfillFacts } from './facts.ts'
import { isCopied, isHeld, isTerminal } from './facts.ts'
import type { Outcome } from './phase.ts'

/** The operator's part of a TableBackfill's status. */
export type OwnStatus = Omit<TableBackfillStatus, 'copy' | 'queue' | 'verify'>

export function ownStatus(facts: BackfillFacts, outcome: Outcome, now: Date): OwnStatus {
  const { backfill, job, place } = facts
  const before = backfill.status ?? {}
  const at = timestamp(now)
  const progress = progressOf(backfill, isCopied(backfill, job))
  const failures = Math.max(before.failures ?? 0, job?.failures ?? 0)
  const waits = !isTerminal(outcome.phase) && place !== undefined
  const startTime = before.startTime ?? (job && !job.suspended ? at : undefined)
  const heldTime = before.heldTime ?? (isHeld(backfill) ? at : undefined)
  const copiedTime = before.copiedTime ?? (isCopied(backfill, job) ? at : undefined)
  const completionTime = isTerminal(outcome.phase) ? (before.completionTime ?? at) : undefined
  return {
    observedGeneration: backfill.metadata.generation,
    phase: outcome.phase,
    message: cut(outcome.message),
    conditions: setConditions(
      [{ type: 'Succeeded', status: outcome.succeeded, reason: outcome.reason, message: outcome.message }],
      before.conditions,
      backfill.metadata.generation,
      now,
    ),
    ...(progress !== undefined && { progress }),
    ...(waits && { queuePosition: place.position }),
    ...(failures > 0 && { failures }),
    ...(startTime !== undefined && { startTime }),
    ...(heldTime !== undefined && { heldTime }),
    ...(copiedTime !== undefined && { copiedTime }),
    ...(completionTime !== undefined && { completionTime }),
  }
}

/** `63%`; by chunks once there is a plan, and never 100 before all is copied. */
export function progressOf(backfill: TableBackfill, copied: boolean): string | undefined {
  const { result, rangesDone = 0, rangesTotal } = backfill.status?.verify ?? {}
  if (copied || result !== undefined) return '100%'
  if (rangesTotal) return `${Math.min(99, Math.floor((rangesDone / rangesTotal) * 100))}%`
  const { chunksDone, chunksTotal, rowsCopied, rowsEstimated } = backfill.status?.copy ?? {}
  const share =
    chunksTotal !== undefined && chunksTotal > 1
      ? (chunksDone ?? 0) / chunksTotal
      : rowsEstimated !== undefined && rowsEstimated > 0
        ? (rowsCopied ?? 0) / rowsEstimated
        : undefined
  return share === undefined ? undefined : `${Math.min(99, Math.floor(share * 100))}%`
}
