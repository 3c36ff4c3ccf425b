import type { AppliedTable, Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { type MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import { openDestination } from '../destination/open.ts'
import { createKafkaQueue } from '../queue/kafka.ts'
import { topicPrefix } from '../queue/topics.ts'
import { createMemory } from '../runtime/memory.ts'
import { pipelineResource, tableBackfillResource } from '../runtime/resources.ts'
import { publicationName, slotName } from '../source/names.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import { createDispatcher } from './dispatcher.ts'
import type { ApplyEnv } from './env.ts'
import type { Scope } from './hold.ts'
import { watchLedger } from './ledger-watch.ts'
import { createRetention, type Retention } from './retention.ts'
import type { SessionContext } from './run.ts'
import { createSourceReader } from './source.ts'
import { lagSeconds } from './state.ts'
import { type KnownFacts, startTable, type TableWorker } from './table.ts'

/** Estimated bytes that all tables together may hold. */
const MEMORY = 64_000_000
/** How often it is looked for records that can be deleted, milliseconds. */
const RETENTION_CHECK = 10_000
/** A dispatcher that has not gone round for this long hangs, milliseconds. */
const HANGING = 180_000

/** Applies all tables until the signal aborts. Rejects when the destination cannot be used as a whole. */
export async function runSession(
  context: SessionContext,
  first: Pipeline,
  signal: AbortSignal,
): Promise<void> {
  const { env, kube, log, secrets, watch, status, tables, problems } = context
  const { namespace, pipeline: name, pipelineUid } = env
  const spec = () => watch.pipeline()?.spec ?? first.spec
  const destination = openDestination({
    spec: first.spec,
    pipelineUid,
    pipelineLabel: `${namespace}/${name}`,
    secrets,
    process: 'apply',
    log,
    onUnfit(table, column, count) {
      context.metrics.unfit(table, column, count)
      tables.get(tableLabel(table))?.unfit.add(column, count)
    },
  })
  const queue = createKafkaQueue(first.spec.queue.kafka, secrets, log)
  const names = {
    publication: publicationName(first.spec, namespace, name),
    slot: slotName(first.spec, namespace, name),
  }
  const source = createSourceReader({ spec: first.spec, names, secrets, log })
  const memory = createMemory(MEMORY)
  /** By topic. */
  const workers = new Map<string, TableWorker>()
  let seen = scopeReader(watch.pipeline())
  /** Labels of the tables of which it was reported that something is in the destination. */
  const reported = new Set(first.status?.apply?.tables?.filter(isApplied).map(tableLabel))
  const reportedUnfit = new Map(first.status?.apply?.tables?.map((table) => [tableLabel(table), table.unfit]))
  /** By topic and its incarnation. */
  const retentions = new Map<string, Retention>()
  const over = new AbortController()
  const running = AbortSignal.any([signal, over.signal])
  const reporter = (of: string) => (error: MillraceError | undefined) => {
    const before = problems.get(of)
    if (error) problems.set(of, error)
    else problems.delete(of)
    if (before?.message !== error?.message) status.changed(true)
  }
  const dispatcher = createDispatcher(queue, memory, reporter('queue'))

  const applyEnv: ApplyEnv = {
    destination,
    queue,
    topics: dispatcher.topics,
    source,
    memory,
    metrics: context.metrics,
    log,
    prefix: topicPrefix(first.spec, namespace, name),
    spec,
    isRunning: () => spec().state === 'Running',
    isDeleting: () => isGone(watch.pipeline()),
    seenBackfill: (uid) => watch.backfills().find(({ metadata }) => metadata.uid === uid),
    seenBackfills: (table) => watch.backfills().filter((backfill) => isOf(backfill, table)),
    seenScope: (table) => seen(table),
    async freshBackfill(of, abort) {
      return await kube.get<TableBackfill>(tableBackfillResource(namespace), of, abort)
    },
    async freshScope(table, abort) {
      const found = await kube.get<Pipeline>(pipelineResource(namespace), name, abort)
      return scopeReader(found?.metadata.uid === pipelineUid ? found : undefined)(table)
    },
    wasApplied: (table) => reported.has(tableLabel(table)),
    sawBackfill: status.sawBackfill,
    changed: status.changed,
  }

  /** Labels of the tables that have a worker. */
  const atWork = new Set<string>()
  let isOpen = false

  /**
   * Starts what is listed, and what the ledger knows: a table that was removed has to be given free. A Pipeline that is being
   * deleted takes on nothing any more.
   */
  function startMissing(known: ReadonlyMap<string, KnownFacts>, locked: readonly TableName[] = []): void {
    const listed = isGone(watch.pipeline()) ? [] : spec().tables
    const wanted = [...listed, ...[...known.values()].flatMap(({ row }) => row?.table ?? []), ...locked]
    for (const table of wanted) {
      const label = tableLabel(table)
      if (!isOpen || running.aborted || atWork.has(label)) continue
      const plain = { schema: table.schema, name: table.name }
      const worker = startTable(applyEnv, plain, known.get(label), running)
      workers.set(worker.topic, worker)
      atWork.add(label)
      worker.state.unfit.resume(reportedUnfit.get(label))
      tables.set(label, worker.state)
      void worker.done.then(() => {
        workers.delete(worker.topic)
        atWork.delete(label)
        for (const key of retentions.keys()) if (key.startsWith(`${worker.topic} `)) retentions.delete(key)
        if (worker.state.row === undefined) {
          // Given free, it may come back as a new one.
          reported.delete(label)
          reportedUnfit.delete(label)
          if (tables.get(label) === worker.state) tables.delete(label)
        }
        status.changed(true)
        // It may have been listed again in the meantime.
        startMissing(new Map())
      })
    }
  }

  /** What is known of each table, but for those that are locked: they have to ask for themselves. */
  async function readLedger(): Promise<{ known: Map<string, KnownFacts>; locked: readonly TableName[] }> {
    const { tables: rows, backfills, locked } = await destination.ledger.readAll(signal)
    for (const backfill of backfills) status.sawBackfill(backfill)
    const of = (label: string) => backfills.filter(({ table }) => tableLabel(table) === label)
    const labels = new Set([...rows.map(({ table }) => table), ...spec().tables].map(tableLabel))
    for (const table of locked) labels.delete(tableLabel(table))
    const known = new Map(
      [...labels].map((label) => [
        label,
        { row: rows.find(({ table }) => tableLabel(table) === label), backfills: of(label) },
      ]),
    )
    return { known, locked }
  }

  /** Deletes what has been durable for long enough (rule R24). */
  async function deleteOld(): Promise<never> {
    for (;;) {
      await sleep(RETENTION_CHECK, running)
      const milliseconds = spec().queue.kafka.retentionSeconds * 1000
      for (const [topic, { state }] of workers) {
        // Offsets of a topic mean nothing in the one that was made in its place.
        const key = `${topic} ${state.row?.incarnation}`
        const retention = retentions.get(key) ?? createRetention()
        retentions.set(key, retention)
        const now = performance.now()
        if (!state.row?.incarnation) continue
        retention.passed(state.row.nextOffset, now)
        const offset = retention.expired(now, milliseconds)
        if (offset === undefined) continue
        try {
          await queue.deleteBefore(topic, offset, running)
          retention.deleted(offset)
          problems.delete('retention')
        } catch (thrown) {
          running.throwIfAborted()
          problems.set('retention', toMillraceError(thrown))
          log.warn({ topic, err: thrown }, 'Applied records not deleted')
          break
        }
      }
    }
  }

  const unwatch = watch.onChange(() => {
    seen = scopeReader(watch.pipeline())
    startMissing(new Map())
    for (const worker of workers.values()) worker.wake()
  })
  context.metrics.observe(function* () {
    const now = Date.now()
    for (const state of tables.values()) yield [state.table, lagSeconds(state, now) ?? 0] as const
  })
  try {
    await destination.check(signal)
    const { known, locked } = await readLedger()
    problems.delete('session')
    problems.delete('ledger')
    status.changed(true)
    isOpen = true
    startMissing(known, locked)
    context.onOpened()
    context.health.setReady(true)
    context.health.addLivenessCheck('dispatcher', () => {
      const silent = over.signal.aborted ? 0 : dispatcher.sinceRound()
      return silent > HANGING ? `has not gone round for ${Math.round(silent / 1000)} s` : undefined
    })
    const watching = watchLedger(applyEnv, workers, reporter('ledger'), running)
    await Promise.race([
      dispatcher.run(workers, running),
      deleteOld(),
      watching.then(() => new Promise(() => {})),
    ])
  } finally {
    unwatch()
    over.abort(new Error('the session is over'))
    await Promise.all([...workers.values()].map((worker) => worker.done))
    source.close()
    await Promise.all([queue.close(), destination.close()])
  }
}

/** Looks up tables in the Pipeline, of which there may be hundreds. */
function scopeReader(pipeline: Pipeline | undefined): (table: TableName) => Scope {
  const deleting = isGone(pipeline)
  const listed = new Set(pipeline?.spec.tables.map(tableLabel))
  const members = pipeline?.status?.capture?.tables
  const published = members && new Set(members.map(tableLabel))
  return (table) => {
    const label = tableLabel(table)
    return { listed: listed.has(label), deleting, published: published?.has(label) ?? true }
  }
}

function isGone(pipeline: Pipeline | undefined): boolean {
  return pipeline === undefined || pipeline.metadata.deletionTimestamp !== undefined
}

function isOf({ spec }: TableBackfill, table: TableName): boolean {
  return spec.table.schema === table.schema && spec.table.name === table.name
}

/** Whatever is wrong with the table at present: it may fail just because the ledger is gone. */
function isApplied({ epoch, historyComplete }: AppliedTable): boolean {
  return historyComplete === true || epoch !== undefined
}
