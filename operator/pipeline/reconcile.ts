import { PIPELINES, TABLE_BACKFILLS } from '../../crds/api.ts'
import type { Pipeline, PipelineStatus } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { toMillraceError } from '../../lib/errors.ts'
import type { KubeObject } from '../../lib/kube/api.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { applyChild } from '../children.ts'
import { setConditions } from '../conditions.ts'
import { type OperatorContext, tableKey, tableText } from '../context.ts'
import { FIELD_MANAGER } from '../kube/api.ts'
import { classifyChild, ownerReference } from '../kube/desired.ts'
import { DEPLOYMENTS, ROLE_BINDINGS, SERVICE_ACCOUNTS, within } from '../kube/resources.ts'
import { childLabels, GAP, INITIAL } from '../labels.ts'
import { deploymentState } from '../pods/problems.ts'
import { applyName, captureName, pipelineChildren } from '../pods/workloads.ts'
import type { ReconcileResult } from '../runtime/controller.ts'
import { keyOf } from '../runtime/store.ts'
import { isStatusWritten } from '../status.ts'
import { pipelineConditions } from './conditions.ts'
import { deletePipeline } from './delete.ts'
import { addFinalizer, hasFinalizer } from './finalizer.ts'
import { type BackfillPlan, type PlannedBackfill, planBackfills } from './plan-backfills.ts'
import { countTables, lagText, tableViews } from './tables.ts'

/** What the operator remembers between two looks at a Pipeline; losing it changes nothing but a delay. */
export interface PipelineMemory {
  /** When apply was first seen to report a table, by uid of the Pipeline and table. */
  readonly firstReported: Map<string, Map<string, number>>
  /** When a status was last written, milliseconds, by uid. */
  readonly lastWritten: Map<string, number>
}

export function createPipelineMemory(): PipelineMemory {
  return { firstReported: new Map(), lastWritten: new Map() }
}

/** Shortest time between two writes of which only the lag is new, milliseconds. */
const LAG_INTERVAL = 10_000

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
      return {}
    }
    await writeStatus(context, memory, pipeline, { deleting: left.waitsFor }, signal)
    return { again: left.again }
  }
  const kept = hasFinalizer(pipeline) ? pipeline : await addFinalizer(context, pipeline, signal)
  const { trouble, failure } = await applyChildren(context, kept, signal)
  const plan = planFor(context, memory, kept)
  const initial = await carryOut(context, kept, plan, signal)
  const later = await writeStatus(context, memory, kept, { trouble, initial }, signal)
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
  let trouble: string | undefined
  for (const { resource, store, desired } of steps) {
    if (!desired) continue
    try {
      const kind = { resource, store: store as typeof stores.accounts }
      await applyChild(context, pipeline, kind, desired as KubeObject, signal)
    } catch (error) {
      signal.throwIfAborted()
      failure ??= error
      trouble ??= toMillraceError(error).message
    }
  }
  return { failure, trouble }
}

function planFor({ stores, now }: OperatorContext, memory: PipelineMemory, pipeline: Pipeline): BackfillPlan {
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
  })
}

/** Returns which initial backfill each table has or had. */
async function carryOut(
  context: OperatorContext,
  pipeline: Pipeline,
  plan: BackfillPlan,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const initial = new Map(plan.initial)
  const { kube, stores, events, log } = context
  const resource = within(TABLE_BACKFILLS, pipeline.metadata.namespace)
  for (const backfill of plan.remove) {
    const { name, uid } = backfill.metadata
    log.info(
      { pipeline: keyOf(pipeline), backfill: name },
      'Removing the backfill of a table that left the list',
    )
    await kube.remove(resource, name, uid, 'Background', signal)
  }
  for (const planned of plan.create) {
    const object = manifest(pipeline, planned)
    try {
      stores.backfills.observe(await kube.create<TableBackfill>(resource, object, signal))
    } catch (error) {
      if (rejectionOf(error)?.status !== 409) throw error
      const ours = await takeExisting(context, pipeline, planned, signal)
      if (!ours && planned.kind === 'initial') initial.delete(tableKey(planned.table))
      continue
    }
    const note = `created TableBackfill ${planned.name} for table ${tableText(planned.table)}`
    log.info({ pipeline: keyOf(pipeline), backfill: planned.name, kind: planned.kind }, 'Created a backfill')
    events.record(pipeline, 'Normal', planned.kind === 'gap' ? 'MendingGap' : 'TableAdded', 'Backfill', note)
  }
  return initial
}

/** The name is taken: by our own that the cache does not know yet, or by one that somebody else made. */
async function takeExisting(
  { kube, stores, events }: OperatorContext,
  pipeline: Pipeline,
  { name, table }: PlannedBackfill,
  signal: AbortSignal,
): Promise<boolean> {
  const live = await kube.get<TableBackfill>(
    within(TABLE_BACKFILLS, pipeline.metadata.namespace),
    name,
    signal,
  )
  if (!live) return false
  if (classifyChild(live, pipeline) === 'ours') {
    stores.backfills.observe(live)
    return true
  }
  const note = `TableBackfill ${name} exists and does not belong to this Pipeline, so table ${tableText(table)} gets no initial backfill: delete or rename it`
  events.record(pipeline, 'Warning', 'NameTaken', 'Backfill', note)
  return false
}

function manifest(pipeline: Pipeline, { name, table, action, kind }: PlannedBackfill) {
  return {
    apiVersion: pipeline.apiVersion,
    kind: TABLE_BACKFILLS.kind,
    metadata: {
      name,
      namespace: pipeline.metadata.namespace,
      labels: { ...childLabels(pipeline), [kind === 'gap' ? GAP : INITIAL]: 'true' },
      ownerReferences: [ownerReference(pipeline)],
    },
    spec: {
      pipelineRef: { name: pipeline.metadata.name },
      table: { schema: table.schema, name: table.name },
      destinationTable: action,
    },
  }
}

interface StatusInput {
  readonly trouble?: string | undefined
  readonly deleting?: string
  readonly initial?: ReadonlyMap<string, string>
}

/** Returns when to look again because a write was put off, milliseconds. */
async function writeStatus(
  context: OperatorContext,
  memory: PipelineMemory,
  pipeline: Pipeline,
  given: StatusInput,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { kube, stores, now } = context
  const { uid, namespace, name } = pipeline.metadata
  const status = statusOf(context, pipeline, given)
  if (isStatusWritten(status, pipeline.status, ['capture', 'apply'])) return undefined

  const { lag: _, ...rest } = status
  const { lag: __, ...before } = pipeline.status ?? {}
  const at = now().getTime()
  const due = (memory.lastWritten.get(uid) ?? 0) + LAG_INTERVAL
  if (at < due && isStatusWritten(rest, before, ['capture', 'apply'])) return due - at

  const resource = within(PIPELINES, namespace)
  const written = await kube.applyStatus<Pipeline>(resource, name, FIELD_MANAGER, status, signal)
  memory.lastWritten.set(uid, at)
  if (!written) return undefined
  stores.pipelines.observe(written)
  announce(context, pipeline, status)
  return undefined
}

type OwnStatus = Omit<PipelineStatus, 'capture' | 'apply'>

function statusOf({ stores, now }: OperatorContext, pipeline: Pipeline, given: StatusInput): OwnStatus {
  const { uid, generation, namespace, name } = pipeline.metadata
  const backfills = stores.backfills.by('pipeline', keyOf(pipeline))
  const recorded = new Map(
    pipeline.status?.tables?.flatMap((table) =>
      table.initialBackfill === undefined ? [] : [[tableKey(table), table.initialBackfill] as const],
    ),
  )
  const tables = tableViews(pipeline, backfills, given.initial ?? recorded)
  const pods = stores.pods.by('pipelineUid', uid)
  const worker = (process: 'capture' | 'apply') =>
    deploymentState(
      stores.deployments.get(`${namespace}/${process === 'capture' ? captureName(name) : applyName(name)}`),
      pods.filter((pod) => pod.metadata.labels?.['app.kubernetes.io/component'] === process),
    )
  const lag = lagText(pipeline)
  return {
    observedGeneration: generation,
    conditions: setConditions(
      pipelineConditions({
        pipeline,
        capture: worker('capture'),
        apply: worker('apply'),
        tables,
        trouble: given.trouble,
        deleting: given.deleting,
      }),
      pipeline.status?.conditions,
      generation,
      now(),
    ),
    counts: countTables(tables),
    ...(lag !== undefined && { lag }),
    tables: tables.map((table) => table.status),
  }
}

/** An Event for every change of `Ready`. */
function announce({ events }: OperatorContext, pipeline: Pipeline, status: OwnStatus): void {
  const ready = status.conditions?.find((condition) => condition.type === 'Ready')
  const before = pipeline.status?.conditions?.find((condition) => condition.type === 'Ready')
  if (!ready || (before?.status === ready.status && before.reason === ready.reason)) return
  const expected = ['Starting', 'Backfilling', 'Paused', 'Stopped', 'Deleting'].includes(ready.reason)
  const type = ready.status === 'True' || expected ? 'Normal' : 'Warning'
  events.record(pipeline, type, ready.reason, 'Reconcile', ready.message || ready.reason)
}
