import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import type { CopyStatus, TableBackfill } from '../../crds/table-backfill.ts'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { kubeApiOver } from '../../lib/kube/client.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { runBackfill } from '../../workers/backfill/run.ts'
import type { Destination } from '../../workers/destination/destination.ts'
import type { LedgerBackfill } from '../../workers/destination/ledger.ts'
import { tableBackfillResource } from '../../workers/runtime/resources.ts'
import { fileSecrets } from '../../workers/runtime/secrets.ts'
import { openConnection } from '../../workers/source/connect.ts'
import { ensurePublication, joinTable } from '../../workers/source/publication.ts'
import { sourceTarget } from '../../workers/source/targets.ts'
import { openOn } from './destination-postgres-fixture.ts'
import { createNamespace, pipelineManifest, request } from './kubernetes.ts'
import {
  createDatabase,
  kubeconfig,
  onDatabase,
  type TestDatabase,
  tempDir,
  waitForReplica,
} from './services.ts'

const never = new AbortController().signal
const CUSTOM = '/apis/millrace.dev/v1alpha1/namespaces'

export interface BackfillOptions {
  /** SQL that makes the source's table, and fills it. */
  readonly source: string
  readonly table?: { readonly schema?: string; readonly name: string }
  readonly action?: 'DoNothing' | 'Truncate' | 'Drop'
  /** spec.backfill of the TableBackfill. */
  readonly backfill?: object
  /** Entry of the Pipeline's list of tables, beside the names. */
  readonly entry?: object
  /** SQL for the destination before the backfill. */
  readonly destination?: string
  readonly replicas?: readonly { host: string; port: number }[]
  /** Source servers of the test's own instead of the shared ones: superuser's URLs. */
  readonly servers?: { readonly primary: string; readonly replica: string }
  /** The table is in the publication from the start; default true. */
  readonly joined?: boolean
}

/** One table, one Pipeline, one TableBackfill, and whoever plays capture and apply for it. */
export interface BackfillBed {
  readonly source: TestDatabase
  readonly destinationUrl: string
  readonly destination: Destination
  readonly uid: string
  /** Where the worker finds its Secrets. */
  readonly secretsDir: string
  /** Runs the worker in this process. */
  run(): Running
  /** Runs it in a process of its own. */
  spawn(): Spawned
  /** Plays apply: waits for the hold in the log, records *held* with its true position. */
  hold(): Promise<LedgerBackfill>
  /** `run` and `hold`; ends when the worker does. */
  complete(): Promise<void>
  ledgerRow(): Promise<LedgerBackfill | undefined>
  copyStatus(): Promise<CopyStatus>
  /** Waits until the status says so. */
  untilStatus(what: string, test: (copy: CopyStatus) => boolean): Promise<CopyStatus>
  patch(spec: object): Promise<void>
  remove(): Promise<void>
  join(): Promise<void>
  /** Log messages of Millrace in the source's log, by kind. */
  messages(): Promise<{ kind: string; uid?: string; end: string }[]>
  /** Both sides, row by row, as one text each. */
  contents(): Promise<{ source: string; destination: string }>
  close(): Promise<void>
}

export interface Running {
  readonly done: Promise<void>
  readonly metrics: Registry
  stop(): void
}

export interface Spawned {
  readonly child: ChildProcess
  readonly exit: Promise<number | null>
  /** Its log, as far as it has been written. */
  output(): string
}

export async function openBed(
  transport: Transport,
  name: string,
  options: BackfillOptions,
): Promise<BackfillBed> {
  const table = { schema: 'public', ...options.table, name: options.table?.name ?? 't' }
  const source = await sourceDatabase(`bf_${name}`, options.servers)
  const target = await createDatabase(`bf_${name}`, 'destination')
  await query(source.url, options.source)
  if (options.destination) await query(target.url, options.destination)

  const namespace = await createNamespace(transport, 'backfill')
  const [primary, replica] = [new URL(source.url), new URL(source.replicaUrl)]
  const place = (url: URL) => ({ host: url.hostname, port: Number(url.port) })
  const common = { database: source.name, sslMode: 'Disable', credentialsSecretRef: { name: 'db' } }
  const slot = `bf_${name}`
  const pipeline = await request<{ metadata: { uid: string }; spec: Parameters<typeof sourceTarget>[0] }>(
    transport,
    'POST',
    `${CUSTOM}/${namespace}/pipelines`,
    pipelineManifest('one', {
      source: {
        postgres: {
          ...common,
          ...place(primary),
          replicas: options.replicas ?? [place(replica)],
          publication: slot,
          slot,
        },
      },
      destination: { postgres: { ...common, ...place(new URL(target.url)), database: target.name } },
      tables: [{ ...table, ...options.entry }],
    }),
  )
  const path = `${CUSTOM}/${namespace}/tablebackfills/first`
  const created = await request<TableBackfill>(transport, 'POST', `${CUSTOM}/${namespace}/tablebackfills`, {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'TableBackfill',
    metadata: { name: 'first' },
    spec: {
      pipelineRef: { name: 'one' },
      table,
      destinationTable: options.action ?? 'DoNothing',
      backfill: options.backfill ?? {},
    },
  })
  const uid = created.metadata.uid
  const secretsDir = writeSecrets()
  const env = {
    namespace,
    pipeline: 'one',
    pipelineUid: pipeline.metadata.uid,
    backfill: 'first',
    backfillUid: uid,
    secretsDir,
    port: 0,
    logLevel: 'silent',
    shutdownSeconds: 25,
  }

  const connection = await openConnection(sourceTarget(pipeline.spec, fileSecrets(secretsDir), 'test'), {
    purpose: 'query',
    signal: never,
  })
  const names = { publication: slot, slot }
  await ensurePublication(connection, slot, 'test')
  await connection.query(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`)
  const join_ = async () => void (await joinTable(connection, names, table, 'spec.tables[0]'))
  if (options.joined !== false) await join_()

  const destination = openOn(target.url, env.pipelineUid)
  await destination.ledger.open(never)
  await destination.ledger.claimTable(
    { table, destination: table, topic: 'topic', historyComplete: false, unknownHistory: false },
    never,
  )

  const bed: BackfillBed = {
    source,
    destinationUrl: target.url,
    destination,
    uid,
    secretsDir,
    run() {
      const stop = new AbortController()
      const log = pino({ level: process.env.BACKFILL_LOG ?? 'silent' })
      const metrics = new Registry()
      const done = runBackfill({
        env,
        log,
        kube: kubeApiOver(transport),
        metrics,
        stop: stop.signal,
        secrets: fileSecrets(secretsDir),
        health: { addLivenessCheck() {}, setReady() {} },
      })
      done.catch(() => {})
      return { done, metrics, stop: () => stop.abort(new Error('stopped')) }
    },
    spawn() {
      return spawnBackfill({
        POD_NAMESPACE: namespace,
        MILLRACE_PIPELINE: 'one',
        MILLRACE_PIPELINE_UID: env.pipelineUid,
        MILLRACE_BACKFILL: 'first',
        MILLRACE_BACKFILL_UID: uid,
        MILLRACE_SECRETS_DIR: secretsDir,
      })
    },
    async hold() {
      const end = await until(
        async () => (await bed.messages()).find((each) => each.kind === 'hold' && each.uid === uid)?.end,
        { what: 'the hold in the log', timeoutMs: 60_000 },
      )
      const row = await destination.ledger.readTable(table, never)
      if (!row) throw new Error('no ledger row of the table')
      const holdLSN = BigInt(`0x${end.split('/')[0]}`) * 2n ** 32n + BigInt(`0x${end.split('/')[1]}`)
      await destination.ledger.recordHeld(
        row,
        {
          uid,
          name: 'first',
          action: options.action ?? 'DoNothing',
          holdLSN,
          holdOffset: 1n,
          position: { epoch: 1, lsn: holdLSN, sequence: 1 },
        },
        never,
      )
      await kubeApiOver(transport).applyStatus(
        tableBackfillResource(namespace),
        'first',
        'millrace-apply',
        { queue: { state: 'Held' } },
        never,
      )
      const held = await bed.ledgerRow()
      if (!held) throw new Error('not held')
      return held
    },
    async complete() {
      const running = bed.run()
      await Promise.race([
        bed.hold(),
        running.done.then(() => Promise.reject(new Error('ended before its hold'))),
      ])
      await running.done
    },
    ledgerRow: () => destination.ledger.readBackfill(uid, never),
    async copyStatus() {
      const object = await request<TableBackfill>(transport, 'GET', path)
      return object.status?.copy ?? {}
    },
    untilStatus: (what, test) =>
      until(
        async () => {
          const copy = await bed.copyStatus()
          return test(copy) ? copy : undefined
        },
        { what: `status: ${what}`, timeoutMs: 60_000 },
      ),
    async patch(spec) {
      await request(transport, 'PATCH', path, { spec }, 'application/merge-patch+json')
    },
    async remove() {
      await request(transport, 'DELETE', path)
    },
    join: join_,
    async messages() {
      const rows = await query<{ data: string }>(
        source.url,
        `select encode(data, 'hex') as data from pg_logical_slot_peek_binary_changes('${slot}', null, null,
           'proto_version', '1', 'publication_names', '${slot}', 'messages', 'true')`,
      )
      return decodeMessages(rows.map((row) => Buffer.from(row.data, 'hex')))
    },
    async contents() {
      const from = `"${table.schema}"."${table.name}"`
      const all = `select coalesce(string_agg(t::text, E'\\n' order by t::text collate "C"), '') as all from ${from} t`
      const [a, b] = await Promise.all([
        query<{ all: string }>(source.url, all),
        query<{ all: string }>(target.url, all),
      ])
      return { source: a[0]?.all ?? '', destination: b[0]?.all ?? '' }
    },
    async close() {
      await destination.close()
      await query(source.url, `select pg_drop_replication_slot('${slot}')`).catch(() => {})
      await connection.close()
    },
  }
  return bed
}

async function sourceDatabase(name: string, servers: BackfillOptions['servers']): Promise<TestDatabase> {
  if (!servers) return createDatabase(name)
  await query(servers.primary, `create database ${name}`)
  await waitForReplica(servers.primary, servers.replica)
  return { name, url: onDatabase(servers.primary, name), replicaUrl: onDatabase(servers.replica, name) }
}

/** Holds up whoever writes a certain row into the destination. */
export interface Gate {
  /** Resolves when somebody waits at it. */
  reached(): Promise<void>
  open(): Promise<void>
}

/** SQL for the destination: the row of table t with this id waits at the gate. */
export const gateAt = (id: number) => gate(`= ${id}`)

/** The same for all rows from that key on, so that no other chunk behind it is copied meanwhile. */
export const gateFrom = (id: number) => gate(`>= ${id}`)

const gate = (which: string) =>
  `create function gate() returns trigger language plpgsql as
     $$ begin perform pg_advisory_xact_lock_shared(4711); return new; end $$;
   create trigger gate before insert on t for each row when (new.id ${which}) execute function gate()`

/** Closes the gate of a destination. */
export async function closeGate(url: string): Promise<Gate> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  await client.query('select pg_advisory_lock(4711)')
  return {
    async reached() {
      const waiting = `select 1 from pg_locks where locktype = 'advisory' and objid = 4711 and not granted
        and database = (select oid from pg_database where datname = current_database())`
      await until(async () => (await client.query(waiting)).rows.length > 0, {
        what: 'somebody at the gate',
        timeoutMs: 60_000,
      })
    },
    open: () => client.end(),
  }
}

function writeSecrets(): string {
  const dir = tempDir('secrets')
  for (const mount of ['source', 'destination']) {
    mkdirSync(join(dir, mount), { recursive: true })
    writeFileSync(join(dir, mount, 'username'), 'postgres')
    writeFileSync(join(dir, mount, 'password'), 'postgres')
  }
  return dir
}

// pgoutput: M = message (flags, lsn, prefix, length, content), C = commit (flags, commit LSN, end LSN, time).
function decodeMessages(lines: readonly Buffer[]): { kind: string; uid?: string; end: string }[] {
  const found: { kind: string; uid?: string; end: string }[] = []
  let open: { kind: string; uid?: string }[] = []
  for (const line of lines) {
    if (line[0] === 0x4d) {
      const content = line.subarray(line.indexOf(0, 10) + 5).toString()
      open.push(JSON.parse(content) as { kind: string; uid?: string })
    } else if (line[0] === 0x43) {
      const end = `${line.readUInt32BE(10).toString(16)}/${line.readUInt32BE(14).toString(16)}`
      found.push(...open.map((message) => ({ ...message, end })))
      open = []
    }
  }
  return found
}

/** Runs a backfill Job in a process of its own. */
export function spawnBackfill(env: Readonly<Record<string, string>>): Spawned {
  const child = spawn(process.execPath, ['workers/backfill/main.ts'], {
    env: { PATH: process.env.PATH, MILLRACE_KUBECONFIG: kubeconfig(), MILLRACE_PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => (output += bytes))
  const exit = new Promise<number | null>((resolve) => child.once('exit', resolve))
  return { child, exit, output: () => output }
}

/** Highest resident memory of a process, in bytes, once it has ended. */
export async function peakMemory({ child, exit }: Spawned): Promise<number> {
  let peak = 0
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024)
    } catch {
      // It has ended.
    }
  }, 50)
  await exit
  clearInterval(timer)
  return peak
}
