import { PIPELINES } from '../../crds/api.ts'
import type { Pipeline, PipelineStatus } from '../../crds/pipeline.ts'
import { setConditions } from '../conditions.ts'
import { type OperatorContext, tableKey, tableText } from '../context.ts'
import { FIELD_MANAGER } from '../kube/api.ts'
import { within } from '../kube/resources.ts'
import { deploymentState } from '../pods/problems.ts'
import { applyName, captureName } from '../pods/workloads.ts'
import { keyOf } from '../runtime/store.ts'
import { isStatusWritten } from '../status.ts'
import { pipelineConditions } from './conditions.ts'
import type { PipelineMemory } from './memory.ts'
import { countTables, lagText, tableViews } from './tables.ts'

/** Shortest time between two writes of which only the lag is new, milliseconds. */
const LAG_INTERVAL = 10_000

interface StatusInput {
  readonly trouble?: string | undefined
  readonly deleting?: string
  readonly initial?: ReadonlyMap<string, string>
}

/** Writes the operator's part of the status. Returns when to look again because a write was put off, milliseconds. */
export async function writeStatus(
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
  const written = await kube.applyStatus<Pipeline>(resource, name, FIELD_MANAGER, status, signal, uid)
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
  const tables = tableViews(pipeline, backfills, given.initial ?? recorded, now().getTime())
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

/** An Event for every table that something happened to, and for every change of `Ready`. */
function announce({ events }: OperatorContext, pipeline: Pipeline, status: OwnStatus): void {
  const codes = new Map(pipeline.status?.tables?.map((table) => [tableKey(table), table.code]))
  for (const table of status.tables ?? []) {
    if (table.code === undefined || table.code === codes.get(tableKey(table))) continue
    const note = `table ${tableText(table)}: ${table.message ?? table.code}`
    events.record(pipeline, 'Warning', table.code, 'Replicate', note)
  }
  const ready = status.conditions?.find((condition) => condition.type === 'Ready')
  const before = pipeline.status?.conditions?.find((condition) => condition.type === 'Ready')
  if (!ready || (before?.status === ready.status && before.reason === ready.reason)) return
  const expected = ['Starting', 'Backfilling', 'Paused', 'Stopped', 'Deleting'].includes(ready.reason)
  const type = ready.status === 'True' || expected ? 'Normal' : 'Warning'
  events.record(pipeline, type, ready.reason, 'Reconcile', ready.message || ready.reason)
}
