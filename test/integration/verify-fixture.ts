import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import type { Pipeline, PipelineManifestSpec } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { kubeApiOver } from '../../lib/kube/client.ts'
import { runApply } from '../../workers/apply/run.ts'
import { runBackfill } from '../../workers/backfill/run.ts'
import { runCapture } from '../../workers/capture/run.ts'
import { fileSecrets } from '../../workers/runtime/secrets.ts'
import { peakMemory, spawnBackfill } from './backfill-fixture.ts'
import { adminTransport, createNamespace, installCrds, pipelineManifest, request } from './kubernetes.ts'
import { createDatabase, kafkaBrokers, type TestDatabase, tempDir, withClient } from './services.ts'

// Capture, apply and the comparing Job together, without an operator.

const CUSTOM = '/apis/millrace.dev/v1alpha1/namespaces'

export interface VerifySite {
  readonly source: TestDatabase
  /** Starts one backfill Job, or goes on with one, and waits for its end; `until` aborts like the end of its pod. */
  run(job: MadeBackfill, stop?: AbortSignal): Promise<void>
  make(name: string, table: string, spec: object): Promise<MadeBackfill>
  status(name: string): Promise<NonNullable<TableBackfill['status']>>
  /** Makes a backfill and waits until it has drained. */
  copy(name: string, table: string): Promise<void>
  verify(table: string, spec?: object): Promise<Verified>
  /** The same in a process of its own; `peak` is the most memory that it took, bytes. */
  verifyApart(table: string): Promise<Verified & { readonly peak: number }>
  /** How long the first copies took, seconds. */
  readonly copied: ReadonlyMap<string, number>
  close(): Promise<void>
}

export interface MadeBackfill {
  readonly backfill: string
  readonly backfillUid: string
}

type Verified = NonNullable<NonNullable<TableBackfill['status']>['verify']> & {
  readonly name: string
  readonly seconds: number
}

export interface VerifySiteOptions {
  readonly name: string
  /** SQL that makes and fills the tables. */
  readonly tables: string
  /** Of the source's database; see `createDatabase`. */
  readonly clauses?: string
  readonly names: readonly string[]
  readonly destination: PipelineManifestSpec['destination']
  /** Of the destination. */
  readonly credentials: { readonly username: string; readonly password: string }
}

export const place = (url: string) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) })

/** A destination in this database, and its credentials. */
export function postgresDestination(
  target: TestDatabase,
): Pick<VerifySiteOptions, 'destination' | 'credentials'> {
  const postgres = {
    ...place(target.url),
    database: target.name,
    sslMode: 'Disable' as const,
    credentialsSecretRef: { name: 'db' },
  }
  return { destination: { postgres }, credentials: { username: 'postgres', password: 'postgres' } }
}

/** Makes a Pipeline whose tables are copied and streaming. */
export async function openVerifySite(options: VerifySiteOptions): Promise<VerifySite> {
  const { name, tables, names, destination, credentials } = options
  const transport = await adminTransport()
  await installCrds(transport)
  const source = await createDatabase(name, 'source', options.clauses)
  await query(source.url, tables)
  const namespace = await createNamespace(transport, 'verify')
  const pipeline = await request<Pipeline>(
    transport,
    'POST',
    `${CUSTOM}/${namespace}/pipelines`,
    pipelineManifest('one', {
      source: {
        postgres: {
          ...place(source.url),
          database: source.name,
          replicas: [place(source.replicaUrl)],
          sslMode: 'Disable',
          credentialsSecretRef: { name: 'db' },
        },
      },
      queue: { kafka: { bootstrapServers: [kafkaBrokers()] } },
      destination,
      tables: names.map((table) => ({ name: table })),
    }),
  )
  const secretsDir = tempDir('secrets')
  const secrets = { source: { username: 'postgres', password: 'postgres' }, destination: credentials }
  for (const [mount, { username, password }] of Object.entries(secrets)) {
    mkdirSync(join(secretsDir, mount), { recursive: true })
    writeFileSync(join(secretsDir, mount, 'username'), username)
    writeFileSync(join(secretsDir, mount, 'password'), password)
  }
  const ends: (() => Promise<unknown>)[] = []

  function start(main: typeof runApply, more: object = {}, by?: AbortSignal) {
    const stop = new AbortController()
    const done = main({
      env: {
        namespace,
        pipeline: 'one',
        pipelineUid: pipeline.metadata.uid ?? '',
        backfill: undefined,
        backfillUid: undefined,
        secretsDir,
        port: 0,
        logLevel: 'silent',
        failpoints: undefined,
        shutdownSeconds: 25,
        ...more,
      },
      log: pino({ level: process.env.VERIFY_LOG ?? 'silent' }).child({ main: main.name }),
      kube: kubeApiOver(transport),
      metrics: new Registry(),
      stop: by ? AbortSignal.any([stop.signal, by]) : stop.signal,
      secrets: fileSecrets(secretsDir),
      health: { addLivenessCheck() {}, setReady() {} },
    })
    done.catch(() => {})
    ends.push(async () => {
      stop.abort(new Error('stopped'))
      await done.catch(() => {})
    })
    return done
  }

  async function make(backfill: string, table: string, spec: object): Promise<MadeBackfill> {
    const made = await request<TableBackfill>(transport, 'POST', `${CUSTOM}/${namespace}/tablebackfills`, {
      apiVersion: 'millrace.dev/v1alpha1',
      kind: 'TableBackfill',
      metadata: { name: backfill },
      spec: { pipelineRef: { name: 'one' }, table: { name: table }, ...spec },
    })
    return { backfill, backfillUid: made.metadata.uid ?? '' }
  }

  const status = async (backfill: string) =>
    (await request<TableBackfill>(transport, 'GET', `${CUSTOM}/${namespace}/tablebackfills/${backfill}`))
      .status ?? {}
  const drained = (backfill: string) =>
    until(async () => (await status(backfill)).queue?.state === 'Drained', {
      what: `${backfill} drained`,
      timeoutMs: 90_000,
    })
  const run = (job: MadeBackfill, stop?: AbortSignal) => start(runBackfill, job, stop)

  start(runCapture)
  start(runApply)
  const copied = new Map<string, number>()
  for (const table of names) {
    const job = await make(`copy-${table}`, table, {})
    const began = performance.now()
    await run(job)
    const seconds = (performance.now() - began) / 1000
    copied.set(table, seconds)
    console.log(`backfill of ${table}: ${seconds.toFixed(1)} s`)
  }
  for (const table of names) await drained(`copy-${table}`)

  let number = 0
  async function verify(table: string, spec: object, comparing: (job: MadeBackfill) => Promise<void>) {
    number += 1
    const backfill = `verify-${number}`
    const job = await make(backfill, table, { verify: 'Only', ...spec })
    const began = performance.now()
    await comparing(job)
    const seconds = (performance.now() - began) / 1000
    return { ...(await status(backfill)).verify, name: backfill, seconds }
  }
  return {
    source,
    copied,
    run,
    make,
    status,
    async copy(backfill, table) {
      await run(await make(backfill, table, {}))
      await drained(backfill)
    },
    verify: (table, spec = {}) => verify(table, spec, run),
    async verifyApart(table) {
      let peak = 0
      const found = await verify(table, {}, async ({ backfill, backfillUid }) => {
        const worker = spawnBackfill({
          POD_NAMESPACE: namespace,
          MILLRACE_PIPELINE: 'one',
          MILLRACE_PIPELINE_UID: pipeline.metadata.uid ?? '',
          MILLRACE_BACKFILL: backfill,
          MILLRACE_BACKFILL_UID: backfillUid,
          MILLRACE_SECRETS_DIR: secretsDir,
        })
        peak = await peakMemory(worker)
        const code = await worker.exit
        if (code !== 0) throw new Error(`the comparison ended with ${code}: ${worker.output()}`)
      })
      return { ...found, peak }
    },
    async close() {
      for (const end of ends.reverse()) await end().catch(() => {})
      transport.close()
    },
  }
}

/** Changes rows of a table all the while that `work` takes; `statements` makes the next ones. */
export async function underLoad<T>(
  source: TestDatabase,
  statements: () => string,
  pause: number,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly rounds: number; readonly seconds: number }> {
  let writing = true
  let rounds = 0
  const began = performance.now()
  const load = withClient(source.url, async (client) => {
    while (writing) {
      await client.query(statements())
      rounds += 1
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  })
  try {
    const result = await work()
    return { result, rounds, seconds: (performance.now() - began) / 1000 }
  } finally {
    writing = false
    await load
  }
}

/** Whatever can happen to rows of `table (id, name, n)`, a few of them all the time: 65 changes a round. */
export function anyChanges(table: string, rows: number): () => string {
  const row = () => 1 + Math.floor(Math.random() * rows)
  return () => `
    update ${table} set n = n + 1, name = name || 'x' where id in (${Array.from({ length: 40 }, row)});
    update ${table} set n = 1 - n % 2 where id = ${1 + Math.floor(Math.random() * 5)};
    delete from ${table} where id in (${Array.from({ length: 10 }, row)});
    insert into ${table} (id, name, n) select nextval('ids'), 'new', 1 from generate_series(1, 12);
    insert into ${table} (id, name, n) values (${row()}, 'back', 2) on conflict do nothing;
    update ${table} set id = nextval('ids') where id = ${row()}`
}
