import type { BackfillPhase, CopyStage, SucceededReason } from '../../crds/api.ts'
import {
  type BackfillFacts,
  isCalledOff,
  isCopied,
  isHeld,
  isSuspended,
  isTerminal,
  isVerification,
  type JobFacts,
} from './facts.ts'

/** Where a TableBackfill stands, and what has to be done with its Job for that. */
export interface Outcome {
  readonly phase: BackfillPhase
  readonly succeeded: 'True' | 'False' | 'Unknown'
  readonly reason: SucceededReason
  /** For a person: what it waits for, or how it ended. */
  readonly message: string
  /** What the Job needs; starting it is the scheduler's decision alone. */
  readonly job: 'keep' | 'delete' | 'suspend'
}

/** Codes with which apply closes a backfill because changes are missing in the queue (rule R22). */
const GAP_CODES: ReadonlySet<string> = new Set([
  'SlotLost',
  'QueueLost',
  'SourceChanged',
  'PublicationChanged',
  'LedgerChanged',
  'DestinationChanged',
])

/** Reason of a failed Job condition when podFailurePolicy saw the exit code for wrong input. */
const POD_FAILURE_POLICY = 'PodFailurePolicy'

const STAGES: Readonly<Record<CopyStage, string>> = {
  Connecting: 'connecting to source and destination',
  WaitingForPublication: 'waiting until the table is in the publication',
  WaitingForWriters: 'waiting for transactions that wrote to the table before it joined',
  Holding: 'waiting until apply has come to the hold',
  WaitingForReplay: 'waiting until the server that is read has everything up to the hold',
  ActingOnDestination: 'preparing the destination table',
  Planning: 'planning the chunks',
  Copying: 'copying',
  Releasing: 'all chunks copied, writing the release',
  Done: 'copied',
  Verifying: 'comparing with the source',
}

/**
 * The phase follows from facts alone; undefined when it is final already. Order matters: what is copied stays copied
 * whatever comes later (rule R5), then how it ended, then what it waits for.
 */
export function derivePhase(facts: BackfillFacts): Outcome | undefined {
  const { backfill, job } = facts
  if (isTerminal(backfill.status?.phase)) return undefined
  if (isVerification(backfill)) return deriveVerification(facts)
  if (isCopied(backfill, job)) return copied(facts)
  if (backfill.status?.queue?.state === 'Closed') return closed(facts)
  if (isCalledOff(backfill, facts.pipeline)) return calledOff(facts)
  if (job?.failed) return failed(facts, job.failed, job.failures)
  return unfinished(facts)
}

function deriveVerification(facts: BackfillFacts): Outcome {
  const { backfill, job } = facts
  const {
    result,
    rowsDifferent = 0,
    rowsCompared = 0,
    rowsUndecided = 0,
    examples = [],
  } = backfill.status?.verify ?? {}
  const undecided = rowsUndecided > 0 ? `; ${rowsUndecided} rows changed too often to be compared` : ''
  if (result === 'Equal') {
    const message = `${rowsCompared} rows compared, none differs${undecided}`
    return ended('Verified', 'True', 'Equal', message, 'keep')
  }
  if (result === 'Different') {
    const shown = examples.slice(0, 5).map(({ key, kind }) => `${key} (${kind})`)
    const message = `${rowsDifferent} of ${rowsCompared} rows differ, such as ${shown.join(', ')}${undecided}: create a TableBackfill; with destinationTable Truncate it also removes extra rows`
    return ended('Verified', 'False', 'Different', message, 'keep')
  }
  if (isCalledOff(backfill, facts.pipeline)) {
    if (job)
      return {
        ...going('Verifying', 'Cancelled', 'cancelled; waiting until its pod has ended'),
        job: 'delete',
      }
    return ended('Cancelled', 'False', 'Cancelled', 'cancelled: nothing was changed', 'delete')
  }
  if (job?.failed) return failed(facts, job.failed, job.failures)
  if (job?.complete) {
    const message = 'the comparison ended without telling what it has found: create another TableBackfill'
    return ended('Failed', 'False', 'BackoffLimitExceeded', message, 'keep')
  }
  const outcome = unfinished(facts)
  if (outcome.phase !== 'Preparing') return outcome
  return {
    ...outcome,
    phase: 'Verifying',
    reason: outcome.reason === 'Preparing' ? 'Verifying' : outcome.reason,
  }
}

function copied(facts: BackfillFacts): Outcome {
  const { backfill, pipeline } = facts
  const queue = backfill.status?.queue
  if (queue?.state === 'Drained') {
    return ended('Streaming', 'True', 'Drained', 'copied and drained: the table streams', 'keep')
  }
  if (!pipeline || pipeline.deleting) {
    const message = 'copied, but the Pipeline was deleted before the changes in the queue were applied'
    return ended('Cancelled', 'False', 'PipelineGone', message, 'delete')
  }
  const idle = pipeline.state !== 'Running' ? `; spec.state of the Pipeline is ${pipeline.state}` : ''
  const message = queue?.message || `copied; apply works through the changes that gathered${idle}`
  return going('Draining', 'Draining', message)
}

function closed(facts: BackfillFacts): Outcome {
  const { backfill, pipeline } = facts
  if (isCalledOff(backfill, pipeline)) return calledOff(facts)
  const { code, message } = backfill.status?.queue ?? {}
  const reason: SucceededReason = GAP_CODES.has(code ?? '') ? 'GapInQueue' : 'TableStopped'
  return ended('Failed', 'False', reason, message || `apply ended it: ${code ?? 'no reason given'}`, 'delete')
}

function calledOff(facts: BackfillFacts): Outcome {
  const { backfill, pipeline, job } = facts
  const phase = backfill.status?.phase ?? 'Queued'
  const goingAway = (message: string): Outcome => ({ ...going(phase, 'Cancelled', message), job: 'delete' })
  if (job) return goingAway('cancelled; waiting until its pod has ended')
  // Apply ends the hold, and may yet find that the copy was finished first.
  const applies =
    pipeline !== undefined && !pipeline.deleting && pipeline.state === 'Running' && pipeline.listed
  if (isHeld(backfill) && applies) return goingAway('cancelled; waiting until apply has ended the hold')

  const cancel = (reason: SucceededReason, message: string) =>
    ended('Cancelled', 'False', reason, message, 'delete')
  if (backfill.spec.cancel) return cancel('Cancelled', cancelledMessage(facts))
  if (!pipeline || pipeline.deleting)
    return cancel('PipelineGone', 'cancelled, because its Pipeline was deleted')
  return cancel(
    'TableNotInPipeline',
    'cancelled, because the table was removed from spec.tables of the Pipeline',
  )
}

function cancelledMessage({ backfill }: BackfillFacts): string {
  const began = backfill.status?.startTime !== undefined
  if (!began) return 'cancelled before it began'
  const complete = backfill.status?.queue?.historyComplete
  const history = complete === true ? 'complete, as before' : 'incomplete'
  return `cancelled: the table goes on from the queue, and its history in the destination is ${history}`
}

function failed(facts: BackfillFacts, why: NonNullable<JobFacts['failed']>, failures: number): Outcome {
  const last = facts.backfill.status?.copy?.failed?.message ?? facts.podProblem ?? why.message
  if (why.reason === POD_FAILURE_POLICY) {
    return ended(
      'Failed',
      'False',
      'InvalidInput',
      `${last}; create another TableBackfill after mending it`,
      'keep',
    )
  }
  const message = `gave up after ${failures} failed attempts; the last: ${last}`
  return ended('Failed', 'False', 'BackoffLimitExceeded', message, 'keep')
}

function unfinished(facts: BackfillFacts): Outcome {
  const { backfill, pipeline, job, place } = facts
  const { pipelineRef, table } = backfill.spec
  if (!pipeline) {
    const message = `spec.pipelineRef.name: there is no Pipeline ${JSON.stringify(pipelineRef.name)} in this namespace: create it, or delete this and name another`
    return going('Queued', 'PipelineNotFound', message)
  }
  if (!pipeline.listed) {
    const message = `spec.table: ${table.schema}.${table.name} is not in spec.tables of Pipeline ${pipelineRef.name}: add it there`
    return going('Queued', 'TableNotInPipeline', message)
  }
  // Said once it stays so: an apply that was replaced may still write what it had read of the ledger before the hold.
  const isCopying = isHeld(backfill) || backfill.status?.phase === 'Backfilling'
  const phase = isCopying ? 'Backfilling' : job ? 'Preparing' : 'Queued'
  if (isSuspended(backfill, pipeline)) {
    const why = backfill.spec.suspend
      ? 'spec.suspend is true'
      : `spec.state of the Pipeline is ${pipeline.state}`
    const held = isHeld(backfill) ? '; the table stays held, its changes gather in the queue' : ''
    return { ...going(phase, 'Suspended', `suspended, because ${why}${held}`), job: job ? 'suspend' : 'keep' }
  }
  if (!job || job.suspended) {
    return going(phase, phase, waitingMessage(facts, place))
  }
  // A pod that works is left alone; one that cannot gets what was mended meanwhile. The copy goes on from its chunks.
  if (job.outdated && (facts.podProblem !== undefined || facts.podFailed)) {
    const message = 'starting anew, because spec.podTemplate of the Pipeline or the image has changed'
    return { ...going(phase, phase, message), job: 'delete' }
  }
  return going(phase, phase, workingMessage(facts))
}

function waitingMessage({ job }: BackfillFacts, place: BackfillFacts['place']): string {
  const what = job ? 'waiting to go on' : 'waiting'
  // The schedule has not looked at it yet. A Job that is suspended may have to wait, and must not count as one that runs.
  if (!place) return job ? what : 'starting'
  const line = `${what} at position ${place.position} of the queue`
  return place.behind ? `${line}; TableBackfill ${place.behind} of the same table has to end first` : line
}

function workingMessage({ backfill, job, podProblem, podFailed }: BackfillFacts): string {
  const copy = backfill.status?.copy
  const failures = job?.failures ?? 0
  if (podFailed) {
    const why = copy?.failed?.message ?? podProblem ?? 'no reason given'
    return `attempt ${Math.max(1, failures)} failed, another follows: ${why}`
  }
  const attempt = failures > 0 ? `attempt ${failures + 1}: ` : ''
  // A pod that cannot run says nothing itself: what stands in status.copy is then an older pod's word.
  if (podProblem) return `${attempt}${podProblem}`
  if (copy?.message) return `${attempt}${copy.message}`
  if (copy?.stage) return `${attempt}${STAGES[copy.stage]}`
  return `${attempt}waiting for its pod to start`
}

function going(phase: BackfillPhase, reason: SucceededReason, message: string): Outcome {
  return { phase, succeeded: 'Unknown', reason, message, job: 'keep' }
}

function ended(
  phase: BackfillPhase,
  succeeded: 'True' | 'False',
  reason: SucceededReason,
  message: string,
  job: Outcome['job'],
): Outcome {
  return { phase, succeeded, reason, message, job }
}
