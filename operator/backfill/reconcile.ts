import { TABLE_BACKFILLS } from '../../crds/api.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { type OperatorContext, pipelineKeyOf } from '../context.ts'
import { FIELD_MANAGER } from '../kube/api.ts'
import { JOBS, type Job, within } from '../kube/resources.ts'
import { KEEP_FAILED, KEEP_FINISHED } from '../pods/workloads.ts'
import type { ReconcileResult } from '../runtime/controller.ts'
import { isStatusWritten } from '../status.ts'
import { collectFacts, jobFacts, jobOf, type ScheduleBoard } from './collect.ts'
import { isTerminal, type JobFacts } from './facts.ts'
import { createVerification } from './follow-up.ts'
import { derivePhase, type Outcome } from './phase.ts'
import { ownStatus } from './status.ts'

/** Brings status and Job of one TableBackfill in line with what is; it never starts a Job (see scheduler.ts). */
export async function reconcileBackfill(
  context: OperatorContext,
  board: ScheduleBoard,
  key: string,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const backfill = context.stores.backfills.get(key)
  if (!backfill) return {}
  if (backfill.metadata.deletionTimestamp !== undefined) {
    board.problems.delete(backfill.metadata.uid)
    return {}
  }
  if (isTerminal(backfill.status?.phase)) {
    board.problems.delete(backfill.metadata.uid)
    await tidyUp(context, backfill, signal)
    return {}
  }
  // Its place is not known yet; the scheduler hands it on when it is.
  if (!board.seen.get(pipelineKeyOf(backfill))?.has(backfill.metadata.uid)) return {}
  const outcome = derivePhase(collectFacts(context, board, backfill))
  if (!outcome) return {}
  await changeJob(context, backfill, outcome, signal)
  if (outcome.phase === 'Streaming' && backfill.spec.verify === 'AfterBackfill') {
    await createVerification(context, backfill, signal)
  }
  await writeStatus(context, board, backfill, outcome, signal)
  return {}
}

async function changeJob(
  { kube, stores, log }: OperatorContext,
  backfill: TableBackfill,
  outcome: Outcome,
  signal: AbortSignal,
): Promise<void> {
  const job = jobOf(stores, backfill)
  if (!job || outcome.job === 'keep') return
  const jobs = within(JOBS, backfill.metadata.namespace)
  const { name, uid } = job.metadata
  if (outcome.job === 'suspend') {
    if (job.spec.suspend === true) return
    log.info({ key: name, namespace: backfill.metadata.namespace }, 'Suspending a backfill')
    const suspended = await kube.patch<Job>(jobs, name, { spec: { suspend: true } }, signal)
    if (suspended) stores.jobs.observe(suspended)
    return
  }
  if (job.metadata.deletionTimestamp !== undefined) return
  log.info({ key: name, namespace: backfill.metadata.namespace }, 'Ending a backfill')
  // Foreground: the Job is there until its pods have gone, so its place is taken until then.
  await kube.remove(jobs, name, uid, 'Foreground', signal)
}

async function writeStatus(
  context: OperatorContext,
  board: ScheduleBoard,
  cached: TableBackfill,
  cachedOutcome: Outcome,
  signal: AbortSignal,
): Promise<void> {
  const { kube, stores, events } = context
  const resource = within(TABLE_BACKFILLS, cached.metadata.namespace)
  const { name, uid } = cached.metadata
  let [backfill, outcome] = [cached, cachedOutcome]
  if (isTerminal(outcome.phase)) {
    // An end is for ever, so it is decided on what is there now: the last word of a worker may not have come yet.
    const fresh = await kube.get<TableBackfill>(resource, name, signal)
    if (fresh?.metadata.uid !== uid) return
    stores.backfills.observe(fresh)
    const again = derivePhase(collectFacts(context, board, fresh))
    if (!again) return
    ;[backfill, outcome] = [fresh, again]
  }
  const status = ownStatus(collectFacts(context, board, backfill), outcome, context.now())
  if (isStatusWritten(status, backfill.status, ['copy', 'queue', 'verify'])) return
  const written = await kube.applyStatus<TableBackfill>(resource, name, FIELD_MANAGER, status, signal, uid)
  if (!written) return
  stores.backfills.observe(written)
  if (outcome.phase === backfill.status?.phase) return
  const type = outcome.phase === 'Failed' ? 'Warning' : 'Normal'
  events.record(backfill, type, outcome.phase, 'Progress', outcome.message)
  context.log.info(
    { namespace: backfill.metadata.namespace, backfill: name, phase: outcome.phase, reason: outcome.reason },
    'Backfill moved on',
  )
}

/** The result is recorded: a Job that runs all the same is ended, a finished one may go after a while. */
async function tidyUp(
  { kube, stores }: OperatorContext,
  backfill: TableBackfill,
  signal: AbortSignal,
): Promise<void> {
  const job = jobOf(stores, backfill)
  if (!job || job.metadata.deletionTimestamp !== undefined) return
  const jobs = within(JOBS, backfill.metadata.namespace)
  const facts: JobFacts = jobFacts(job)
  if (!facts.complete && !facts.failed) {
    // A copy that was drained already leaves by itself, unless it was suspended on the way out: nobody would ever resume it.
    if (backfill.status?.phase === 'Streaming' && !facts.suspended) return
    await kube.remove(jobs, job.metadata.name, job.metadata.uid, 'Foreground', signal)
    return
  }
  const wanted = facts.failed ? KEEP_FAILED : KEEP_FINISHED
  if (facts.cleanedUpAfter !== undefined) return
  const patch = { spec: { ttlSecondsAfterFinished: wanted } }
  const patched = await kube.patch<Job>(jobs, job.metadata.name, patch, signal)
  if (patched) stores.jobs.observe(patched)
}
