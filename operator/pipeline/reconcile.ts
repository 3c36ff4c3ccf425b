import type { Pipeline } from '../../crds/pipeline.ts'
import { toMillraceError } from '../../lib/errors.ts'
import type { KubeObject } from '../../lib/kube/api.ts'
import { applyChild } from '../children.ts'
import { type OperatorContext, tableKey } from '../context.ts'
import { DEPLOYMENTS, ROLE_BINDINGS, SERVICE_ACCOUNTS } from '../kube/resources.ts'
import { pipelineChildren } from '../pods/workloads.ts'
import type { ReconcileResult } from '../runtime/controller.ts'
import { keyOf } from '../runtime/store.ts'
import { carryOut } from './backfills.ts'
import { deletePipeline } from './delete.ts'
import { addFinalizer, hasFinalizer } from './finalizer.ts'
import type { PipelineMemory } from './memory.ts'
import { type BackfillPlan, planBackfills } from './plan-backfills.ts'
import { writeStatus } from './status.ts'

/** Brings one Pipeline towards what its spec says: children, backfills, status. */
export async function reconcilePipeline(
  context: OperatorContext,
  memory: PipelineMemory,
  key: string,
  signal: AbortSignal,
): Promise<ReconcileResult> {
  const pipeline = context.stores.pipelines.get(key)
  if (!pipeline) return {}
  if (pipeline.metadata.deletionTimestamp !== undefined) {
    const left = await deletePipeline(context, pipeline, signal)
    if (!left) {
      memory.firstReported.delete(pipeline.metadata.uid)
      memory.lastWritten.delete(pipeline.metadata.uid)
      memory.left.delete(pipeline.metadata.uid)
      return {}
    }
    await writeStatus(context, memory, pipeline, { deleting: left.waitsFor }, signal)
    return { again: left.again }
  }
  const kept = hasFinalizer(pipeline) ? pipeline : await addFinalizer(context, pipeline, signal)
  const children = await applyChildren(context, kept, signal)
  const left = new Set(memory.left.get(kept.metadata.uid))
  const plan = planFor(context, memory, kept, left)
  const { initial, ...carried } = await carryOut(context, kept, plan, signal)
  const failure = children.failure ?? carried.failure
  const trouble = failure === undefined ? undefined : toMillraceError(failure).message
  const later = await writeStatus(context, memory, kept, { trouble, initial }, signal)
  for (const table of left) memory.left.get(kept.metadata.uid)?.delete(table)
  if (failure !== undefined) throw failure
  const delays = [plan.again, later].filter((delay) => delay !== undefined)
  return { again: delays.length === 0 ? undefined : Math.min(...delays) }
}

/** Each child on its own, so that one that is refused does not keep the others from being made. */
async function applyChildren(context: OperatorContext, pipeline: Pipeline, signal: AbortSignal) {
  const { stores, config } = context
  const { account, binding, capture, apply } = pipelineChildren(pipeline, config.workers)
  const steps = [
    { resource: SERVICE_ACCOUNTS, store: stores.accounts, desired: account },
    { resource: ROLE_BINDINGS, store: stores.bindings, desired: binding },
    { resource: DEPLOYMENTS, store: stores.deployments, desired: capture },
    { resource: DEPLOYMENTS, store: stores.deployments, desired: apply },
  ]
  let failure: unknown
  for (const { resource, store, desired } of steps) {
    if (!desired) continue
    try {
      const kind = { resource, store: store as typeof stores.accounts }
      await applyChild(context, pipeline, kind, desired as KubeObject, signal)
    } catch (error) {
      signal.throwIfAborted()
      failure ??= error
    }
  }
  return { failure }
}

function planFor(
  { stores, now }: OperatorContext,
  memory: PipelineMemory,
  pipeline: Pipeline,
  left: ReadonlySet<string>,
): BackfillPlan {
  const { uid } = pipeline.metadata
  const at = now().getTime()
  const first = memory.firstReported.get(uid) ?? new Map<string, number>()
  memory.firstReported.set(uid, first)
  for (const table of pipeline.status?.apply?.tables ?? []) {
    const key = tableKey(table)
    if (!first.has(key)) first.set(key, at)
  }
  return planBackfills({
    pipeline,
    backfills: stores.backfills.by('pipeline', keyOf(pipeline)),
    reportedFor: (table) => at - (first.get(table) ?? at),
    now: at,
    left,
  })
}
