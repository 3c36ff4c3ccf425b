import type { AppliedTable } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { MillraceError } from '../../lib/errors.ts'
import type { KubeApi } from '../../lib/kube/api.ts'
import type { Logger } from '../../lib/log.ts'
import type { LedgerBackfill } from '../destination/ledger.ts'
import type { WorkerEnvironment } from '../runtime/context.ts'
import { pipelineResource, tableBackfillResource } from '../runtime/resources.ts'
import { createStatusWriter, type StatusWriter } from '../runtime/status.ts'
import { applyStatus, pendingStatus, queueStatus } from './reports.ts'
import type { TableState } from './state.ts'

export const FIELD_MANAGER = 'millrace-apply'

/** Keeps `status.apply` of the Pipeline and `status.queue` of its TableBackfills up to date. */
export interface StatusKeeper {
  /** What is to be told has changed; `urgent`: others wait for it. */
  changed(urgent: boolean): void
  sawBackfill(backfill: LedgerBackfill): void
  /** Writes what is left, for as long as the signal allows. */
  close(signal: AbortSignal): Promise<void>
}

export interface StatusSources {
  readonly kube: KubeApi
  readonly env: Pick<WorkerEnvironment, 'namespace' | 'pipeline' | 'pipelineUid'>
  readonly log: Logger
  states(): Iterable<TableState>
  /**
   * What an earlier process has reported of tables that this one knows nothing of yet. No table at all would mean that all were
   * given free, and the operator would end the apply of a Pipeline that is being deleted.
   */
  before(): readonly AppliedTable[]
  /** Those of the Pipeline, as last seen. */
  backfills(): readonly TableBackfill[]
  /** What is wrong apart from tables. */
  problems(): readonly MillraceError[]
}

const PIPELINE_INTERVAL = 5_000
const BACKFILL_INTERVAL = 2_500
/** Looking at all tables costs something when there are hundreds and each is written several times a second. */
const GATHER = 1_000
/** Lag grows by itself. */
const REFRESH = 10_000

export function createStatusKeeper(sources: StatusSources): StatusKeeper {
  const { kube, env, log } = sources
  const { namespace, pipeline, pipelineUid } = env
  /** With the time at which it was first seen in this state. */
  const known = new Map<string, { backfill: LedgerBackfill; since: number }>()
  const writers = new Map<string, StatusWriter>()
  const own = createStatusWriter({
    kube,
    resource: pipelineResource(namespace),
    name: pipeline,
    uid: pipelineUid,
    fieldManager: FIELD_MANAGER,
    minIntervalMs: PIPELINE_INTERVAL,
    log,
  })
  let soon: NodeJS.Timeout | undefined
  let atOnce: NodeJS.Immediate | undefined
  const refresh = setInterval(() => changed(false), REFRESH)
  refresh.unref()

  function changed(urgent: boolean): void {
    // After everything that happens at once.
    if (urgent) atOnce ??= setImmediate(() => report(true))
    else soon ??= setTimeout(() => report(false), GATHER)
  }

  function report(urgent: boolean): void {
    clearTimeout(soon)
    if (atOnce) clearImmediate(atOnce)
    soon = undefined
    atOnce = undefined
    const now = Date.now()
    const states = [...sources.states()]
    own.set({ apply: applyStatus(states, sources.problems(), now, sources.before()) }, { urgent })
    const present = new Set<string>()
    for (const object of sources.backfills()) {
      const { uid = '', name } = object.metadata
      present.add(uid)
      const { schema, name: table } = object.spec.table
      const state = states.find((one) => one.table.schema === schema && one.table.name === table)
      reportBackfill(object, uid, name, state, now)
    }
    for (const [uid, writer] of writers) {
      if (present.has(uid)) continue
      writer.close()
      writers.delete(uid)
    }
  }

  function reportBackfill(
    object: TableBackfill,
    uid: string,
    name: string,
    state: TableState | undefined,
    now: number,
  ): void {
    const before = object.status?.queue
    const fact = known.get(uid)
    const phase = object.status?.phase
    const isOver = phase === 'Streaming' || phase === 'Cancelled' || phase === 'Failed'
    if (!fact && (isOver || !state)) return
    const queue = fact
      ? queueStatus(fact.backfill, state, before, { now, since: fact.since })
      : pendingStatus(state, before)
    if (queue === undefined || queue === before) return
    let writer = writers.get(uid)
    if (!writer) {
      const resource = tableBackfillResource(namespace)
      const options = { kube, resource, name, uid, fieldManager: FIELD_MANAGER, log }
      writer = createStatusWriter({ ...options, minIntervalMs: BACKFILL_INTERVAL })
      writers.set(uid, writer)
    }
    writer.set({ queue }, { urgent: queue.state !== before?.state })
  }

  return {
    changed,
    sawBackfill(backfill) {
      const before = known.get(backfill.uid)
      const isNew = before?.backfill.state !== backfill.state
      known.set(backfill.uid, { backfill, since: isNew ? Date.now() : before.since })
      if (isNew) changed(true)
    },
    async close(signal) {
      clearInterval(refresh)
      report(true)
      const all = [own, ...writers.values()]
      await Promise.allSettled(all.map((writer) => writer.flush(signal)))
      for (const writer of all) writer.close()
    },
  }
}
