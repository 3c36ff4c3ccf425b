import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compareWithWarehouse } from '../../hack/demo/compare-redshift.ts'
import { waitUntil } from '../../hack/demo/kube.ts'
import { createShop, SHOP_TABLES } from '../../hack/demo/shop.ts'
import { asSuperuser, createSite, OWNER, type Site } from '../../hack/demo/site.ts'
import { openWarehouseClient, type WarehouseClient } from '../../hack/demo/warehouse.ts'
import { startWriteLoad } from '../../hack/demo/write-load.ts'
import { ON_AWS, requireAwsSettings } from '../aws/settings.ts'
import { openAwsClient } from '../aws/warehouse.ts'
import { startWorld, type World } from '../cluster/world.ts'
import {
  applyBackfill,
  applyPipeline,
  onSource,
  PIPELINE,
  type Stage,
  waitForPhase,
  waitForStreaming,
} from '../e2e/support.ts'
import { type Emulator, startEmulator } from '../emulator/emulator.ts'
import type { Fault } from '../emulator/faults.ts'
import { BUCKET, s3Server, useS3 } from './emulator-setup.ts'
import { tempDir } from './services.ts'

// A whole Pipeline: API server, operator, capture, apply and backfills as processes, a primary with its replica, Kafka, and a
// Redshift emulator with its S3 server as the destination; with `make test-aws` a real warehouse, on which nothing can be made to
// fail and no requests can be counted.

const ORDERS = 4_000
const SCALE = ORDERS / 700_000
const RATE = 120
const NAMES = SHOP_TABLES.map(({ name }) => name)
/** Quiet that an idle Pipeline is watched for, seconds. */
const IDLE_SECONDS = Number(process.env.IDLE_SECONDS ?? 90)

/** A bad day of the Data API and of S3. */
const BAD_DAY: readonly Fault[] = [
  { kind: 'throttle', probability: 0.1, times: 8 },
  { kind: 'drop-request', probability: 0.05, times: 4 },
  { kind: 'lose-response', probability: 0.05, times: 4 },
  { kind: 'serialization-error', sql: '^(insert|delete|copy)', probability: 0.1, times: 6 },
  { kind: 'abort', sql: '^(insert|copy|update)', probability: 0.1, times: 3 },
  { kind: 'disconnect', probability: 0.02, times: 2 },
  { kind: 's3-error', status: 503, probability: 0.2, times: 3 },
  { kind: 's3-cut', bytes: 30, probability: 0.2, times: 2 },
]

useS3()
let world: World
let emulator: Emulator | undefined
let warehouse: WarehouseClient
let site: Site
let stage: Stage

/** A site whose destination is the real warehouse. */
async function awsSite(): Promise<Site> {
  const { destination } = requireAwsSettings()
  warehouse = openAwsClient()
  const made = await createSite(world.env, world.local.cluster, 'redshift', 'postgres')
  return { ...made, spec: { ...made.spec, destination: { redshift: destination } } }
}

async function emulatorSite(): Promise<Site> {
  emulator = await startEmulator({
    postgresUrl: world.destination.url,
    everyDatabase: true,
    s3: s3Server(),
    statementLog: 'out/redshift-statements.jsonl',
  })
  const { endpoint, accessKeyId, secretAccessKey } = s3Server()
  const env = {
    ...world.env,
    REDSHIFT_DATA_URL: emulator.url,
    POD_REDSHIFT_DATA_URL: emulator.url,
    POD_S3_URL: endpoint,
    S3_BUCKET: BUCKET,
    S3_ACCESS_KEY_ID: accessKeyId,
    S3_SECRET_ACCESS_KEY: secretAccessKey,
  }
  const made = await createSite(env, world.local.cluster, 'redshift', 'redshift')
  warehouse = openWarehouseClient({
    region: 'us-east-1',
    clusterIdentifier: 'emulator',
    database: made.spec.destination.redshift?.database ?? '',
    endpoint: emulator.url,
    credentials: { accessKeyId, secretAccessKey },
  })
  return made
}

beforeAll(async () => {
  const environment = ON_AWS ? requireAwsSettings().environment : {}
  world = await startWorld(tempDir('world'), { environment: () => environment })
  site = ON_AWS ? await awsSite() : await emulatorSite()
  stage = { env: world.env, cluster: world.local.cluster, site }
  await asSuperuser(site.sourceUrl, async (client) => {
    await client.query(`SET ROLE ${OWNER}`)
    await createShop(client, SCALE)
  })
}, 300_000)

afterAll(async () => {
  await world?.stop()
  warehouse?.close()
  await emulator?.close()
})

const kill = (component: 'apply' | 'backfill') =>
  world.local.kubelet.kill9(
    (pod) => pod.namespace === site.namespace && pod.labels['app.kubernetes.io/component'] === component,
  )

/** A change at the end of each table says that all before it is there. */
async function arrived(): Promise<void> {
  const mark = `mark ${Date.now()}`
  await onSource(
    stage,
    `INSERT INTO orders (customer, status, amount, note) VALUES (0, 'mark', 0, '${mark}')`,
    `INSERT INTO documents (title, body) VALUES ('${mark}', '${mark}')`,
    `INSERT INTO events (at, kind) VALUES ('2026-02-01', '${mark}')`,
  )
  for (const [table, column] of [
    ['orders', 'note'],
    ['documents', 'title'],
    ['events', 'kind'],
  ]) {
    const sql = `SELECT COUNT(*) FROM public.${table} WHERE ${column} = '${mark}'`
    await waitUntil(
      `the last row of ${table}`,
      120,
      async () => (await number(sql)) > 0,
      () => '',
      500,
    )
  }
}

async function number(sql: string): Promise<number> {
  for await (const [field] of warehouse.rows(sql)) return Number(field?.longValue)
  return 0
}

const inWarehouse = (name: string, key: readonly string[]) =>
  compareWithWarehouse(site.sourceUrl, warehouse, {
    source: { schema: 'public', name },
    destination: { schema: 'public', name },
    key,
  })

async function expectEqual(): Promise<void> {
  await arrived()
  for (const table of SHOP_TABLES) {
    const result = await inWarehouse(table.name, table.key)
    expect([table.name, result.different, result.examples]).toEqual([table.name, 0, []])
    expect(result.rows).toBeGreaterThan(50)
  }
}

/** Writes all the while that `work` takes. */
async function underWrites(work: () => Promise<void>): Promise<void> {
  const load = await startWriteLoad(site.sourceUrl, RATE)
  try {
    await work()
  } finally {
    await load.stop()
  }
  expect(load.changes()).toBeGreaterThan(0)
}

it('replicates tables under writes, while the warehouse and the workers have a bad day', async () => {
  emulator?.faults.set(BAD_DAY)
  await underWrites(async () => {
    await applyPipeline(stage, {
      tables: SHOP_TABLES.map(({ schema, name }) => ({ schema, name })),
      backfill: { chunkRows: 500 },
    })
    const streaming = waitForStreaming(stage, NAMES, 200)
    for (let round = 0; round < 3; round += 1) {
      await sleep(2_000)
      kill('backfill')
      kill('apply')
    }
    await streaming
  })
  emulator?.faults.set([])
  await expectEqual()
}, 300_000)

describe('an ad-hoc backfill', () => {
  it.each(['DoNothing', 'Truncate', 'Drop'] as const)(
    'with %s, its Job and apply killed on the way, ends equal',
    async (destinationTable) => {
      const name = `again-${destinationTable.toLowerCase()}`
      await underWrites(async () => {
        await applyBackfill(stage, name, 'orders', { destinationTable, backfill: { chunkRows: 100 } })
        await waitForPhase(stage, name, ['Backfilling', 'Draining', 'Streaming'])
        const killed = kill('backfill')
        await sleep(1_000)
        expect(killed + kill('apply')).toBeGreaterThan(0)
        await waitForPhase(stage, name, ['Streaming'], 200)
      })
      await expectEqual()
    },
    300_000,
  )
})

// A type that makes PostgreSQL rewrite the table, such as integer to bigint, stops it: docs/architecture.md.
it('follows columns that are added and a VARCHAR that is widened', async () => {
  await underWrites(async () => {
    await onSource(
      stage,
      `ALTER TABLE orders ADD COLUMN channel varchar(10) DEFAULT 'shop'`,
      'ALTER TABLE orders ADD COLUMN score integer',
      `UPDATE orders SET channel = 'web', score = 7 WHERE id % 10 = 0`,
      'ALTER TABLE orders ALTER COLUMN "from" TYPE varchar(200)',
      `UPDATE orders SET "from" = repeat('wide ', 40) WHERE id % 10 = 1`,
    )
    await sleep(1_000)
  })
  await expectEqual()
}, 200_000)

it('truncates with the source', async () => {
  await onSource(stage, 'TRUNCATE documents', `INSERT INTO documents (title, body) VALUES ('one', 'left')`)
  await arrived()
  const result = await inWarehouse('documents', ['id'])
  expect([result.different, result.rows]).toEqual([0, 2])
}, 200_000)

it.skipIf(ON_AWS)(
  'sends nothing at all while nothing changes',
  async () => {
    const requests = (): Readonly<Record<string, number>> => emulator?.requests() ?? {}
    const sent = () => Object.values(requests()).reduce((sum, count) => sum + count, 0)
    // What the last test has begun comes to its end.
    let last = -1
    await waitUntil(
      'the last request',
      60,
      async () => {
        const settled = last === sent()
        last = sent()
        return settled
      },
      () => '',
      10_000,
    )
    const before = requests()
    await sleep(IDLE_SECONDS * 1000)
    expect(requests()).toEqual(before)
    const states = (await world.local.cluster.pipeline(site.namespace, PIPELINE))?.status?.tables
    expect(states?.map(({ state }) => state)).toEqual(NAMES.map(() => 'Streaming'))
  },
  IDLE_SECONDS * 1000 + 120_000,
)

it('deletes what it has made when the Pipeline goes, but no rows', async () => {
  const { cluster } = world.local
  await cluster.patch(`/apis/millrace.dev/v1alpha1/namespaces/${site.namespace}/pipelines/${PIPELINE}`, {
    spec: { deletionPolicy: 'Delete' },
  })
  await cluster.remove({
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name: PIPELINE, namespace: site.namespace },
  })
  await waitUntil(
    'the end of the Pipeline',
    90,
    async () => (await cluster.pipeline(site.namespace, PIPELINE)) === undefined,
  )
  const slots = await asSuperuser(site.sourceUrl, (client) =>
    client.query('SELECT FROM pg_replication_slots WHERE database = current_database()'),
  )
  expect(slots.rowCount).toBe(0)
  expect(await number('SELECT COUNT(*) FROM public.orders')).toBeGreaterThan(0)
}, 150_000)
