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
import { createDatabase, kafkaBrokers, tempDir, withClient } from './services.ts'

// Capture, apply and backfill together, without an operator: what the queue says is what capture writes.

const CUSTOM = '/apis/millrace.dev/v1alpha1/namespaces'
let transport: Transport
const stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})

afterAll(async () => {
  for (const stop of stops) await stop().catch(() => {})
  transport.close()
})

const TABLES = `
  create sequence ids start 1000000;
  create table plain (id bigint primary key, name text, body text, at timestamptz default now());
  alter table plain alter body set storage external;
  create table parts (region text, id int, amount numeric(12,2), primary key (region, id)) partition by list (region);
  create table parts_a partition of parts for values in ('a');
  create table parts_b partition of parts default;
  create table loose (a int, b text);
  alter table loose replica identity full;
  create table "Odd ""Name" ("Key" uuid primary key, "select" jsonb);
  insert into plain select g, 'n' || g, repeat(md5(g::text), 100), now() from generate_series(1, 2000) g;
  insert into parts select case g % 2 when 0 then 'a' else 'z' end, g, g / 3.0 from generate_series(1, 2000) g;
  insert into loose select g % 50, 'b' from generate_series(1, 500) g;
  insert into "Odd ""Name" select gen_random_uuid(), jsonb_build_object('g', g) from generate_series(1, 200) g`

const NAMES = ['plain', 'parts', 'loose', 'Odd "Name']

/** One transaction of random statements. */
const WRITES = [
  `insert into plain values (nextval('ids'), 'new', repeat('x', 3000))`,
  `update plain set name = name || '*' where id = (select id from plain order by random() limit 1)`,
  `update plain set body = repeat(md5(random()::text), 90) where id = (select id from plain order by random() limit 1)`,
  `update plain set id = nextval('ids') where id = (select id from plain order by random() limit 1)`,
  `delete from plain where id = (select id from plain order by random() limit 1)`,
  `update parts set amount = amount + 1 where (region, id) = (select region, id from parts order by random() limit 1)`,
  `update parts set region = case region when 'a' then 'q' else 'a' end where (region, id) = (select region, id from parts p where not exists (select from parts o where o.id = p.id and o.region in ('a', 'q') and o.region <> p.region) order by random() limit 1)`,
  `insert into parts values ('a', nextval('ids'), 7)`,
  `insert into loose values (floor(random() * 10)::int, 'c')`,
  `delete from loose where ctid = (select ctid from loose order by random() limit 1)`,
  `update loose set b = b || '-' where ctid = (select ctid from loose order by random() limit 1)`,
  `update "Odd ""Name" set "select" = jsonb_build_object('r', random()) where "Key" = (select "Key" from "Odd ""Name" order by random() limit 1)`,
]

describe('capture, apply and backfill', () => {
  it('end in what the source has, under a steady load, with DDL, restarts and another backfill', async () => {
    const source = await createDatabase('ap_whole')
    const target = await createDatabase('ap_whole', 'destination')
    await query(source.url, TABLES)
    const namespace = await createNamespace(transport, 'whole')
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
            heartbeatSeconds: 1,
          },
        },
        queue: { kafka: { bootstrapServers: [kafkaBrokers()] } },
        destination: { postgres: { ...common, ...place(target.url), database: target.name } },
        tables: NAMES.map((name) => ({ name })),
        backfill: { chunkRows: 1000 },
      }),
    )
    const secretsDir = tempDir('secrets')
    for (const mount of ['source', 'destination']) {
      mkdirSync(join(secretsDir, mount), { recursive: true })
      writeFileSync(join(secretsDir, mount, 'username'), 'postgres')
      writeFileSync(join(secretsDir, mount, 'password'), 'postgres')
    }
    const log = pino({ level: process.env.APPLY_LOG ?? 'silent' })
    const start = (main: typeof runApply, more: object = {}) => {
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
        log: log.child({ main: main.name }),
        kube: kubeApiOver(transport),
        metrics: new Registry(),
        stop: stop.signal,
        secrets: fileSecrets(secretsDir),
        health: { addLivenessCheck() {}, setReady() {} },
      })
      done.catch(() => {})
      const end = async () => {
        stop.abort(new Error('stopped'))
        await done.catch(() => {})
      }
      stops.push(end)
      return { done, end }
    }
    const backfill = async (name: string, table: string, action: string) => {
      const made = await request<TableBackfill>(transport, 'POST', `${CUSTOM}/${namespace}/tablebackfills`, {
        apiVersion: 'millrace.dev/v1alpha1',
        kind: 'TableBackfill',
        metadata: { name },
        spec: {
          pipelineRef: { name: 'one' },
          table: { schema: 'public', name: table },
          destinationTable: action,
          ...(table === 'loose' && { backfill: { readFrom: 'Primary' } }),
        },
      })
      start(runBackfill, { backfill: name, backfillUid: made.metadata.uid })
    }
    const queueState = async (name: string) =>
      (await request<TableBackfill>(transport, 'GET', `${CUSTOM}/${namespace}/tablebackfills/${name}`)).status
        ?.queue?.state

    start(runCapture)
    let apply = start(runApply)
    let writing = true
    let transactions = 0
    const load = withClient(source.url, async (client) => {
      while (writing) {
        await client.query('begin')
        for (let number = Math.ceil(Math.random() * 6); number > 0; number -= 1)
          await client.query(WRITES[Math.floor(Math.random() * WRITES.length)] ?? '')
        await client.query(Math.random() < 0.1 ? 'rollback' : 'commit')
        transactions += 1
      }
    })
    await backfill('plain-1', 'plain', 'DoNothing')
    await backfill('parts-1', 'parts', 'DoNothing')
    await backfill('loose-1', 'loose', 'Truncate')
    await backfill('odd-1', 'Odd "Name', 'Drop')
    const drained = (...names: string[]) =>
      until(async () => (await Promise.all(names.map(queueState))).every((state) => state === 'Drained'), {
        what: `${names} drained`,
        timeoutMs: 120_000,
      })
    await until(
      async () => (await queueState('plain-1')) === 'Held' || (await queueState('plain-1')) === 'Drained',
      {
        what: 'held',
        timeoutMs: 60_000,
      },
    )
    await apply.end()
    apply = start(runApply)
    await drained('plain-1', 'parts-1', 'loose-1', 'odd-1')
    await query(source.url, `alter table plain add extra int not null default 5`)
    await query(source.url, `alter table parts alter amount type numeric(20,2)`)
    await apply.end()
    apply = start(runApply)
    await query(source.url, `truncate loose`)
    await backfill('plain-2', 'plain', 'Truncate')
    await drained('plain-2')
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    writing = false
    await load
    console.log(`transactions: ${transactions}`)
    const rows = (name: string) => {
      const quoted = `"${name.replaceAll('"', '""')}"`
      return `select md5(coalesce(string_agg(t::text, E'\\n' order by t::text collate "C"), '')) || ' ' || count(*) as sum from ${quoted} t`
    }
    for (const name of NAMES) {
      const [wanted] = await query<{ sum: string }>(source.url, rows(name))
      let found: string | undefined
      await until(
        async () => {
          found = (await query<{ sum: string }>(target.url, rows(name)))[0]?.sum
          return found === wanted?.sum
        },
        { what: `${name} to be ${wanted?.sum}`, timeoutMs: 30_000 },
      ).catch((error) => {
        throw new Error(`${error}, is ${found}`)
      })
    }
    const status = (await request<Pipeline>(transport, 'GET', `${CUSTOM}/${namespace}/pipelines/one`)).status
      ?.apply
    expect(status?.problems).toBeUndefined()
    expect(status?.tables?.map(({ state, historyComplete }) => [state, historyComplete])).toEqual(
      NAMES.map(() => ['Streaming', true]),
    )
  }, 400_000)
})
