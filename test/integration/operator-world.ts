import { pino } from 'pino'
import { Registry } from 'prom-client'
import { PIPELINES, TABLE_BACKFILLS } from '../../crds/api.ts'
import type { ApplyStatus, CaptureStatus, Pipeline } from '../../crds/pipeline.ts'
import type { CopyStatus, QueueStatus, TableBackfill } from '../../crds/table-backfill.ts'
import type { KubeObject, Resource } from '../../lib/kube/api.ts'
import { resourcePath } from '../../lib/kube/resources.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import type { OperatorConfig } from '../../operator/config.ts'
import { createStores, type OperatorContext } from '../../operator/context.ts'
import { type OperatorApi, operatorApi } from '../../operator/kube/api.ts'
import {
  DEPLOYMENTS,
  type Deployment,
  EVENTS,
  JOBS,
  type Job,
  within,
} from '../../operator/kube/resources.ts'
import { createEventRecorder } from '../../operator/runtime/events.ts'
import { operatorMetrics } from '../../operator/runtime/metrics.ts'
import { createOperator } from '../../operator/wiring.ts'
import { createNamespace, pipelineManifest, request } from './kubernetes.ts'

// An API server has no controllers, so the test plays those that the operator counts on: the Job controller, the garbage
// collector, and the workers.

export interface World {
  readonly namespace: string
  readonly kube: OperatorApi
  /** Requests of the operator that change something, as `PATCH /path`. */
  readonly writes: string[]
  /** @param crashAt the operator ends right after this write (from 1), whose answer it does not get to see */
  startOperator(crashAt?: number): Promise<void>
  /** Resolves when an operator that was to crash has. */
  crashed(): Promise<void>
  stopOperator(): Promise<void>
  createPipeline(name: string, spec?: object): Promise<Pipeline>
  createBackfill(name: string, spec: object): Promise<TableBackfill>
  patch(resource: Resource, name: string, patch: object): Promise<void>
  remove(resource: Resource, name: string): Promise<void>
  pipeline(name: string): Promise<Pipeline | undefined>
  backfill(name: string): Promise<TableBackfill | undefined>
  backfills(): Promise<TableBackfill[]>
  job(name: string): Promise<Job | undefined>
  jobs(): Promise<Job[]>
  events(): Promise<{ readonly reason: string; readonly note?: string }[]>
  /** What capture would write into the status of a Pipeline. */
  capture(pipeline: string, status: CaptureStatus): Promise<void>
  apply(pipeline: string, status: ApplyStatus): Promise<void>
  /** What the backfill's worker, or apply, would write into the status of a TableBackfill. */
  copy(backfill: string, status: CopyStatus): Promise<void>
  queue(backfill: string, status: QueueStatus): Promise<void>
  /** Ends a Job as the Job controller would. */
  finish(job: string, how: 'Complete' | { failed: string }): Promise<void>
  /** Waits until `look` returns something other than undefined and false. */
  until<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T>
  /** Most Jobs that ran at the same time without having copied everything. */
  mostRunning(): number
  close(): Promise<void>
}

const never = new AbortController().signal

export async function createWorld(transport: Transport): Promise<World> {
  const namespace = await createNamespace(transport, 'operator')
  const kube = operatorApi(transport)
  const stop = new AbortController()
  const writes: string[] = []
  let operator: { stop: AbortController; done: Promise<void> } | undefined

  /** Counts writes, and cuts the operator off after one of them. */
  function observed(crashAt: number, crash: () => void): Transport {
    let count = 0
    return {
      ...transport,
      async call(call, signal) {
        const isWrite = call.method !== 'GET' && !call.path.includes('/events')
        if (!isWrite) return await transport.call(call, signal)
        count += 1
        if (count > crashAt) throw new Error('crashed')
        writes.push(`${call.method} ${call.path}`)
        const last = count === crashAt
        try {
          const answer = await transport.call(call, signal)
          if (!last) return answer
        } finally {
          if (last) crash()
        }
        throw new Error('crashed')
      },
    }
  }

  const path = (resource: Resource, name?: string, sub?: string) =>
    resourcePath(within(resource, namespace), name, sub)
  const list = async <T>(resource: Resource) =>
    (await request<{ items: T[] }>(transport, 'GET', path(resource))).items
  const applyStatus = async (resource: Resource, name: string, manager: string, status: object) => {
    await kube.applyStatus(within(resource, namespace), name, manager, status, never)
  }

  async function stopOperator() {
    operator?.stop.abort(new Error('the test stops the operator'))
    await operator?.done
    operator = undefined
  }

  async function until<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
    const deadline = performance.now() + 20_000
    for (;;) {
      const seen = await look()
      if (seen !== undefined && seen !== false) return seen
      if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }

  let mostRunning = 0
  const copied = new Set<string>()
  const running = new Set<string>()
  const watches = playControllers(kube, namespace, stop.signal, (job) => {
    const active = job.status?.active === 1 && !copied.has(job.metadata.name)
    if (active) running.add(job.metadata.name)
    else running.delete(job.metadata.name)
    mostRunning = Math.max(mostRunning, running.size)
  })

  return {
    namespace,
    kube,
    writes,
    async startOperator(crashAt = Number.POSITIVE_INFINITY) {
      const signal = new AbortController()
      const crash = () => signal.abort(new Error('crashed'))
      const context = contextFor(operatorApi(observed(crashAt, crash)), namespace, signal.signal)
      const { run } = createOperator(context, operatorMetrics(new Registry()))
      await new Promise<void>((resolve, reject) => {
        const done = run(signal.signal, resolve)
        done.catch(reject)
        operator = { stop: signal, done }
      })
    },
    stopOperator,
    crashed: async () => await operator?.done,
    async createPipeline(name, spec) {
      return await request<Pipeline>(transport, 'POST', path(PIPELINES), pipelineManifest(name, spec))
    },
    async createBackfill(name, spec) {
      return await request<TableBackfill>(transport, 'POST', path(TABLE_BACKFILLS), {
        apiVersion: 'millrace.dev/v1alpha1',
        kind: 'TableBackfill',
        metadata: { name },
        spec,
      })
    },
    async patch(resource, name, patch) {
      await kube.patch(within(resource, namespace), name, patch, never)
    },
    async remove(resource, name) {
      await kube.remove(within(resource, namespace), name, undefined, 'Background', never)
    },
    pipeline: (name) => kube.get<Pipeline>(within(PIPELINES, namespace), name, never),
    backfill: (name) => kube.get<TableBackfill>(within(TABLE_BACKFILLS, namespace), name, never),
    backfills: () => list<TableBackfill>(TABLE_BACKFILLS),
    job: (name) => kube.get<Job>(within(JOBS, namespace), name, never),
    jobs: () => list<Job>(JOBS),
    events: () => list(EVENTS),
    capture: (name, capture) => applyStatus(PIPELINES, name, 'millrace-capture', { capture }),
    apply: (name, apply) => applyStatus(PIPELINES, name, 'millrace-apply', { apply }),
    async copy(name, copy) {
      if (copy.stage === 'Done') {
        copied.add(`${name}-copy`)
        running.delete(`${name}-copy`)
      }
      await applyStatus(TABLE_BACKFILLS, name, 'millrace-backfill', { copy })
    },
    queue: (name, queue) => applyStatus(TABLE_BACKFILLS, name, 'millrace-apply', { queue }),
    async finish(name, how) {
      await until(
        async () => (await kube.get<Job>(within(JOBS, namespace), name, never))?.status?.startTime,
        name,
      )
      const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
      const condition = (type: string, reason = '') => ({
        type,
        status: 'True',
        reason,
        message: reason && `the Job failed: ${reason}`,
        lastTransitionTime: now,
        lastProbeTime: now,
      })
      const status =
        how === 'Complete'
          ? {
              active: 0,
              succeeded: 1,
              completionTime: now,
              conditions: [condition('SuccessCriteriaMet'), condition('Complete')],
            }
          : {
              active: 0,
              failed: 1,
              conditions: [condition('FailureTarget', how.failed), condition('Failed', how.failed)],
            }
      await request(
        transport,
        'PATCH',
        path(JOBS, name, 'status'),
        { status },
        'application/merge-patch+json',
      )
    },
    until,
    mostRunning: () => mostRunning,
    async close() {
      await stopOperator()
      stop.abort(new Error('the test has ended'))
      await Promise.allSettled(watches)
    },
  }
}

function contextFor(kube: OperatorApi, namespace: string, signal: AbortSignal): OperatorContext {
  const log = pino({ level: process.env.MILLRACE_LOG_LEVEL ?? 'silent' })
  const config: OperatorConfig = {
    namespace,
    identity: 'test',
    watchNamespaces: [namespace],
    leaseName: 'test',
    port: 0,
    logLevel: 'silent',
    cleanupDeadline: 1_800_000,
    workers: {
      image: 'millrace:test',
      imagePullPolicy: 'Never',
      imagePullSecrets: [],
      logLevel: 'info',
      clusterRole: 'millrace-worker',
    },
  }
  const events = createEventRecorder(kube, 'test', log, signal)
  return { config, kube, stores: createStores(), events, log, now: () => new Date() }
}

/** Jobs become active, suspended ones stop, what is deleted in the foreground goes, and dependents go with their owners. */
function playControllers(
  kube: OperatorApi,
  namespace: string,
  signal: AbortSignal,
  onJob: (job: Job) => void,
): Promise<void>[] {
  const now = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  const patchStatus = (job: Job, status: object) =>
    kube.patch(
      within({ ...JOBS, plural: 'jobs' }, namespace),
      `${job.metadata.name}/status`,
      { status },
      signal,
    )

  async function reap(resource: Resource, object: KubeObject): Promise<void> {
    if (!object.metadata.finalizers?.includes('foregroundDeletion')) return
    await kube.patch(
      within(resource, namespace),
      object.metadata.name,
      { metadata: { finalizers: [] } },
      signal,
    )
  }
  async function removeDependents(owner: KubeObject): Promise<void> {
    for (const resource of [TABLE_BACKFILLS, JOBS, DEPLOYMENTS]) {
      const found = await listOf(resource)
      for (const object of found) {
        const references = (object.metadata.ownerReferences ?? []) as { uid?: string }[]
        if (!references.some((reference) => reference.uid === owner.metadata.uid)) continue
        await kube.remove(within(resource, namespace), object.metadata.name, undefined, 'Background', signal)
      }
    }
  }
  async function listOf(resource: Resource): Promise<KubeObject[]> {
    const found: KubeObject[] = []
    const once = new AbortController()
    await kube
      .watch(
        within(resource, namespace),
        {},
        {
          replace(objects) {
            found.push(...objects)
            once.abort()
          },
          changed() {},
          deleted() {},
        },
        once.signal,
      )
      .catch(() => {})
    return found
  }

  async function job(object: Job): Promise<void> {
    if (object.metadata.deletionTimestamp !== undefined) return await reap(JOBS, object)
    const { status, spec } = object
    onJob(object)
    if (status?.conditions?.some((one) => one.type === 'Complete' || one.type === 'Failed')) return
    const suspended = (status?.conditions as { type: string; status: string }[] | undefined)?.some(
      (one) => one.type === 'Suspended' && one.status === 'True',
    )
    const condition = (value: string) => [
      { type: 'Suspended', status: value, lastTransitionTime: now(), lastProbeTime: now() },
    ]
    if (spec.suspend === true && !suspended) {
      await patchStatus(object, { active: 0, startTime: null, conditions: condition('True') })
    } else if (spec.suspend !== true && status?.active !== 1) {
      const conditions = suspended ? condition('False') : []
      await patchStatus(object, { active: 1, startTime: now(), conditions })
    }
  }

  async function deployment(object: Deployment): Promise<void> {
    if (object.metadata.deletionTimestamp !== undefined) return await reap(DEPLOYMENTS, object)
    const count = object.spec.replicas ?? 1
    if ((object.status?.readyReplicas ?? 0) === count) return
    const status = { replicas: count, readyReplicas: count, updatedReplicas: count, availableReplicas: count }
    const path = `${object.metadata.name}/status`
    await kube.patch(within(DEPLOYMENTS, namespace), path, { status }, signal)
  }

  const follow = <T extends KubeObject>(
    resource: Resource,
    changed: (object: T) => Promise<void>,
    deleted: (object: T) => Promise<void> = async () => {},
  ) =>
    kube.watch<T>(
      within(resource, namespace),
      {},
      {
        async replace(objects) {
          for (const object of objects) await changed(object)
        },
        changed,
        deleted,
      },
      signal,
    )

  return [
    follow<Job>(JOBS, job, async (object) => {
      onJob({ ...object, status: {} as NonNullable<Job['status']> })
    }),
    follow<Deployment>(DEPLOYMENTS, deployment),
    follow(TABLE_BACKFILLS, async () => {}, removeDependents),
    follow(PIPELINES, async () => {}, removeDependents),
  ]
}
