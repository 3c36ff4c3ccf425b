import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { toMillraceError } from '../../lib/errors.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { assertOurs } from '../children.ts'
import { type OperatorContext, tableKey } from '../context.ts'
import { JOBS, type Job, within } from '../kube/resources.ts'
import { copyJob } from '../pods/workloads.ts'
import type { ReconcileResult } from '../runtime/controller.ts'
import { keyOf } from '../runtime/store.ts'
import { candidateOf } from './candidates.ts'
import { jobFacts, jobOf, type ScheduleBoard } from './collect.ts'
import { isTerminal } from './facts.ts'
import { type Schedule, schedule } from './schedule.ts'

/**
 * Starts the backfills of one Pipeline, as many as may run. It alone starts Jobs, and one call at a time per Pipeline, so that
 * the limit holds; what it started is in the cache before it looks again.
 *
 * @param onMoved called with each TableBackfill of which the place has changed
 */
export async function schedulePipeline(
  context: OperatorContext,
  board: ScheduleBoard,
  key: string,
  onMoved: (backfillKey: string) => void,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const { stores } = context
  const pipeline = stores.pipelines.get(key)
  const backfills = stores.backfills.by('pipeline', key)
  const plan = scheduleOf(context, pipeline, backfills)
  const moved = publish(board, key, backfills, plan)

  let failure: unknown
  for (const uid of plan.start) {
    const backfill = backfills.find((one) => one.metadata.uid === uid)
    if (!backfill || !pipeline) continue
    try {
      await start(context, backfill, pipeline, signal)
      board.problems.delete(uid)
    } catch (error) {
      signal.throwIfAborted()
      // The others must not wait for one that cannot be started.
      failure ??= error
      board.problems.set(uid, `its Job cannot be started: ${toMillraceError(error).message}`)
    }
    onMoved(keyOf(backfill))
  }
  // Those that have left the line first, then from its front to its end: no two say that they stand in the same place.
  for (const backfill of inLine(moved, plan)) onMoved(keyOf(backfill))
  if (failure !== undefined) throw failure
  return {}
}

function scheduleOf(
  { stores }: OperatorContext,
  pipeline: Pipeline | undefined,
  backfills: readonly TableBackfill[],
): Schedule {
  return schedule({
    limit: pipeline?.spec.backfill.maxConcurrentTables ?? 0,
    open: pipeline?.spec.state === 'Running' && pipeline.metadata.deletionTimestamp === undefined,
    tables: pipeline?.spec.tables.map(tableKey) ?? [],
    candidates: backfills.map((backfill) => {
      const job = jobOf(stores, backfill)
      return candidateOf(backfill, pipeline, job && jobFacts(job))
    }),
  })
}

/** Those whose place has changed, or is told for the first time. */
function publish(
  board: ScheduleBoard,
  key: string,
  backfills: readonly TableBackfill[],
  plan: Schedule,
): TableBackfill[] {
  const [before, seen] = [board.schedules.get(key), board.seen.get(key)]
  if (backfills.length === 0) {
    board.schedules.delete(key)
    board.seen.delete(key)
  } else {
    board.schedules.set(key, plan)
    board.seen.set(key, new Set(backfills.map((backfill) => backfill.metadata.uid)))
  }
  return backfills.filter(({ metadata: { uid }, status }) => {
    const [was, is] = [before?.waiting.get(uid), plan.waiting.get(uid)]
    const unseen = seen?.has(uid) !== true && !isTerminal(status?.phase)
    return unseen || was?.position !== is?.position || was?.behind !== is?.behind
  })
}

function inLine(backfills: readonly TableBackfill[], { waiting }: Schedule): TableBackfill[] {
  const place = ({ metadata }: TableBackfill) => waiting.get(metadata.uid)?.position ?? 0
  return backfills.toSorted((a, b) => place(a) - place(b))
}

async function start(
  context: OperatorContext,
  backfill: TableBackfill,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<void> {
  const { kube, stores, config, events, log } = context
  const { namespace, name } = backfill.metadata
  const jobs = within(JOBS, namespace)
  const present = jobOf(stores, backfill)
  if (present) {
    const resumed = await kube.patch<Job>(jobs, present.metadata.name, { spec: { suspend: false } }, signal)
    if (resumed) stores.jobs.observe(resumed)
    log.info({ namespace, backfill: name }, 'Resumed a backfill')
    return
  }
  const desired = copyJob(backfill, pipeline, config.workers)
  try {
    stores.jobs.observe(await kube.create<Job>(jobs, desired, signal))
  } catch (error) {
    if (rejectionOf(error)?.status !== 409) throw error
    const live = await kube.get<Job>(jobs, desired.metadata.name, signal)
    if (!live) throw error
    assertOurs(live, backfill, JOBS)
    stores.jobs.observe(live)
    return
  }
  log.info({ namespace, backfill: name, job: desired.metadata.name }, 'Started a backfill')
  events.record(backfill, 'Normal', 'Started', 'Start', `Job ${desired.metadata.name} created`)
}
