import { TABLE_BACKFILLS } from '../../crds/api.ts'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { type OperatorContext, tableKey, tableText } from '../context.ts'
import { classifyChild, ownerReference } from '../kube/desired.ts'
import { within } from '../kube/resources.ts'
import { childLabels, GAP, INITIAL } from '../labels.ts'
import { keyOf } from '../runtime/store.ts'
import type { BackfillPlan, PlannedBackfill } from './plan-backfills.ts'

export interface CarriedOut {
  /** Which initial backfill each table has or had. */
  readonly initial: ReadonlyMap<string, string>
  /** The first of the errors, if there were any. */
  readonly failure: unknown
}

/** Makes and removes TableBackfills as planned; one that is refused does not keep back the others. */
export async function carryOut(
  context: OperatorContext,
  pipeline: Pipeline,
  plan: BackfillPlan,
  signal: AbortSignal,
): Promise<CarriedOut> {
  const initial = new Map(plan.initial)
  let failure: unknown
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      signal.throwIfAborted()
      failure ??= error
    }
  }
  for (const backfill of plan.remove) await attempt(() => remove(context, backfill, signal))
  for (const planned of plan.create) {
    let made = false
    await attempt(async () => {
      made = await create(context, pipeline, planned, signal)
    })
    if (!made && planned.kind === 'initial') initial.delete(tableKey(planned.table))
  }
  return { initial, failure }
}

async function remove({ kube, log }: OperatorContext, backfill: TableBackfill, signal: AbortSignal) {
  const { name, uid, namespace } = backfill.metadata
  log.info(
    { namespace, backfill: name },
    'Removing a backfill: its table left the list, or is to be emptied by another',
  )
  await kube.remove(within(TABLE_BACKFILLS, namespace), name, uid, 'Background', signal)
}

/** Returns whether it is there now, as one of ours. */
async function create(
  context: OperatorContext,
  pipeline: Pipeline,
  planned: PlannedBackfill,
  signal: AbortSignal,
): Promise<boolean> {
  const { kube, stores, events, log } = context
  const resource = within(TABLE_BACKFILLS, pipeline.metadata.namespace)
  try {
    stores.backfills.observe(await kube.create<TableBackfill>(resource, manifest(pipeline, planned), signal))
  } catch (error) {
    if (rejectionOf(error)?.status !== 409) throw error
    return await takeExisting(context, pipeline, planned, signal)
  }
  const note = `created TableBackfill ${planned.name} for table ${tableText(planned.table)}`
  log.info({ pipeline: keyOf(pipeline), backfill: planned.name, kind: planned.kind }, 'Created a backfill')
  events.record(pipeline, 'Normal', planned.kind === 'gap' ? 'MendingGap' : 'TableAdded', 'Backfill', note)
  return true
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
