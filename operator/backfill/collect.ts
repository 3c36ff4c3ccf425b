import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { type OperatorContext, pipelineKeyOf, type Stores, tableKey } from '../context.ts'
import { classifyChild } from '../kube/desired.ts'
import type { Job } from '../kube/resources.ts'
import { jobCondition, newestPod, podProblem } from '../pods/problems.ts'
import { copyJob, copyJobName, isOutdated } from '../pods/workloads.ts'
import type { BackfillFacts, JobFacts, PipelineFacts } from './facts.ts'
import type { Schedule } from './schedule.ts'

/** What the scheduler tells the reconciliation of single backfills. */
export interface ScheduleBoard {
  /** By key of the Pipeline. */
  readonly schedules: Map<string, Schedule>
  /** uids that the schedule of a Pipeline is about, by its key. */
  readonly seen: Map<string, ReadonlySet<string>>
  /** Why a Job could not be made, by uid of the backfill. */
  readonly problems: Map<string, string>
}

export function createScheduleBoard(): ScheduleBoard {
  return { schedules: new Map(), seen: new Map(), problems: new Map() }
}

/** What is known about a TableBackfill, gathered from the caches. */
export function collectFacts(
  { stores, config }: OperatorContext,
  board: ScheduleBoard,
  backfill: TableBackfill,
): BackfillFacts {
  const { uid } = backfill.metadata
  const job = jobOf(stores, backfill)
  const pipeline = stores.pipelines.get(pipelineKeyOf(backfill))
  const wanted = pipeline && copyJob(backfill, pipeline, config.workers)
  const pod = newestPod(stores.pods.by('backfillUid', uid))
  return {
    backfill,
    pipeline: pipelineFacts(pipeline, backfill),
    job: job && jobFacts(job, wanted),
    place: board.schedules.get(pipelineKeyOf(backfill))?.waiting.get(uid),
    podProblem: board.problems.get(uid) ?? (pod && podProblem(pod)),
    podFailed: pod?.status?.phase === 'Failed',
  }
}

export function pipelineFacts(
  pipeline: Pipeline | undefined,
  backfill: TableBackfill,
): PipelineFacts | undefined {
  if (!pipeline) return undefined
  const wanted = tableKey(backfill.spec.table)
  return {
    state: pipeline.spec.state,
    deleting: pipeline.metadata.deletionTimestamp !== undefined,
    listed: pipeline.spec.tables.some((table) => tableKey(table) === wanted),
  }
}

/** The Job of exactly this TableBackfill, not of one that had its name before. */
export function jobOf(stores: Stores, backfill: TableBackfill): Job | undefined {
  const { namespace, name } = backfill.metadata
  const job = stores.jobs.get(`${namespace}/${copyJobName(name)}`)
  return job && classifyChild(job, backfill) === 'ours' ? job : undefined
}

export function jobFacts(job: Job, wanted?: ReturnType<typeof copyJob>): JobFacts {
  const failed = jobCondition(job, 'Failed')
  const complete = jobCondition(job, 'Complete') !== undefined
  const { status } = job
  const suspended = job.spec.suspend === true
  const settled = status?.conditions?.some((one) => String(one.type) === 'Suspended' && one.status === 'True')
  const podsLeft = (status?.active ?? 0) + (status?.terminating ?? 0) > 0
  return {
    suspended,
    deleting: job.metadata.deletionTimestamp !== undefined,
    // One that was just made, or just suspended, has a status that does not say so yet.
    active: podsLeft || (!complete && !failed && !(suspended && settled === true)),
    complete,
    failed: failed && {
      reason: failed.reason ?? '',
      message: failed.message ?? failed.reason ?? 'the Job failed',
    },
    failures: status?.failed ?? 0,
    cleanedUpAfter: job.spec.ttlSecondsAfterFinished,
    outdated: wanted !== undefined && isOutdated(job, wanted),
  }
}
