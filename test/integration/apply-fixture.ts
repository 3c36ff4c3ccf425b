import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { QueueStatus, TableBackfill } from '../../crds/table-backfill.ts'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { kubeApiOver } from '../../lib/kube/client.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { runApply } from '../../workers/apply/run.ts'
import type { Destination } from '../../workers/destination/destination.ts'
import type { LedgerBackfill, LedgerTable } from '../../workers/destination/ledger.ts'
import {
  type ControlLine,
  type HeaderColumn,
  type HoldLine,
  PART_HEADER,
  type RowLine,
  RUN_HEADER,
} from '../../workers/queue/format.ts'
import { createKafkaQueue } from '../../workers/queue/kafka.ts'
import type { Queue } from '../../workers/queue/queue.ts'
import { tableTopic } from '../../workers/queue/topics.ts'
import { fileSecrets } from '../../workers/runtime/secrets.ts'
import { formatLSN } from '../../workers/source/lsn.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import { openOn } from './destination-postgres-fixture.ts'
import { createNamespace, pipelineManifest, request } from './kubernetes.ts'
import { createDatabase, kafkaBrokers, kubeconfig, type TestDatabase, tempDir } from './services.ts'

export const never = new AbortController().signal
const CUSTOM = '/apis/millrace.dev/v1alpha1/namespaces'

export interface ApplyOptions {
  /** SQL for the source: its catalog is asked, and rows are read from it again. */
  readonly source: string
  readonly destination?: string
  /** Entries of spec.tables. */
  readonly tables?: readonly { schema?: string; name: string; [field: string]: unknown }[]
  /** More of the Pipeline's spec. */
  readonly spec?: object
  /** The replica stands in spec.source.postgres.replicas. Default false. */
  readonly replica?: boolean
  /** `host:port` of another broker than the shared one. */
  readonly broker?: string
}

/** Columns of a table as its header says them. */
export type Columns = readonly HeaderColumn[]

export interface ApplyBed {
  readonly namespace: string
  readonly source: TestDatabase
  readonly destinationUrl: string
  readonly destination: Destination
  readonly queue: Queue
  readonly topic: (table?: string) => string
  /** Writes one run. Positions must grow; `lsn` is that of the commit record. */
  rows(lsn: number | bigint, lines: readonly RowLine[], options?: RunOptions): Promise<void>
  control(lsn: number, line: ControlContent, options?: RunOptions): Promise<void>
  /** Runs the worker in this process. */
  run(): Running
  /** Runs it in a process of its own. */
  spawn(env?: Record<string, string>): Spawned
  backfill(name: string, spec?: object): Promise<string>
  patchBackfill(name: string, spec: object): Promise<void>
  setPhase(name: string, phase: string): Promise<void>
  removeBackfill(name: string): Promise<void>
  queueStatus(name: string): Promise<QueueStatus | undefined>
  untilQueue(name: string, state: QueueStatus['state'], timeoutMs?: number): Promise<QueueStatus>
  pipeline(): Promise<Pipeline>
  patchPipeline(spec: object): Promise<void>
  removePipeline(): Promise<void>
  ledger(table?: string): Promise<LedgerTable | undefined>
  untilLedger(what: string, test: (row: LedgerTable) => boolean, table?: string): Promise<LedgerTable>
  untilBackfill(uid: string, state: LedgerBackfill['state']): Promise<LedgerBackfill>
  /** Does the Job's part between held and copied: the action, and these rows. */
  copy(uid: string, definition: TableDefinition, rows: readonly string[], visibility?: string): Promise<void>
  /** The destination's rows, as text. */
  contents(table?: string): Promise<string[]>
  untilContents(expected: readonly string[], table?: string): Promise<void>
  close(): Promise<void>
}

type ControlContent = ControlLine extends infer Line
  ? Line extends ControlLine
    ? Omit<Line, 'tx' | 'seq' | 'at'>
    : never
  : never

export interface RunOptions {
  readonly table?: string
  readonly columns?: Columns
  readonly incarnation?: string
  readonly epoch?: number
  readonly xid?: number
  readonly at?: Date
  /** Splits the run into records of this many bytes. */
  readonly partBytes?: number
}

export interface Running {
  readonly done: Promise<void>
  readonly metrics: Registry
  stop(): Promise<void>
}

export interface Spawned {
  readonly child: ChildProcess
  readonly exit: Promise<number | null>
  output(): string
}

export const KV: Columns = [
  ['k', 'integer', 1],
  ['v', 'text', 0],
]

export async function openBed(transport: Transport, name: string, options: ApplyOptions): Promise<ApplyBed> {
  const source = await createDatabase(`ap_${name}`)
  const target = await createDatabase(`ap_${name}`, 'destination')
  await query(source.url, options.source)
  if (options.destination) await query(target.url, options.destination)
  const namespace = await createNamespace(transport, 'apply')
  const place = (url: string) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) })
  const common = { sslMode: 'Disable', credentialsSecretRef: { name: 'db' } }
  const broker = options.broker ?? kafkaBrokers()
  const made = await request<Pipeline>(
    transport,
    'POST',
    `${CUSTOM}/${namespace}/pipelines`,
    pipelineManifest('one', {
      source: {
        postgres: {
          ...common,
          ...place(source.url),
          database: source.name,
          ...(options.replica && { replicas: [place(source.replicaUrl)] }),
        },
      },
      queue: { kafka: { bootstrapServers: [broker] } },
      destination: { postgres: { ...common, ...place(target.url), database: target.name } },
      tables: options.tables ?? [{ name: 't' }],
      ...options.spec,
    }),
  )
  const uid = made.metadata.uid ?? ''
  const secretsDir = writeSecrets()
  const env = {
    namespace,
    pipeline: 'one',
    pipelineUid: uid,
    backfill: undefined,
    backfillUid: undefined,
    secretsDir,
    port: 0,
    logLevel: 'silent',
    failpoints: undefined,
    shutdownSeconds: 25,
  }
  const queue = createKafkaQueue(
    { bootstrapServers: [broker], retentionSeconds: 3600 },
    fileSecrets(secretsDir),
    pino({ level: 'silent' }),
  )
  const topic = (table = 't') => tableTopic(`${namespace}.one`, { schema: 'public', name: table })
  const incarnations = new Map<string, string>()
  const columnsOf = new Map<string, Columns>()
  const destination = openOn(target.url, uid)
  const stops: (() => Promise<void>)[] = []
  const backfillPath = (of: string) => `${CUSTOM}/${namespace}/tablebackfills/${of}`
  const pipelinePath = `${CUSTOM}/${namespace}/pipelines/one`

  async function send(lines: readonly unknown[], options: RunOptions): Promise<void> {
    const { table = 't', epoch = 1 } = options
    const known = incarnations.get(table)
    const inc = options.incarnation ?? known ?? randomBytes(6).toString('hex')
    if (!known) await queue.ensureTopic(topic(table), never)
    incarnations.set(table, inc)
    const columns = options.columns ?? columnsOf.get(table) ?? KV
    columnsOf.set(table, columns)
    const header = { v: 1, inc, epoch, table: ['public', table], columns }
    const value = Buffer.from([header, ...lines].map((line) => `${JSON.stringify(line)}\n`).join(''))
    const { partBytes = 700_000 } = options
    const count = Math.ceil(value.length / partBytes)
    const run = randomBytes(6).toString('hex')
    const records = Array.from({ length: count }, (_, index) => ({
      value: value.subarray(index * partBytes, (index + 1) * partBytes),
      ...(count > 1 && { headers: { [PART_HEADER]: `${index + 1}/${count}`, [RUN_HEADER]: run } }),
    }))
    await queue.send([{ topic: topic(table), records }], never)
  }

  const at = (date: Date | undefined) => (date ?? new Date()).toISOString()

  const bed: ApplyBed = {
    namespace,
    source,
    destinationUrl: target.url,
    destination,
    queue,
    topic,
    rows: (lsn, lines, of = {}) =>
      send([{ tx: formatLSN(BigInt(lsn)), xid: of.xid ?? 3, at: at(of.at) }, ...lines], of),
    control: (lsn, line, of = {}) =>
      send([{ ...line, tx: formatLSN(BigInt(lsn)), seq: 1, at: at(of.at) }], of),
    run() {
      const stop = new AbortController()
      const metrics = new Registry()
      const done = runApply({
        env,
        log: pino({ level: process.env.APPLY_LOG ?? 'silent' }),
        kube: kubeApiOver(transport),
        metrics,
        stop: stop.signal,
        secrets: fileSecrets(secretsDir),
        health: { addLivenessCheck() {}, setReady() {} },
      })
      done.catch(() => {})
      const end = async () => {
        stop.abort(new Error('stopped'))
        await done
      }
      stops.push(end)
      return { done, metrics, stop: end }
    },
    spawn(more = {}) {
      const child = spawn(process.execPath, ['workers/apply/main.ts'], {
        env: {
          PATH: process.env.PATH,
          POD_NAMESPACE: namespace,
          MILLRACE_PIPELINE: 'one',
          MILLRACE_PIPELINE_UID: uid,
          MILLRACE_SECRETS_DIR: secretsDir,
          MILLRACE_KUBECONFIG: kubeconfig(),
          MILLRACE_PORT: '0',
          ...more,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => (output += bytes))
      const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
      stops.push(async () => {
        child.kill('SIGKILL')
        await exit
      })
      return { child, exit, output: () => output }
    },
    async backfill(of, spec = {}) {
      const created = await request<TableBackfill>(
        transport,
        'POST',
        `${CUSTOM}/${namespace}/tablebackfills`,
        {
          apiVersion: 'millrace.dev/v1alpha1',
          kind: 'TableBackfill',
          metadata: { name: of },
          spec: { pipelineRef: { name: 'one' }, table: { schema: 'public', name: 't' }, ...spec },
        },
      )
      return created.metadata.uid ?? ''
    },
    async patchBackfill(of, spec) {
      await request(transport, 'PATCH', backfillPath(of), { spec }, 'application/merge-patch+json')
    },
    async setPhase(of, phase) {
      const body = { status: { phase } }
      await request(transport, 'PATCH', `${backfillPath(of)}/status`, body, 'application/merge-patch+json')
    },
    async removeBackfill(of) {
      await request(transport, 'DELETE', backfillPath(of))
    },
    async queueStatus(of) {
      return (await request<TableBackfill>(transport, 'GET', backfillPath(of))).status?.queue
    },
    untilQueue: (of, state, timeoutMs = 30_000) =>
      until(
        async () => {
          const found = await bed.queueStatus(of)
          return found?.state === state ? found : undefined
        },
        { what: `${of}: ${state}`, timeoutMs },
      ),
    pipeline: () => request<Pipeline>(transport, 'GET', pipelinePath),
    async patchPipeline(spec) {
      await request(transport, 'PATCH', pipelinePath, { spec }, 'application/merge-patch+json')
    },
    async removePipeline() {
      await request(transport, 'DELETE', pipelinePath)
    },
    ledger: (table = 't') =>
      destination.ledger.readTable({ schema: 'public', name: table }, never).catch(() => undefined),
    untilLedger: (what, test, table = 't') =>
      until(
        async () => {
          const row = await bed.ledger(table)
          return row && test(row) ? row : undefined
        },
        { what: `ledger: ${what}`, timeoutMs: 30_000 },
      ),
    untilBackfill: (of, state) =>
      until(
        async () => {
          const row = await destination.ledger.readBackfill(of, never).catch(() => undefined)
          return row?.state === state ? row : undefined
        },
        { what: `ledger: backfill ${state}`, timeoutMs: 30_000 },
      ),
    async copy(of, definition, rows, visibility = '') {
      const backfill = await destination.ledger.beginAttempt(of, never)
      const fence = { uid: of, attempt: backfill.attempt }
      const table = await bed.untilLedger('held', (row) => row.heldBy === of, definition.name)
      const options = { deletes: 'Hard' as const }
      const target = table.destination
      const acted = await destination.runAction({ fence, backfill, target, definition, options }, never)
      const plan = { plan: 1, scan: 'Key' as const, snapshot: '', visibility, append: acted.backfill.append }
      await destination.ledger.recordPlan(fence, { ...plan, ranges: [{ kind: 'all' }] }, never)
      const [chunk] = await destination.ledger.readChunks(of, 1, never)
      await destination.writeChunk(
        {
          fence,
          target,
          definition,
          options,
          plan: 1,
          chunk: chunk?.chunk ?? 0,
          range: { kind: 'all' },
          snapshot: '',
          async *read() {
            yield Buffer.from(rows.map((row) => `${row}\n`).join(''))
          },
          beforeCommit: async () => {},
        },
        never,
      )
      await destination.ledger.recordCopied(fence, never)
    },
    async contents(table = 't') {
      const there = await query<{ there: boolean }>(
        target.url,
        `select to_regclass('public.${table}') is not null as there`,
      )
      if (!there[0]?.there) return []
      const all = `select t::text as row from ${table} t order by t::text collate "C"`
      return (await query<{ row: string }>(target.url, all)).map(({ row }) => row)
    },
    async untilContents(expected, table = 't') {
      let found: string[] = []
      const wanted = JSON.stringify(expected)
      await until(
        async () => {
          found = await bed.contents(table)
          return JSON.stringify(found) === wanted
        },
        { what: `rows ${wanted.slice(0, 500)}`, timeoutMs: 30_000 },
      ).catch((error) => {
        throw new Error(`${error}; found ${JSON.stringify(found).slice(0, 500)}`)
      })
    },
    async close() {
      for (const stop of stops) await stop()
      await queue.close()
      await destination.close()
    },
  }
  return bed
}

export const hold = (
  uid: string,
  name: string,
  action: HoldLine['action'] = 'DoNothing',
): Omit<HoldLine, 'tx' | 'seq' | 'at'> => ({ control: 'hold', lsn: '0/900', uid, name, action })

function writeSecrets(): string {
  const dir = tempDir('secrets')
  for (const mount of ['source', 'destination']) {
    mkdirSync(join(dir, mount), { recursive: true })
    writeFileSync(join(dir, mount, 'username'), 'postgres')
    writeFileSync(join(dir, mount, 'password'), 'postgres')
  }
  return dir
}
