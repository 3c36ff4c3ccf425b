import { PIPELINES, TABLE_BACKFILLS } from '../../crds/api.ts'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { KubeObject } from '../../lib/kube/api.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { applyChild, assertOurs } from '../children.ts'
import type { OperatorContext } from '../context.ts'
import { classifyChild } from '../kube/desired.ts'
import {
  DEPLOYMENTS,
  type Deployment,
  JOBS,
  type Job,
  NAMESPACES,
  ROLE_BINDINGS,
  SERVICE_ACCOUNTS,
  within,
} from '../kube/resources.ts'
import { deploymentState, jobCondition, livePods } from '../pods/problems.ts'
import { applyName, cleanupJob, cleanupName, pipelineChildren } from '../pods/workloads.ts'
import { keyOf } from '../runtime/store.ts'
import { problemsOf } from './conditions.ts'
import { type DeletionFacts, mayHaveSlot, nextDeletionStep } from './deletion.ts'
import { hasFinalizer, removeFinalizer } from './finalizer.ts'

const POLL = 5_000

/**
 * Takes a Pipeline apart: first what writes into the source's slot, then the slot, then the finalizer. Returns what it waits
 * for, for the status; undefined when it is done.
 */
export async function deletePipeline(
  context: OperatorContext,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<{ waitsFor: string; again: number } | undefined> {
  if (!hasFinalizer(pipeline)) return undefined
  const { events, log } = context
  const step = nextDeletionStep(await deletionFacts(context, pipeline, signal))
  switch (step.do) {
    case 'remove-children':
      await removeChildren(context, pipeline, step.keepApply, signal)
      break
    case 'start-cleanup':
      await startCleanup(context, pipeline, signal)
      break
    case 'restart-cleanup':
      await removeCleanup(context, pipeline, signal)
      break
    case 'finish': {
      const note =
        step.leftBehind === undefined
          ? await whyLeftAlone(context, pipeline, signal)
          : leftBehindNote(pipeline, step.leftBehind)
      if (note !== undefined) {
        log.error({ pipeline: keyOf(pipeline) }, note)
        events.record(pipeline, 'Warning', 'SlotLeftBehind', 'Delete', note)
      }
      await removeFinalizer(context, pipeline, signal)
      return undefined
    }
    case 'wait':
      break
  }
  const problem = step.do === 'wait' ? cleanupProblem(pipeline) : undefined
  const waitsFor = `being deleted; waiting for ${step.waitsFor}${problem ? `: ${problem}` : ''}`
  return { waitsFor, again: POLL }
}

async function deletionFacts(
  { stores, kube, config, now }: OperatorContext,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<DeletionFacts> {
  const { uid, namespace } = pipeline.metadata
  const cleanup = cleanupOf(pipeline, stores.jobs.by('pipelineUid', uid))
  // One that has ended makes no more pods. That of a person's TableBackfill stays with it, for its logs.
  const isOver = (job: Job) =>
    jobCondition(job, 'Complete') !== undefined || jobCondition(job, 'Failed') !== undefined
  const jobs = stores.jobs.by('pipelineUid', uid).filter((job) => job !== cleanup && !isOver(job))
  const pods = livePods(stores.pods.by('pipelineUid', uid)).filter(
    (pod) => pod.metadata.labels?.['app.kubernetes.io/component'] !== 'cleanup',
  )
  const apply = stores.deployments.get(`${namespace}/${applyName(pipeline.metadata.name)}`)
  const live = await kube.get<KubeObject & { status?: { phase?: string } }>(NAMESPACES, namespace, signal)
  const isTerminating = live === undefined || live.status?.phase === 'Terminating'
  return {
    policy: pipeline.spec.deletionPolicy,
    mayHaveSlot: mayHaveSlot(pipeline.status?.capture),
    deployments: stores.deployments.by('pipelineUid', uid).length,
    applyOwnsTables: mayGiveFree(apply, isTerminating) && (pipeline.status?.apply?.tables?.length ?? 0) > 0,
    ownBackfills: ownBackfills(stores, pipeline).length,
    backfillJobs: jobs.length,
    pods: pods.length,
    cleanup: cleanup === undefined ? 'none' : cleanupState(cleanup),
    namespaceTerminating: isTerminating,
    elapsed: now().getTime() - Date.parse(pipeline.metadata.deletionTimestamp ?? ''),
    deadline: config.cleanupDeadline,
  }
}

/** Whether an apply runs, or could come to: in a namespace that goes no pod is made any more. */
function mayGiveFree(apply: Deployment | undefined, isTerminating: boolean): boolean {
  if (apply?.metadata.deletionTimestamp !== undefined) return false
  return apply !== undefined && (!isTerminating || deploymentState(apply, []).ready)
}

function cleanupOf(pipeline: Pipeline, jobs: readonly Job[]): Job | undefined {
  return jobs.find((job) => job.metadata.name === cleanupName(pipeline.metadata.name))
}

function cleanupState(job: Job): DeletionFacts['cleanup'] {
  if (jobCondition(job, 'Complete')) return 'succeeded'
  return jobCondition(job, 'Failed') && job.metadata.deletionTimestamp === undefined ? 'failed' : 'running'
}

function ownBackfills({ backfills }: OperatorContext['stores'], pipeline: Pipeline) {
  return backfills.by('pipeline', keyOf(pipeline)).filter((one) => classifyChild(one, pipeline) === 'ours')
}

async function removeChildren(
  context: OperatorContext,
  pipeline: Pipeline,
  keepApply: boolean,
  signal: AbortSignal,
) {
  const { kube, stores, config } = context
  const { uid, namespace } = pipeline.metadata
  const gone = (object: KubeObject) => object.metadata.deletionTimestamp !== undefined
  for (const backfill of ownBackfills(stores, pipeline)) {
    const { name, uid } = backfill.metadata
    if (!gone(backfill))
      await kube.remove(within(TABLE_BACKFILLS, namespace), name, uid, 'Background', signal)
  }
  for (const deployment of stores.deployments.by('pipelineUid', uid)) {
    const { name, uid } = deployment.metadata
    if (keepApply && name === applyName(pipeline.metadata.name)) {
      if (deployment.spec.replicas !== 0) continue
      const { apply } = pipelineChildren(pipeline, config.workers)
      const kind = { resource: DEPLOYMENTS, store: stores.deployments }
      await applyChild(context, pipeline, kind, apply as KubeObject, signal)
      continue
    }
    // Foreground: it is there until its pods are gone, and no late ReplicaSet can make another.
    if (!gone(deployment)) await kube.remove(within(DEPLOYMENTS, namespace), name, uid, 'Foreground', signal)
  }
}

async function startCleanup(
  context: OperatorContext,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<void> {
  const { kube, stores, config } = context
  const { account, binding } = pipelineChildren(pipeline, config.workers)
  if (account) {
    const kind = { resource: SERVICE_ACCOUNTS, store: stores.accounts }
    await applyChild(context, pipeline, kind, account, signal)
  }
  if (binding) {
    await applyChild(context, pipeline, { resource: ROLE_BINDINGS, store: stores.bindings }, binding, signal)
  }
  const jobs = within(JOBS, pipeline.metadata.namespace)
  const desired = cleanupJob(pipeline, config.workers)
  try {
    stores.jobs.observe(await kube.create<Job>(jobs, desired, signal))
  } catch (error) {
    if (rejectionOf(error)?.status !== 409) throw error
    const live = await kube.get<Job>(jobs, desired.metadata.name, signal)
    if (!live) throw error
    assertOurs(live, pipeline, JOBS)
    stores.jobs.observe(live)
  }
}

async function removeCleanup({ kube, stores }: OperatorContext, pipeline: Pipeline, signal: AbortSignal) {
  const cleanup = cleanupOf(pipeline, stores.jobs.by('pipelineUid', pipeline.metadata.uid))
  if (!cleanup) return
  const { name, uid } = cleanup.metadata
  await kube.remove(within(JOBS, pipeline.metadata.namespace), name, uid, 'Foreground', signal)
}

function cleanupProblem(pipeline: Pipeline): string | undefined {
  const problem = problemsOf(pipeline).find((one) => one.component === 'Source' || one.component === 'Slot')
  if (!problem) return undefined
  return `${problem.message}; to leave them in the source, set spec.deletionPolicy to Retain`
}

/** What the cleanup says that it left alone because it is another Pipeline's. Asked anew: the watch may be behind its Job. */
async function whyLeftAlone(
  { kube }: OperatorContext,
  { metadata }: Pipeline,
  signal: AbortSignal,
): Promise<string | undefined> {
  const live = await kube.get<Pipeline>(within(PIPELINES, metadata.namespace), metadata.name, signal)
  if (live?.metadata.uid !== metadata.uid) return undefined
  return problemsOf(live).find((one) => one.component === 'Slot' && one.code === 'ActionRefused')?.message
}

function leftBehindNote(pipeline: Pipeline, why: string): string {
  const { slot, publication } = pipeline.status?.capture ?? {}
  const name = (what: string, known: string | undefined) => (known ? `${what} ${known}` : what)
  return `${name('slot', slot)} and ${name('publication', publication)} stay in the source, because ${why}. The slot holds back the source's log until somebody drops it: SELECT pg_drop_replication_slot('${slot ?? '<slot>'}')`
}
