import type { CaptureStatus } from '../../crds/pipeline.ts'

/** What deleting a Pipeline needs next. A pure function of what is there, so that a restart in between changes nothing. */

export interface DeletionFacts {
  readonly policy: 'Delete' | 'Retain'
  /** Slot or publication may exist in the source. */
  readonly mayHaveSlot: boolean
  readonly deployments: number
  /** apply is there, or can be started, and has reported tables that it has not given free yet. */
  readonly applyOwnsTables: boolean
  /** TableBackfills that belong to it. */
  readonly ownBackfills: number
  /** Jobs of any backfill of it that have not ended. */
  readonly backfillJobs: number
  /** Pods of capture, apply and backfills that have not gone. */
  readonly pods: number
  readonly cleanup: 'none' | 'running' | 'succeeded' | 'failed'
  /** Its namespace is going too: nothing new can be made there. */
  readonly namespaceTerminating: boolean
  /** Since it was marked for deletion, milliseconds. */
  readonly elapsed: number
  /** How long slot and publication may take, milliseconds. */
  readonly deadline: number
}

export type DeletionStep =
  /** `keepApply`: all but the apply Deployment. */
  | { readonly do: 'remove-children'; readonly keepApply: boolean; readonly waitsFor: string }
  | { readonly do: 'wait'; readonly waitsFor: string }
  | { readonly do: 'start-cleanup'; readonly waitsFor: string }
  | { readonly do: 'restart-cleanup'; readonly waitsFor: string }
  /** The finalizer goes. `leftBehind`: slot and publication could not be dropped, and why. */
  | { readonly do: 'finish'; readonly leftBehind: string | undefined }

/** With these, capture did not even get a connection. */
const NOT_CONNECTED: ReadonlySet<string> = new Set([
  'SecretMissing',
  'HostUnreachable',
  'TLSFailed',
  'AuthenticationFailed',
  'DatabaseNotFound',
])

/**
 * Whether capture may have made a slot, by what it has reported. It reports the slot a moment after it made it, so in doubt
 * the answer is yes; but a Pipeline with a wrong address must not wait for a cleanup that cannot succeed.
 */
export function mayHaveSlot(capture: CaptureStatus | undefined): boolean {
  if (!capture) return false
  if (capture.slot !== undefined || capture.systemIdentifier !== undefined) return true
  return !capture.problems?.some(({ component, code }) => component === 'Source' && NOT_CONNECTED.has(code))
}

/** Pods of a node that does not answer never end; their connection to the source does. */
const POD_PATIENCE = 300_000

/** How long apply may take to end holds and to give the destination tables free for another Pipeline. */
const RELEASE_PATIENCE = 30_000

export function nextDeletionStep(facts: DeletionFacts): DeletionStep {
  if (facts.deployments + facts.ownBackfills > 0) {
    const keepApply = facts.applyOwnsTables && facts.elapsed < RELEASE_PATIENCE
    const waitsFor = keepApply
      ? 'apply to give the destination tables free'
      : 'capture, apply and backfills to be removed'
    return { do: 'remove-children', keepApply, waitsFor }
  }
  if (facts.backfillJobs > 0 && facts.elapsed < POD_PATIENCE) {
    return { do: 'wait', waitsFor: `${facts.backfillJobs} backfill Jobs to end` }
  }
  if (facts.pods > 0 && facts.elapsed < POD_PATIENCE) {
    return { do: 'wait', waitsFor: `${facts.pods} pods to end` }
  }
  if (facts.policy === 'Retain' || !facts.mayHaveSlot || facts.cleanup === 'succeeded') {
    return { do: 'finish', leftBehind: undefined }
  }
  if (facts.namespaceTerminating && facts.cleanup !== 'running') {
    return { do: 'finish', leftBehind: 'the namespace is being deleted, so that no Job can be started in it' }
  }
  if (facts.elapsed >= facts.deadline) {
    return {
      do: 'finish',
      leftBehind: `they could not be dropped within ${Math.round(facts.deadline / 1000)} s`,
    }
  }
  const waitsFor = 'slot and publication to be dropped in the source'
  if (facts.cleanup === 'none') return { do: 'start-cleanup', waitsFor }
  if (facts.cleanup === 'failed') return { do: 'restart-cleanup', waitsFor }
  return { do: 'wait', waitsFor }
}
