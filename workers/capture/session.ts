import type { PipelineSpec } from '../../crds/pipeline.ts'
import { around } from '../../lib/failpoints.ts'
import type { Logger } from '../../lib/log.ts'
import type { Queue } from '../queue/queue.ts'
import { captureTopic } from '../queue/topics.ts'
import { cutMessage } from '../runtime/problems.ts'
import type { PostgresTarget } from '../source/connect.ts'
import { formatLSN } from '../source/lsn.ts'
import type { SourceNames } from '../source/publication.ts'
import { assertNotMoved } from '../source/slot.ts'
import type { ColumnFilter, TableName } from '../source/table.ts'
import { begin, writeBreak } from './begin.ts'
import { createCatalogWatch } from './catalog-watch.ts'
import { createChanges } from './changes.ts'
import { createDirectory } from './directory.ts'
import { endInOrder, letGo } from './endings.ts'
import { createLookups } from './lookups.ts'
import type { CaptureMetrics } from './metrics.ts'
import { createOutgoing } from './outgoing.ts'
import { type RecordedEnds, type RecordedTopic, stateRecord } from './record.ts'
import { createRecordStore } from './record-store.ts'
import { refilter } from './relations.ts'
import { type ReplicationStream, startReplication } from './replication.ts'
import type { Report } from './report.ts'
import { createSender, type Sender } from './sender.ts'
import { watchServer } from './server-watch.ts'
import { keepSlot } from './slot-watch.ts'
import { createSqlSession } from './sql-session.ts'
import { explainStream } from './stream-errors.ts'
import { keepInTouch, type Reading, readStream } from './stream-loop.ts'
import { keepTables } from './tables.ts'
import { createTruncations } from './truncations.ts'

export interface SessionOptions {
  readonly target: PostgresTarget
  readonly queue: Queue
  readonly names: SourceNames
  /** Who the publication belongs to, for its comment. */
  readonly owner: string
  readonly prefix: string
  readonly log: Logger
  readonly metrics: CaptureMetrics
  readonly report: Report
  readonly spec: () => PipelineSpec
  readonly freshSpec: (signal: AbortSignal) => Promise<PipelineSpec | undefined>
  /** Grows with every change of the Pipeline. */
  readonly specVersion: () => number
  /** Resolves when the version is another one. */
  readonly specChanged: (since: number, signal: AbortSignal) => Promise<unknown>
  /** Why the slot was found to be of no use by the session before. */
  readonly unusable: string | undefined
  /** This process has written a record in a session before. */
  readonly hasRecorded: boolean
  readonly onRecorded: () => void
  /** Process of the source that has sent the log to a session before. */
  readonly formerReader: number | undefined
  readonly onReader: (processId: number) => void
  /** Asks to end in order: what was read is sent and confirmed first. */
  readonly stop: AbortSignal
  readonly onStreaming: () => void
}

/**
 * Captures until something breaks (rejects) or `stop` aborts (resolves). Everything is looked at anew at its start, so the
 * caller only has to call it again.
 */
export async function runSession(options: SessionOptions, outer: AbortSignal): Promise<void> {
  const { target, queue, names, log, metrics, report, spec } = options
  const over = new AbortController()
  const signal = AbortSignal.any([outer, over.signal])
  const topic = captureTopic(options.prefix)
  const sql = createSqlSession(target, signal)
  const store = createRecordStore(queue, topic)
  let stream: ReplicationStream | undefined
  // Until the stream runs there is nothing to bring to an end.
  const giveUp = () => over.abort(options.stop.reason)
  if (options.stop.aborted) giveUp()
  options.stop.addEventListener('abort', giveUp, { once: true })
  try {
    const start = await begin({ ...options, sql, store }, signal)
    const { epoch, identity } = start
    const outgoing = createOutgoing()
    const truncations = createTruncations()
    const changes = createChanges({
      slot: names.slot,
      epoch,
      outgoing,
      start: start.from,
      onStarted() {
        log.info({ from: formatLSN(start.from), epoch }, 'Streaming')
        report.trouble('session', undefined)
        options.onStreaming()
      },
      onReplyRequested() {
        stream?.confirm(sender.recorded())
        sender.hurry()
      },
      onTruncate: truncations.add,
    })
    const directory = createDirectory({
      queue,
      prefix: options.prefix,
      captureTopic: topic,
      topics: start.anew ? withoutPast(start.record.topics) : start.record.topics,
      ends: start.record.ends,
      onLost(channel, gap) {
        log.error({ topic: channel.topic, reason: gap.message }, 'A topic was lost')
        metrics.gap(gap.code)
        changes.writeControl(channel, { control: 'gap', ...gap })
        sender.notify()
      },
    })
    const state = (lsn: bigint, ends: RecordedEnds) => {
      const { systemIdentifier, timeline } = identity
      return stateRecord({ epoch, lsn, systemIdentifier, timeline, owner: options.owner }, ends)
    }
    const sender: Sender = createSender({
      queue,
      outgoing,
      through: changes.through,
      captureTopic: topic,
      start: start.from,
      recorded: start.isResumed ? start.from : 0n,
      hasNews: directory.hasChanged,
      records(lsn) {
        const records = [...directory.takeChanged(), state(lsn, directory.ends('moved'))]
        store.wrote(records.length)
        return records
      },
      onPlaced: directory.placed,
      onSent(channels, bytes) {
        directory.markWritten(channels)
        metrics.sent(channels, bytes)
      },
      onRecorded(lsn) {
        options.onRecorded()
        stream?.confirm(lsn)
        report.facts({ confirmedLSN: formatLSN(lsn) })
      },
    })
    const parts = { ...options, directory, changes, record: start.record }
    if (start.gap) {
      log.error({ code: start.gap.code, reason: start.gap.message, epoch }, 'Changes are missing')
      metrics.gap(start.gap.code)
      // Apply tells it too, but may not run, or may not reach the destination.
      report.facts({ epoch, gap: { epoch, code: start.gap.code, message: cutMessage(start.gap.message) } })
      const line = { control: 'gap', ...start.gap } as const
      await around('capture.gap', () => writeBreak(line, start.tables, parts, signal))
    } else if (start.anew) {
      log.info({ epoch }, 'The topics are those of a Pipeline that has ended')
      const line = { control: 'leave', lsn: formatLSN(start.from) } as const
      await around('capture.gap', () => writeBreak(line, start.tables, parts, signal))
    }
    // Recorded before the source hears of it (invariant I5); after a crash before this, the same gap is found again.
    if (!start.isResumed) await sender.drain(signal)
    report.facts({
      slot: names.slot,
      publication: names.publication,
      systemIdentifier: identity.systemIdentifier,
      timeline: identity.timeline,
      epoch,
      confirmedLSN: formatLSN(sender.recorded()),
    })

    const filterOf = (table: TableName): ColumnFilter | undefined =>
      spec().tables.find((one) => one.schema === table.schema && one.name === table.name)?.columns
    const watch = createCatalogWatch({
      directory,
      log,
      through: changes.through,
      truncations,
      onChange(table, change, afterSent) {
        const channel = directory.known(table)
        if (!channel) return
        changes.writeControl(channel, { control: 'changed', ...change })
        sender.afterSent(afterSent)
        sender.notify()
      },
    })
    const lookups = createLookups({
      changes,
      directory,
      sql,
      watch,
      epoch,
      filterOf,
      tables: () => spec().tables,
      log,
      onTrouble: (thrown) => report.trouble('stream', thrown),
    })
    const slot = keepSlot({
      sql,
      slot: names.slot,
      heartbeatSeconds: () => spec().source.postgres.heartbeatSeconds,
      recorded: sender.recorded,
      commits: changes.commits,
      compact: async () => {
        if (!store.isLong()) return
        const all = () => [...directory.records(), state(sender.recorded(), directory.ends('all'))]
        await sender.alone(() => store.compact(all, signal))
      },
      report,
    })
    metrics.observe({
      lagBytes: () => Math.max(slot.lagBytes(), Number(changes.sourceEnd() - sender.recorded())),
      unacknowledgedBytes: sender.unacknowledged,
      waitingSeconds: () => sender.waitingFor() / 1000,
      retainedBytes: slot.retainedBytes,
      epoch: () => epoch,
    })
    stream = await around('capture.stream', () =>
      startReplication(target, { ...names, start: start.from, identity }, signal),
    )
    const running = stream
    options.onReader(running.processId)
    await sql.use((connection) =>
      assertNotMoved(connection, names.slot, running.processId, start.from, signal),
    )
    options.stop.removeEventListener('abort', giveUp)
    const reading: Reading = { since: undefined }
    await Promise.race([
      readStream(running, changes, sender, lookups, reading, signal),
      keepInTouch(running, sender.recorded, reading, signal),
      sender.run(signal),
      slot.run(signal),
      watchServer(target, identity, sql.moved, signal),
      keepTables(
        {
          ...options,
          sql,
          directory,
          watch,
          onResult: report.tables,
          onTrouble: (error) => report.trouble('source', error),
        },
        signal,
      ),
      followFilters(options, signal, () => {
        for (const relation of changes.relations()) {
          const changed = refilter(relation, epoch, filterOf(relation.channel.table))
          if (changed) changes.replaceRelation(changed)
        }
      }),
      endInOrder(options.stop, running, sender, signal),
      letGo(sql.refused, running, sender, signal),
    ])
  } catch (thrown) {
    outer.throwIfAborted()
    if (options.stop.aborted) return
    throw explainStream(thrown, names.slot)
  } finally {
    options.stop.removeEventListener('abort', giveUp)
    // What was wrong within the session is over with it; what ended it is reported by the caller.
    for (const what of ['slot', 'source', 'stream'] as const) report.trouble(what, undefined)
    metrics.observe(undefined)
    over.abort(new Error('the session is over'))
    await Promise.allSettled([stream?.close(), sql.close()])
  }
}

/** What is known of the topics, without what the tables looked like: while nobody captured them, they may have changed. */
function withoutPast(topics: ReadonlyMap<string, RecordedTopic>): Map<string, RecordedTopic> {
  return new Map(
    [...topics].map(([topic, entry]) => [topic, { ...entry, fingerprint: undefined, membership: undefined }]),
  )
}

async function followFilters(
  options: SessionOptions,
  signal: AbortSignal,
  apply: () => void,
): Promise<never> {
  for (let version = options.specVersion(); ; ) {
    await options.specChanged(version, signal)
    version = options.specVersion()
    apply()
  }
}
