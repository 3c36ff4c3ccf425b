import { PIPELINES, TABLE_BACKFILLS } from '../crds/api.ts'
import type { KubeObject } from '../lib/kube/api.ts'
import { createScheduleBoard } from './backfill/collect.ts'
import { reconcileBackfill } from './backfill/reconcile.ts'
import { schedulePipeline } from './backfill/scheduler.ts'
import { type OperatorContext, pipelineKeyOf } from './context.ts'
import { DEPLOYMENTS, JOBS, PODS, ROLE_BINDINGS, SERVICE_ACCOUNTS } from './kube/resources.ts'
import { BACKFILL_UID, OURS, PIPELINE_NAME } from './labels.ts'
import { createPipelineMemory, rememberLeft } from './pipeline/memory.ts'
import { reconcilePipeline } from './pipeline/reconcile.ts'
import { type Controller, createController } from './runtime/controller.ts'
import { startInformer } from './runtime/informer.ts'
import type { OperatorMetrics } from './runtime/metrics.ts'
import { keyOf } from './runtime/store.ts'

export interface Operator {
  readonly controllers: readonly Controller[]
  /** Watches and reconciles until the signal aborts. Rejects when something that cannot go on did not. */
  run(signal: AbortSignal, onSynced: () => void): Promise<void>
}

/**
 * Three controllers over the same caches:
 * - `pipeline` makes what stands beside a Pipeline and writes its status;
 * - `schedule`, by Pipeline too, starts backfills; one at a time per Pipeline, so the limit holds;
 * - `tablebackfill` writes the status of a TableBackfill and ends or suspends its Job.
 */
export function createOperator(context: OperatorContext, metrics: OperatorMetrics): Operator {
  const { log, stores } = context
  const board = createScheduleBoard()
  const memory = createPipelineMemory()
  const common = { log, metrics, concurrency: 4 }
  const pipelines = createController({
    ...common,
    name: 'pipeline',
    reconcile: (key, signal) => reconcilePipeline(context, memory, key, signal),
  })
  const backfills = createController({
    ...common,
    name: 'tablebackfill',
    reconcile: (key, signal) => reconcileBackfill(context, board, key, signal),
  })
  const schedules = createController({
    ...common,
    name: 'schedule',
    reconcile: (key, signal) => schedulePipeline(context, board, key, backfills.enqueue, signal),
  })

  function enqueuePipeline(key: string): void {
    pipelines.enqueue(key)
    schedules.enqueue(key)
  }

  stores.pipelines.onChange((pipeline, before, deleted) => {
    const key = keyOf(pipeline)
    if (!deleted) rememberLeft(memory, pipeline, before)
    enqueuePipeline(key)
    const same = before?.metadata.uid === pipeline.metadata.uid && !deleted
    if (same && before?.metadata.generation === pipeline.metadata.generation) return
    for (const backfill of stores.backfills.by('pipeline', key)) backfills.enqueue(keyOf(backfill))
  })
  stores.backfills.onChange((backfill) => {
    backfills.enqueue(keyOf(backfill))
    enqueuePipeline(pipelineKeyOf(backfill))
  })
  const enqueueOwner = (child: KubeObject) => {
    const uid = child.metadata.labels?.[BACKFILL_UID]
    for (const backfill of uid === undefined ? [] : stores.backfills.by('uid', uid)) {
      backfills.enqueue(keyOf(backfill))
    }
    const pipeline = child.metadata.labels?.[PIPELINE_NAME]
    if (pipeline !== undefined) enqueuePipeline(`${child.metadata.namespace}/${pipeline}`)
  }
  for (const store of [stores.jobs, stores.pods, stores.deployments, stores.accounts, stores.bindings]) {
    store.onChange(enqueueOwner)
  }

  return {
    controllers: [pipelines, schedules, backfills],
    async run(signal, onSynced) {
      const ended = new AbortController()
      const until = AbortSignal.any([signal, ended.signal])
      const informers = startInformers(context, until)
      const failed = Promise.race(informers.map((informer) => informer.done))
      let running: Promise<void>[] = []
      try {
        await Promise.race([Promise.all(informers.map((informer) => informer.synced)), failed])
        log.info({ pipelines: [...stores.pipelines.list()].length }, 'Caches are filled')
        onSynced()
        running = [pipelines, schedules, backfills].map((controller) => controller.run(until))
        await Promise.race([Promise.all(running), failed])
      } catch (error) {
        if (!signal.aborted) throw error
      } finally {
        ended.abort(new Error('the operator has ended'))
        await Promise.allSettled([...running, ...informers.map((informer) => informer.done)])
      }
    },
  }
}

function startInformers({ kube, stores, config }: OperatorContext, signal: AbortSignal) {
  const common = { kube, signal, namespaces: config.watchNamespaces }
  const ours = { ...common, selector: { labels: OURS } }
  return [
    startInformer({ ...common, selector: {}, resource: PIPELINES, store: stores.pipelines }),
    startInformer({ ...common, selector: {}, resource: TABLE_BACKFILLS, store: stores.backfills }),
    startInformer({ ...ours, resource: DEPLOYMENTS, store: stores.deployments }),
    startInformer({ ...ours, resource: JOBS, store: stores.jobs }),
    startInformer({ ...ours, resource: PODS, store: stores.pods }),
    startInformer({ ...ours, resource: SERVICE_ACCOUNTS, store: stores.accounts }),
    startInformer({ ...ours, resource: ROLE_BINDINGS, store: stores.bindings }),
  ]
}
