import type { BackfillPhase } from '../../crds/api.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { Place } from './schedule.ts'

/** Everything that the phase of a TableBackfill follows from. */
export interface BackfillFacts {
  readonly backfill: TableBackfill
  readonly pipeline: PipelineFacts | undefined
  readonly job: JobFacts | undefined
  /** Where it stands in the line; undefined when it does not wait. */
  readonly place: Place | undefined
  /** What keeps its pod from running, in words. */
  readonly podProblem: string | undefined
  /** Its newest pod has failed: the Job makes another after a while. */
  readonly podFailed: boolean
}

export interface PipelineFacts {
  readonly state: 'Running' | 'Paused' | 'Stopped'
  readonly deleting: boolean
  /** The table is in spec.tables. */
  readonly listed: boolean
}

export interface JobFacts {
  readonly suspended: boolean
  readonly deleting: boolean
  /** A pod of it runs or has not gone yet. */
  readonly active: boolean
  readonly complete: boolean
  readonly failed: { readonly reason: string; readonly message: string } | undefined
  /** Attempts that failed. */
  readonly failures: number
  readonly cleanedUpAfter: number | undefined
  /** Its pods are not what the Pipeline says today. */
  readonly outdated?: boolean
}

const TERMINAL: ReadonlySet<BackfillPhase | undefined> = new Set<BackfillPhase | undefined>([
  'Streaming',
  'Verified',
  'Cancelled',
  'Failed',
])

/** It only compares: nothing is held or copied, so it has no part in the order of backfills. */
export function isVerification(backfill: Pick<TableBackfill, 'spec'>): boolean {
  return backfill.spec.verify === 'Only'
}

export function isTerminal(phase: BackfillPhase | undefined): boolean {
  return TERMINAL.has(phase)
}

/** All chunks are durable; from here on a cancel or a failure changes nothing (rule R5). */
export function isCopied(backfill: TableBackfill, job: JobFacts | undefined): boolean {
  if (isVerification(backfill)) return false
  const { phase, copy, queue } = backfill.status ?? {}
  // Changes that the copy builds on were lost before it was drained: then it was in vain.
  if (queue?.state === 'Closed') return false
  // Said once it stays so: a pod that was taken for dead and another of the same Job both write how far they are.
  return (
    phase === 'Draining' ||
    queue?.state === 'Copied' ||
    queue?.state === 'Drained' ||
    copy?.stage === 'Done' ||
    job?.complete === true
  )
}

/** The table is held for it: what is copied now counts. */
export function isHeld(backfill: TableBackfill): boolean {
  return backfill.status?.queue?.state === 'Held'
}

/** Whether it may run as far as a person has a say. */
export function isSuspended(backfill: TableBackfill, pipeline: PipelineFacts | undefined): boolean {
  return backfill.spec.suspend || (pipeline !== undefined && pipeline.state !== 'Running')
}

/** It was told to end: cancelled, or what it belongs to is gone. */
export function isCalledOff(backfill: TableBackfill, pipeline: PipelineFacts | undefined): boolean {
  if (backfill.spec.cancel || pipeline?.deleting === true) return true
  // One that has not begun waits for its Pipeline, or for its table to be listed.
  const begun = backfill.status?.startTime !== undefined
  return begun && (pipeline === undefined || !pipeline.listed)
}
