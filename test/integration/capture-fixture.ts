import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import type { CaptureStatus, Pipeline } from '../../crds/pipeline.ts'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { kubeApiOver } from '../../lib/kube/client.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { createLogger } from '../../lib/log.ts'
import { runCapture } from '../../workers/capture/run.ts'
import { createKafkaQueue } from '../../workers/queue/kafka.ts'
import type { Queue } from '../../workers/queue/queue.ts'
import { captureTopic, tableTopic } from '../../workers/queue/topics.ts'
import { fileSecrets } from '../../workers/runtime/secrets.ts'
import { type Connection, openConnection, type PostgresTarget } from '../../workers/source/connect.ts'
import { createNamespace, pipelineManifest, request } from './kubernetes.ts'
import { type Event, readEvents } from './queue-events.ts'
import { createDatabase, kafkaBrokers, kubeconfig, type TestDatabase, tempDir } from './services.ts'

const never = new AbortController().signal
const CUSTOM = '/apis/millrace.dev/v1alpha1/namespaces'

export interface CaptureOptions {
  /** SQL that makes the source's tables. */
  readonly source: string
  /** spec.tables. */
  readonly tables: readonly object[]
  /** Fields of spec.source.postgres beside the address. */
  readonly postgres?: object
  /** Source server of the test's own: superuser's URL. */
  readonly primary?: string
  /** What the source's database has of its own, such as `encoding 'LATIN1' locale 'C'`. */
  readonly database?: string
  readonly brokers?: string
}

/** One Pipeline of which only the capture runs. */
export interface CaptureBed {
  readonly source: TestDatabase
  readonly prefix: string
  readonly slot: string
  readonly queue: Queue
  /** Where capture finds its Secrets. */
  readonly secretsDir: string
  /** A session on the source, as Millrace's own parts open them. */
  connect(): Promise<Connection>
  target(): PostgresTarget
  /** Runs capture in this process. */
  run(): Running
  /** Runs it in a process of its own. */
  spawn(): Spawned
  sql<Row extends object>(sql: string): Promise<Row[]>
  /** Everything in a table's topic. */
  events(table: string): Promise<Event[]>
  /** Waits until the topic satisfies the test. */
  untilEvents(table: string, what: string, test: (events: Event[]) => boolean): Promise<Event[]>
  status(): Promise<CaptureStatus>
  untilStatus(what: string, test: (status: CaptureStatus) => boolean): Promise<CaptureStatus>
  /** Waits until these tables have joined. */
  untilJoined(...tables: string[]): Promise<void>
  patch(spec: object): Promise<void>
  /** Deletes the Pipeline, with slot and publication as its cleanup would, and makes one of the same name. */
  renew(): Promise<void>
  /** Records of capture's own topic, as JSON. */
  record(): Promise<Record<string, unknown>[]>
  slotLSN(): Promise<bigint>
  topic(table: string): string
  close(): Promise<void>
}

export interface Running {
  readonly done: Promise<void>
  readonly metrics: Registry
  /** Asks it to stop, and waits until it has. */
  stop(): Promise<void>
}

export interface Spawned {
  readonly child: ChildProcess
  readonly exit: Promise<number | null>
  output(): string
}

export async function openCaptureBed(
  transport: Transport,
  name: string,
  options: CaptureOptions,
): Promise<CaptureBed> {
  const source = options.primary
    ? { name: 'postgres', url: options.primary, replicaUrl: '' }
    : await createDatabase(`cap_${name}`, 'source', options.database)
  await query(source.url, options.source)
  const namespace = await createNamespace(transport, 'capture')
  const url = new URL(source.url)
  const prefix = `${namespace}.one`
  const slot = `cap_${name}`
  const brokers = options.brokers ?? kafkaBrokers()
  const path = `${CUSTOM}/${namespace}/pipelines/one`
  const pipeline = await request<Pipeline>(
    transport,
    'POST',
    `${CUSTOM}/${namespace}/pipelines`,
    pipelineManifest('one', {
      source: {
        postgres: {
          host: url.hostname,
          port: Number(url.port),
          database: source.name,
          sslMode: 'Disable',
          credentialsSecretRef: { name: 'db' },
          publication: slot,
          slot,
          heartbeatSeconds: 1,
          ...options.postgres,
        },
      },
      queue: { kafka: { bootstrapServers: [brokers] } },
      tables: options.tables,
    }),
  )
  const secretsDir = tempDir('secrets')
  mkdirSync(join(secretsDir, 'source'))
  writeFileSync(join(secretsDir, 'source', 'username'), 'postgres')
  writeFileSync(join(secretsDir, 'source', 'password'), 'postgres')
  const queue = createKafkaQueue(
    { bootstrapServers: [brokers], retentionSeconds: 3600 },
    fileSecrets(secretsDir),
    createLogger('test', 'silent'),
  )
  const target: PostgresTarget = {
    host: url.hostname,
    port: Number(url.port),
    database: source.name,
    sslMode: 'Disable',
    field: 'spec.source.postgres',
    credentials: { mount: 'source', field: 'spec.source.postgres.credentialsSecretRef' },
    ca: undefined,
    secrets: fileSecrets(secretsDir),
    process: 'test',
  }
  const env = {
    namespace,
    pipeline: 'one',
    pipelineUid: pipeline.metadata.uid ?? '',
    backfill: undefined,
    backfillUid: undefined,
    secretsDir,
    port: 0,
    logLevel: 'silent',
    shutdownSeconds: 25,
  }
  const opened: { stop(): Promise<unknown> }[] = []
  const topic = (table: string) => {
    const [schema = '', bare] = table.includes('.') ? table.split('.') : ['public', table]
    return tableTopic(prefix, { schema, name: bare ?? '' })
  }

  const bed: CaptureBed = {
    source,
    prefix,
    slot,
    queue,
    secretsDir,
    target: () => target,
    async connect() {
      const connection = await openConnection(target, { purpose: 'query', signal: never })
      opened.push({ stop: connection.close })
      return connection
    },
    run() {
      const stop = new AbortController()
      const metrics = new Registry()
      const done = runCapture({
        env,
        log: pino({ level: process.env.CAPTURE_LOG ?? 'silent' }),
        kube: kubeApiOver(transport),
        metrics,
        stop: stop.signal,
        secrets: fileSecrets(secretsDir),
        health: { addLivenessCheck() {}, setReady() {} },
      })
      done.catch(() => {})
      const running = {
        done,
        metrics,
        async stop() {
          stop.abort(new Error('stopped'))
          await done
        },
      }
      opened.push({ stop: () => running.stop().catch(() => {}) })
      return running
    },
    spawn() {
      const child = spawn(process.execPath, ['workers/capture/main.ts'], {
        env: {
          PATH: process.env.PATH,
          POD_NAMESPACE: namespace,
          MILLRACE_PIPELINE: 'one',
          MILLRACE_PIPELINE_UID: env.pipelineUid,
          MILLRACE_SECRETS_DIR: secretsDir,
          MILLRACE_KUBECONFIG: kubeconfig(),
          MILLRACE_PORT: '0',
          MILLRACE_LOG_LEVEL: 'debug',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let output = ''
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on('data', (bytes) => {
          output += bytes
          if (process.env.CAPTURE_LOG) process.stdout.write(bytes)
        })
      }
      const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
      opened.push({
        async stop() {
          child.kill('SIGKILL')
          await exit
        },
      })
      return { child, exit, output: () => output }
    },
    sql: (sql) => query(source.url, sql),
    events: (table) => readEvents(queue, topic(table)),
    untilEvents: (table, what, test) =>
      until(
        async () => {
          const events = await bed.events(table)
          return test(events) ? events : undefined
        },
        { what: `${table}: ${what}`, timeoutMs: 90_000 },
      ),
    async status() {
      return (await request<Pipeline>(transport, 'GET', path)).status?.capture ?? {}
    },
    untilStatus: (what, test) =>
      until(
        async () => {
          const status = await bed.status()
          return test(status) ? status : undefined
        },
        { what: `status: ${what}`, timeoutMs: 60_000 },
      ),
    async untilJoined(...tables) {
      await bed.untilStatus(`joined ${tables}`, (status) =>
        tables.every((table) => status.tables?.some((one) => one.name === table)),
      )
    },
    async patch(spec) {
      await request(transport, 'PATCH', path, { spec }, 'application/merge-patch+json')
    },
    async renew() {
      await request(transport, 'DELETE', path)
      await query(source.url, `select pg_drop_replication_slot('${slot}')`)
      await query(source.url, `drop publication ${slot}`)
      const { name, namespace: _ } = pipeline.metadata
      const again = {
        apiVersion: pipeline.apiVersion,
        kind: pipeline.kind,
        metadata: { name },
        spec: pipeline.spec,
      }
      const made = await request<Pipeline>(transport, 'POST', `${CUSTOM}/${namespace}/pipelines`, again)
      env.pipelineUid = made.metadata.uid ?? ''
    },
    async record() {
      const records = await queue.readAll(captureTopic(prefix), never)
      return records.map((record) => JSON.parse(record.value.toString()) as Record<string, unknown>)
    },
    async slotLSN() {
      const [row] = await bed.sql<{ lsn: string }>(
        `select (confirmed_flush_lsn - '0/0')::text as lsn from pg_replication_slots where slot_name = '${slot}'`,
      )
      return BigInt(row?.lsn ?? 0)
    },
    topic,
    async close() {
      for (const one of opened.reverse()) await one.stop()
      await query(
        source.url,
        `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '${slot}' and not active`,
      ).catch(() => {})
      await queue.close()
    },
  }
  return bed
}
