import { beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../hack/demo/kube.ts'
import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import {
  applyPipeline,
  backfillOf,
  expectEqual,
  inDestination,
  onSource,
  PIPELINE,
  REDSHIFT,
  useStage,
  value,
  waitForArrival,
  waitForPhase,
  waitForStreaming,
  watchMemory,
} from './support.ts'

const stage = useStage('shapes')
const MIB = 1024 * 1024

const WIDE = Array.from({ length: 400 }, (_, i) => `c${i}`)
// No name in Redshift has a double quote.
const QUOTE = REDSHIFT ? "'" : '"'
const ODD = { schema: 'Select', name: `from ${QUOTE}where${QUOTE} Ünï.x` }
const ODD_COLUMN = quoteIdentifier(`a ${QUOTE}b${QUOTE} c`)

beforeAll(async () => {
  await onSource(
    stage(),
    'CREATE TABLE large (id integer PRIMARY KEY, body text, note text)',
    'ALTER TABLE large ALTER body SET STORAGE EXTERNAL',
    `INSERT INTO large SELECT 1, string_agg(md5(i::text), ''), 'first' FROM generate_series(1, 983040) AS i`,
    `CREATE TABLE wide (id integer PRIMARY KEY, ${WIDE.map((name, i) => `${name} ${['integer', 'text', 'numeric(10,3)', 'timestamptz'][i % 4]}`).join(', ')})`,
    `INSERT INTO wide (id, c0, c1, c2, c3, c399) SELECT i, i, 'x' || i, i / 3.0, now(), now() FROM generate_series(1, 500) AS i`,
    `CREATE SCHEMA "${ODD.schema}"`,
    `CREATE TABLE ${quoteTable(ODD)} ("order" integer, "Group" text, ${ODD_COLUMN} text, PRIMARY KEY ("Group", "order"))`,
    `INSERT INTO ${quoteTable(ODD)} SELECT i, 'g' || i % 3, E'tab\\t' || i FROM generate_series(1, 1000) AS i`,
    'CREATE TABLE many (id integer PRIMARY KEY, v integer, t text)',
    `INSERT INTO many SELECT i, 0, md5(i::text) FROM generate_series(1, 200000) AS i`,
    'CREATE TABLE no_key (a integer, b text)',
    'ALTER TABLE no_key REPLICA IDENTITY FULL',
    `INSERT INTO no_key SELECT i % 50, 'same' FROM generate_series(1, 1000) AS i`,
  )
  await applyPipeline(stage(), {
    tables: [
      { name: 'large' },
      { name: 'wide' },
      ODD,
      { name: 'many' },
      { name: 'no_key', initialBackfill: 'Skip' },
    ],
    // A table without a key is copied from the primary, by one that empties it.
    backfill: { chunkRows: 20_000 },
  })
  await waitForStreaming(stage(), ['large', 'wide', ODD.name, 'many'])
}, 600_000)

/** A text in Redshift has 65,535 bytes at most, and is cut to that. */
async function expectLargeEqual(): Promise<void> {
  if (!REDSHIFT) {
    await expectEqual(stage(), { name: 'large' })
    return
  }
  await expectEqual(stage(), { name: 'large', columns: ['id', 'note'] })
  const { site } = stage()
  const bodies = (body: string) =>
    `SELECT string_agg(id || ':' || length(body) || ':' || md5(body), ',' ORDER BY id) FROM (SELECT id, ${body} AS body FROM large) AS t`
  expect(await value(site.destinationUrl, bodies('body'))).toBe(
    await value(site.sourceUrl, bodies('left(body, 65535)')),
  )
}

async function expectUnfitReported(): Promise<void> {
  if (!REDSHIFT) return
  const { cluster, site } = stage()
  const copied = (await cluster.backfill(site.namespace, await backfillOf(stage(), 'large')))?.status?.copy
  expect(copied?.unfit).toEqual([{ column: 'body', values: 1 }])
  await waitUntil('the columns of changes that did not fit', 60, async () => {
    const tables = (await cluster.pipeline(site.namespace, PIPELINE))?.status?.apply?.tables
    const column = tables?.find(({ name }) => name === 'large')?.unfit?.[0]
    return column?.column === 'body' && column.values >= 1
  })
}

describe('odd shapes', () => {
  it('passes a row of 30 MB by backfill and by the queue, in bounded memory', {
    timeout: 300_000,
  }, async () => {
    const { cluster, site } = stage()
    await expectLargeEqual()
    const memory = watchMemory(async () => (await cluster.pipeline(site.namespace, PIPELINE))?.metadata.uid)
    await onSource(
      stage(),
      `INSERT INTO large SELECT 2, string_agg(md5((i * 3)::text), ''), 'second' FROM generate_series(1, 983040) AS i`,
      `UPDATE large SET note = 'changed' WHERE id = 1`,
      'UPDATE large SET id = 3 WHERE id = 1',
    )
    await waitForArrival(
      stage(),
      'INSERT INTO large VALUES (9, NULL, $1)',
      'SELECT 1 FROM large WHERE note = $1',
    )
    const peaks = await memory.stop()
    await expectLargeEqual()
    await expectUnfitReported()
    expect((peaks.get('capture') ?? 0) / MIB).toBeLessThan(200)
    expect((peaks.get('apply') ?? 0) / MIB).toBeLessThan(400)
  })

  it('passes a table of 400 columns', async () => {
    await onSource(
      stage(),
      `UPDATE wide SET ${WIDE.filter((_, i) => i % 4 === 1)
        .map((name) => `${name} = 'v'`)
        .join(', ')}`,
    )
    await waitForArrival(
      stage(),
      'INSERT INTO wide (id, c1) VALUES (1001, $1)',
      'SELECT 1 FROM wide WHERE c1 = $1',
    )
    await expectEqual(stage(), { name: 'wide' })
  })

  it('passes quoted and reserved identifiers', async () => {
    const name = quoteTable(ODD)
    const destination = quoteTable(inDestination(ODD))
    await onSource(
      stage(),
      `UPDATE ${name} SET ${ODD_COLUMN} = NULL WHERE "order" < 100`,
      `DELETE FROM ${name} WHERE "Group" = 'g1'`,
    )
    await waitForArrival(
      stage(),
      `INSERT INTO ${name} VALUES (-1, 'new', $1)`,
      `SELECT 1 FROM ${destination} WHERE ${ODD_COLUMN} = $1`,
    )
    await expectEqual(stage(), ODD, ['Group', 'order'])
  })

  it('passes a transaction of 2 million changes, in bounded memory', { timeout: 600_000 }, async () => {
    const { cluster, site } = stage()
    const memory = watchMemory(async () => (await cluster.pipeline(site.namespace, PIPELINE))?.metadata.uid)
    await onSource(stage(), `DO $$ BEGIN FOR i IN 1..10 LOOP UPDATE many SET v = v + 1; END LOOP; END $$`)
    await waitForArrival(
      stage(),
      'INSERT INTO many VALUES (-1, 0, $1)',
      'SELECT 1 FROM many WHERE t = $1',
      400,
    )
    const peaks = await memory.stop()
    await expectEqual(stage(), { name: 'many' })
    expect(await value(site.destinationUrl, 'SELECT min(v) FROM many WHERE id > 0')).toBe('10')
    expect((peaks.get('capture') ?? 0) / MIB).toBeLessThan(200)
    expect((peaks.get('apply') ?? 0) / MIB).toBeLessThan(400)
  })

  it('copies a table without a key by Truncate from the primary, and follows it', {
    timeout: 300_000,
  }, async () => {
    const { site } = stage()
    await stage().cluster.apply({
      apiVersion: 'millrace.dev/v1alpha1',
      kind: 'TableBackfill',
      metadata: { name: 'no-key', namespace: site.namespace },
      spec: {
        pipelineRef: { name: PIPELINE },
        table: { name: 'no_key' },
        destinationTable: 'Truncate',
        backfill: { readFrom: 'Primary' },
      },
    })
    await waitForPhase(stage(), 'no-key', ['Streaming'], 200)
    await onSource(
      stage(),
      'DELETE FROM no_key WHERE ctid IN (SELECT ctid FROM no_key WHERE a = 7 LIMIT 3)',
      `UPDATE no_key SET b = 'other' WHERE a = 8`,
    )
    await waitForArrival(stage(), 'INSERT INTO no_key VALUES (-1, $1)', 'SELECT 1 FROM no_key WHERE b = $1')
    const counts = `SELECT string_agg(a || ':' || b || ':' || n, ',' ORDER BY a, b) FROM (SELECT a, b, count(*) AS n FROM no_key WHERE a >= 0 GROUP BY a, b) AS c`
    expect(await value(site.destinationUrl, counts)).toBe(await value(site.sourceUrl, counts))
  })
})
