import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { tableKey } from '../context.ts'
import { INITIAL } from '../labels.ts'
import { pipelineFacts } from './collect.ts'
import { isCalledOff, isCopied, isHeld, isTerminal, isVerification, type JobFacts } from './facts.ts'
import type { Candidate } from './schedule.ts'

/** A TableBackfill as the schedule sees it. */
export function candidateOf(
  backfill: TableBackfill,
  pipeline: Pipeline | undefined,
  job: JobFacts | undefined,
): Candidate {
  return {
    uid: backfill.metadata.uid,
    name: backfill.metadata.name,
    table: tableKey(backfill.spec.table),
    initial: backfill.metadata.labels?.[INITIAL] === 'true',
    created: Date.parse(backfill.metadata.creationTimestamp),
    state: stateOf(backfill, pipeline, job),
    ownsTable: ownsTable(backfill, pipeline, job),
  }
}

function stateOf(
  backfill: TableBackfill,
  pipeline: Pipeline | undefined,
  job: JobFacts | undefined,
): Candidate['state'] {
  const facts = pipelineFacts(pipeline, backfill)
  // It takes no place, but begins in its turn.
  if (isVerification(backfill) && job !== undefined && !job.suspended) return 'apart'
  const { phase } = backfill.status ?? {}
  const ended = mayShowWork(backfill, job) ? 'running' : 'apart'
  // A place is taken until the last pod has gone; but the copy's end is enough (rule R9).
  if (isCopied(backfill, job)) return ended
  if (job?.active) return 'running'
  if (isTerminal(phase) || backfill.metadata.deletionTimestamp !== undefined) return 'apart'
  if (backfill.status?.queue?.state === 'Closed' || isCalledOff(backfill, facts)) return ended
  if (!facts?.listed || backfill.spec.suspend) return 'apart'
  return job?.complete || job?.failed || job?.deleting ? ended : 'waiting'
}

function ownsTable(
  backfill: TableBackfill,
  pipeline: Pipeline | undefined,
  job: JobFacts | undefined,
): boolean {
  if (isVerification(backfill)) return false
  if (isCopied(backfill, job)) return mayShowWork(backfill, job)
  if (job?.active) return true
  if (isTerminal(backfill.status?.phase)) return false
  if (backfill.status?.queue?.state === 'Closed') return mayShowWork(backfill, job)
  if (isHeld(backfill)) return true
  return job !== undefined && !isCalledOff(backfill, pipelineFacts(pipeline, backfill))
}

/**
 * Whoever counts the phases must never count more than the limit, nor two of one table: so places and tables are free only once
 * the status says so. While there is a Job, a status that is late may yet say that it works.
 */
function mayShowWork(backfill: TableBackfill, job: JobFacts | undefined): boolean {
  const { phase = 'Queued' } = backfill.status ?? {}
  if (phase === 'Draining' || isTerminal(phase)) return false
  return phase === 'Preparing' || phase === 'Backfilling' || (job !== undefined && !isVerification(backfill))
}
