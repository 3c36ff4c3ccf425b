import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { kubeApiOver } from '../../lib/kube/client.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { runApply } from '../../workers/apply/run.ts'
import { runBackfill } from '../../workers/backfill/run.ts'
import { runCapture } from '../../workers/capture/run.ts'
import { fileSecrets } from '../../workers/runtime/secrets.ts'
import { adminTransport, createNamespace, installCrds, pipelineManifest, request } from './kubernetes.ts'
import { createDatabase, kafkaBrokers, type TestDatabase, tempDir, withClient } from './services.ts'

// Capture, apply and the comparing Job together, without an operator.

const CUSTOM = '/apis/millrace.dev/v1alpha1/namespaces'
const RUNS = Number(process.env.VERIFY_RUNS ?? 10)
const ROWS = Number(process.env.VERIFY_ROWS ?? 100_000)
const PLANTED_ROWS = Number(process.env.VERIFY_PLANTED_ROWS ?? 300_000)

const TABLES = `
  create type mood as enum ('well', 'ill');
  create domain amount as numeric(12,2);
  create sequence ids start 10000000;
  create table big (id bigint primary key, name text, n int not null, at timestamptz not null default now(), body jsonb);
  insert into big select g, 'name ' || g, g % 1000, '2026-01-01'::timestamptz + g * interval '1 second', jsonb_build_object('g', g)
    from generate_series(1, ${ROWS}) g;
  create table planted (id bigint primary key, name text, n int not null, padding text);
  insert into planted select g, 'name ' || g, g % 1000, repeat(md5(g::text), 4) from generate_series(1, ${PLANTED_ROWS}) g;
  create table odd (code text, "Select" char(6), at timestamp(3), f real, d double precision, b bool, m mood,
    a amount, list text[], bytes bytea, empty text, nothing int, span interval, primary key (code, "Select"));
  insert into odd select 'Käse ' || g, g, '2026-01-01'::timestamp + g * interval '1 ms', g / 3.0, g / 7.0, g % 2 = 0,
    case when g % 3 = 0 then 'ill' else 'well' end::mood, g / 9.0, array['x', null, 'a,"b'], decode(md5(g::text), 'hex'), '', null, g * interval '1 hour'
    from generate_series(1, 25000) g;
  create table parts (region text, id int, amount numeric(12,2), primary key (region, id)) partition by list (region);
  create table parts_a partition of parts for values in ('a');
  create table parts_b partition of parts default;
  insert into parts select case g % 2 when 0 then 'a' else 'z' end, g, g / 3.0 from generate_series(1, 20000) g;
  analyze`
const NAMES = ['big', 'planted', 'odd', 'parts']

let transport: Transport
let source: TestDatabase
let target: TestDatabase
let namespace: string
let pipelineUid: string
let secretsDir: string
const ends: (() => Promise<unknown>)[] = []

function start(main: typeof runApply, more: object = {}) {
  const stop = new AbortController()
  const done = main({
    env: {
      namespace,
      pipeline: 'one',
      pipelineUid,
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
    stop: stop.signal,
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

async function make(name: string, table: string, spec: object) {
  const made = await request<TableBackfill>(transport, 'POST', `${CUSTOM}/${namespace}/tablebackfills`, {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'TableBackfill',
    metadata: { name },
    spec: { pipelineRef: { name: 'one' }, table: { name: table }, ...spec },
  })
  return { backfill: name, backfillUid: made.metadata.uid }
}

const status = async (name: string) =>
  (await request<TableBackfill>(transport, 'GET', `${CUSTOM}/${namespace}/tablebackfills/${name}`)).status ??
  {}

let number = 0
/** How long the first copies took, seconds. */
const copied = new Map<string, number>()
async function verify(table: string, spec: object = {}) {
  number += 1
  const name = `verify-${number}`
  const began = performance.now()
  await start(runBackfill, await make(name, table, { verify: 'Only', ...spec }))
  const seconds = (performance.now() - began) / 1000
  return { ...(await status(name)).verify, seconds }
}

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
  source = await createDatabase('verified')
  target = await createDatabase('verified', 'destination')
  await query(source.url, TABLES)
  namespace = await createNamespace(transport, 'verify')
  const place = (url: string) => ({ host: new URL(url).hostname, port: Number(new URL(url).port) })
  const common = { sslMode: 'Disable', credentialsSecretRef: { name: 'db' } }
  const pipeline = await request<Pipeline>(
    transport,
    'POST',
    `${CUSTOM}/${namespace}/pipelines`,
    pipelineManifest('one', {
      source: {
        postgres: {
          ...common,
          ...place(source.url),
          database: source.name,
          replicas: [place(source.replicaUrl)],
        },
      },
      queue: { kafka: { bootstrapServers: [kafkaBrokers()] } },
      destination: { postgres: { ...common, ...place(target.url), database: target.name } },
      tables: NAMES.map((name) => ({ name })),
    }),
  )
  pipelineUid = pipeline.metadata.uid ?? ''
  secretsDir = tempDir('secrets')
  for (const mount of ['source', 'destination']) {
    mkdirSync(join(secretsDir, mount), { recursive: true })
    writeFileSync(join(secretsDir, mount, 'username'), 'postgres')
    writeFileSync(join(secretsDir, mount, 'password'), 'postgres')
  }
  start(runCapture)
  start(runApply)
  for (const name of NAMES) {
    const began = performance.now()
    const env = await make(`copy-${name}`, name, {})
    await start(runBackfill, env)
    const seconds = (performance.now() - began) / 1000
    copied.set(name, seconds)
    console.log(`backfill of ${name}: ${seconds.toFixed(1)} s`)
  }
  for (const name of NAMES) {
    await until(async () => (await status(`copy-${name}`)).queue?.state === 'Drained', {
      what: `${name} drained`,
      timeoutMs: 60_000,
    })
  }
}, 300_000)

afterAll(async () => {
  for (const end of ends.reverse()) await end().catch(() => {})
  transport.close()
})

describe('verify', () => {
  it('finds nothing where nothing is, whatever the types, and reads the replica only', async () => {
    const found = await verify('odd')
    expect(found).toMatchObject({
      result: 'Equal',
      rowsCompared: 25_000,
      rowsDifferent: 0,
      rangesDifferent: 0,
    })
    expect(found.rangesDone).toBe(found.rangesTotal)
    expect(await verify('odd', { backfill: { readFrom: 'Primary' } })).toMatchObject({ result: 'Equal' })
  })

  it('compares a partitioned table with a key of several columns', async () => {
    expect(await verify('parts')).toMatchObject({ result: 'Equal', rowsCompared: 20_000 })
    await query(target.url, `update parts set amount = 0 where (region, id) = ('a', 4)`)
    expect(await verify('parts')).toMatchObject({
      result: 'Different',
      rowsDifferent: 1,
      examples: [{ key: '["a","4"]', kind: 'Changed' }],
    })
  })

  it('finds one changed, one missing and one extra row, and in less time than a copy takes', async () => {
    await query(
      target.url,
      `update planted set name = 'other' where id = 17;
       delete from planted where id = ${PLANTED_ROWS - 5};
       insert into planted values (-4, 'extra', 0, '')`,
    )
    const found = await verify('planted')
    console.log(`verify of ${PLANTED_ROWS} rows: ${found.seconds.toFixed(1)} s`)
    // Of a small table the marks in the log take longer than the reading.
    if (PLANTED_ROWS >= 1_000_000) expect(found.seconds).toBeLessThan(copied.get('planted') ?? 0)
    expect(found).toMatchObject({ result: 'Different', rowsChanged: 1, rowsMissing: 1, rowsExtra: 1 })
    expect(found.examples?.toSorted((a, b) => a.key.localeCompare(b.key))).toEqual([
      { key: '-4', kind: 'Extra' },
      { key: '17', kind: 'Changed' },
      { key: String(PLANTED_ROWS - 5), kind: 'Missing' },
    ])
    // What is found is mended by a backfill over what is there, but for the row that the source does not have.
    await start(runBackfill, await make('mend', 'planted', {}))
    await until(async () => (await status('mend')).queue?.state === 'Drained', {
      what: 'drained',
      timeoutMs: 60_000,
    })
    expect(await verify('planted')).toMatchObject({ result: 'Different', rowsDifferent: 1, rowsExtra: 1 })
  }, 300_000)

  it(`gives no false alarm under a write load, in ${RUNS} runs`, async () => {
    let writing = true
    let changes = 0
    const load = withClient(source.url, async (client) => {
      while (writing) {
        const row = () => 1 + Math.floor(Math.random() * ROWS)
        const hot = 1 + Math.floor(Math.random() * 5)
        await client.query(`
          update big set n = n + 1, name = name || 'x' where id in (${Array.from({ length: 40 }, row)});
          update big set n = 1 - n % 2 where id = ${hot};
          delete from big where id in (${Array.from({ length: 10 }, row)});
          insert into big (id, name, n) select nextval('ids'), 'new', 1 from generate_series(1, 12);
          insert into big (id, name, n) values (${row()}, 'back', 2) on conflict do nothing;
          update big set id = nextval('ids') where id = ${row()}`)
        changes += 65
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
    })
    const began = performance.now()
    const results = []
    try {
      for (let run = 0; run < RUNS; run += 1) {
        const found = await verify('big', run % 5 === 4 ? { backfill: { readFrom: 'Primary' } } : {})
        results.push(found)
        console.log(
          `run ${run}: ${found.result} ${found.rowsCompared} rows, undecided ${found.rowsUndecided ?? 0}, ${found.seconds.toFixed(1)} s`,
        )
      }
    } finally {
      writing = false
      await load
    }
    console.log(`${Math.round((changes * 1000) / (performance.now() - began))} changes a second`)
    for (const found of results) expect(found).toMatchObject({ result: 'Equal', rowsDifferent: 0 })
  }, 900_000)

  it('finds a difference under a write load too', async () => {
    let writing = true
    const load = withClient(source.url, async (client) => {
      while (writing) {
        await client.query(`update big set n = n + 1 where id % 500 = floor(random() * 500)::int`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    })
    try {
      const [row] = await query<{ id: string }>(source.url, 'select min(id) as id from big where id > 1000')
      await query(target.url, `update big set at = at + interval '1 microsecond' where id = ${row?.id}`)
      const found = await verify('big')
      expect(found.examples?.filter(({ kind }) => kind === 'Changed').map(({ key }) => key)).toEqual([
        row?.id,
      ])
      expect(found.rowsDifferent).toBe(1)
    } finally {
      writing = false
      await load
    }
  }, 120_000)

  it('is refused for a table without its history, and says why', async () => {
    await query(
      target.url,
      `update millrace.tables set history_complete = false, version = version + 1 where source_table = 'odd'`,
    )
    number += 1
    await expect(
      start(runBackfill, await make(`verify-${number}`, 'odd', { verify: 'Only' })),
    ).rejects.toMatchObject({
      code: 'ActionRefused',
    })
    expect((await status(`verify-${number}`)).copy?.failed?.message).toMatch(
      /history in the destination is not complete/,
    )
  })
})
