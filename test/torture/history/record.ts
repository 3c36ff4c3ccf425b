import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Pipeline } from '../../../crds/pipeline.ts'
import type { TableBackfill } from '../../../crds/table-backfill.ts'
import { asSuperuser, type Site } from '../../../hack/demo/site.ts'
import { tableTopic } from '../../../workers/queue/topics.ts'
import type { World } from '../../cluster/world.ts'
import type { TortureTable } from '../tables.ts'
import { auditSlot, destinationSetup, sourceSetup } from './audit-sql.ts'
import type { BackfillEvent, Event, History, SettingEvent } from './events.ts'
import { readDestination, readScans, readSource } from './read-audit.ts'
import { openQueue, readQueue } from './read-queue.ts'
import type { ClusterWatch } from './watch.ts'

/** Records what happens to a site's Pipeline. */
export interface Recorder {
  /** Something is done to it. */
  struck(what: string): void
  /** Ends recording and reads what the servers have kept. */
  finish(setting: Omit<SettingEvent, 'kind'>): Promise<History>
}

export interface RecorderOptions {
  readonly world: World
  readonly site: Site
  readonly watch: ClusterWatch
  readonly pipeline: string
  readonly tables: readonly TortureTable[]
  readonly owner: string
  /** Triggers at the destination; only where it is PostgreSQL with Millrace's ledger. */
  readonly auditDestination: boolean
}

const SAMPLE_MILLISECONDS = 400
const CONFIRMED = `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots
  WHERE database = current_database() AND plugin = 'pgoutput'`

/** Prepares both databases, before there are tables, and begins to watch. */
export async function startRecorder(options: RecorderOptions): Promise<Recorder> {
  const { world, site, pipeline, tables } = options
  const database = new URL(site.sourceUrl).pathname.slice(1)
  const events: Event[] = []
  await asSuperuser(site.sourceUrl, async (client) => {
    await client.query(sourceSetup(options.owner))
    await client.query(`SELECT pg_create_logical_replication_slot($1, 'test_decoding')`, [
      auditSlot(database),
    ])
  })
  if (options.auditDestination)
    await asSuperuser(site.destinationUrl, (client) => client.query(destinationSetup(tables)))
  const unwatch = options.watch.subscribe(site.namespace, {
    backfill: (object, deleted) => events.push(backfillEvent(object, deleted)),
    pipeline: (object) => events.push(pipelineEvent(object)),
  })
  const queue = openQueue(world.kafka.bootstrap.split(','))
  const prefix = `${site.namespace}.${pipeline}`
  const topics = tables.map((table) => tableTopic(prefix, table))
  const stopping = new AbortController()
  const sampled = Promise.all([sampleSlot(), sampleTopics()])

  async function sampleSlot(): Promise<void> {
    let last: string | null | undefined
    // One session for all samples: a new one costs more than the question.
    while (!stopping.signal.aborted) {
      await asSuperuser(site.sourceUrl, async (client) => {
        while (!stopping.signal.aborted) {
          const { rows } = await client.query<{ lsn: string }>(CONFIRMED)
          const confirmed = rows[0]?.lsn ?? null
          if (confirmed !== last) events.push({ kind: 'slot', at: Date.now(), confirmed })
          last = confirmed
          await rest()
        }
      }).catch(() => {})
      await rest()
    }
  }

  async function sampleTopics(): Promise<void> {
    const last = new Map<string, number>()
    await repeat(async () => {
      for (const topic of topics) {
        const offsets = await queue.offsets(topic, stopping.signal)
        const earliest = Number(offsets?.earliest ?? 0n)
        if (earliest === (last.get(topic) ?? 0)) continue
        last.set(topic, earliest)
        events.push({ kind: 'topic', at: Date.now(), topic, earliest })
      }
    })
  }

  const rest = () => sleep(SAMPLE_MILLISECONDS, undefined, { signal: stopping.signal }).catch(() => {})

  async function repeat(sample: () => Promise<void>): Promise<void> {
    while (!stopping.signal.aborted) {
      // What is asked may just now be down.
      await sample().catch(() => {})
      await rest()
    }
  }

  function rootOf(schema: string, name: string): string | undefined {
    const root = tables.find(
      (table) =>
        table.schema === schema &&
        (name === table.name ||
          (/^_(low|high)$/.test(name.slice(table.name.length)) && name.startsWith(table.name))),
    )
    return root && `${root.schema}.${root.name}`
  }

  return {
    struck: (what) => events.push({ kind: 'struck', at: Date.now(), what }),
    async finish(setting) {
      stopping.abort()
      unwatch()
      await sampled
      const [destination, source, scans, runs] = await Promise.all([
        options.auditDestination ? readDestination(site.destinationUrl) : [],
        setting.failedOver ? [] : readSource(site.sourceUrl, database),
        readScans(site.sourceUrl, 'primary', rootOf).catch(() => []),
        readQueue(queue, prefix, topics),
      ])
      await queue.close()
      return [{ kind: 'setting', ...setting }, ...events, ...source, ...runs, ...destination, ...scans]
    },
  }
}

/** Writes a history to `<dir>/history.jsonl`. */
export async function writeHistory(dir: string, history: History): Promise<void> {
  await mkdir(dir, { recursive: true })
  await writeFile(join(dir, 'history.jsonl'), history.map((event) => `${JSON.stringify(event)}\n`).join(''))
}

function backfillEvent({ metadata, spec, status }: TableBackfill, deleted: boolean): BackfillEvent {
  return {
    kind: 'backfill',
    at: Date.now(),
    name: metadata.name,
    uid: metadata.uid ?? '',
    table: `${spec.table.schema}.${spec.table.name}`,
    phase: status?.phase ?? '',
    queue: status?.queue?.state ?? '',
    calledOff: spec.cancel || metadata.deletionTimestamp !== undefined,
    waits:
      spec.suspend ||
      status?.queuePosition !== undefined ||
      status?.message?.startsWith('waiting to go on') === true ||
      status?.conditions?.some(({ reason }) => reason === 'Suspended') === true,
    ends: status?.conditions?.some(({ reason }) => reason === 'Cancelled') === true,
    deleted,
  }
}

function pipelineEvent({ status }: Pipeline): Event {
  return {
    kind: 'pipeline',
    at: Date.now(),
    tables: (status?.tables ?? []).map(({ schema, name, state, historyComplete }) => ({
      table: `${schema}.${name}`,
      state: state ?? '',
      historyComplete: historyComplete === true,
    })),
  }
}
