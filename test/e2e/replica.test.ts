import { expect, it } from 'vitest'
import { waitUntil } from '../../hack/demo/kube.ts'
import { asSuperuser } from '../../hack/demo/site.ts'
import {
  applyBackfill,
  applyPipeline,
  expectEqual,
  onSource,
  useStage,
  value,
  waitForArrival,
  waitForPhase,
  waitForStreaming,
} from './support.ts'

const stage = useStage('replica')
const HELD_BEHIND_SECONDS = 60

it('waits for a replica that is behind, says so, and is right in the end', { timeout: 400_000 }, async () => {
  const { cluster, site } = stage()
  await onSource(
    stage(),
    'CREATE TABLE t (id integer PRIMARY KEY, v text)',
    `INSERT INTO t SELECT i, 'old' FROM generate_series(1, 50000) AS i`,
  )
  await applyPipeline(stage(), { tables: [{ name: 't' }] })
  await waitForStreaming(stage(), ['t'])

  await value(site.replicaUrl, 'SELECT pg_wal_replay_pause()')
  const paused = Date.now()
  try {
    await onSource(stage(), `UPDATE t SET v = 'new' WHERE id % 2 = 0`, 'DELETE FROM t WHERE id % 5 = 0')
    await applyBackfill(stage(), 'behind', 't', { destinationTable: 'Truncate' })
    const message = await waitUntil('a message about the replica', 60, async () => {
      const status = (await cluster.backfill(site.namespace, 'behind'))?.status
      return status?.phase === 'Backfilling' && /replay|replica/.test(status.message ?? '') && status.message
    })
    console.log(message)
    while (Date.now() - paused < HELD_BEHIND_SECONDS * 1000) {
      const status = (await cluster.backfill(site.namespace, 'behind'))?.status
      expect(status?.copy?.rowsCopied ?? 0).toBe(0)
      expect(status?.phase).toBe('Backfilling')
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
  } finally {
    await value(site.replicaUrl, 'SELECT pg_wal_replay_resume()')
  }
  await waitForPhase(stage(), 'behind', ['Streaming'], 200)
  await waitForArrival(stage(), 'INSERT INTO t VALUES (-1, $1)', 'SELECT 1 FROM t WHERE v = $1')
  await expectEqual(stage(), { name: 't' })
})

it('does not restart anything when a table is added and removed', { timeout: 300_000 }, async () => {
  const { cluster, site } = stage()
  const pods = async () => {
    const all = await cluster.list<{
      metadata: { name: string; uid: string }
      status: { containerStatuses?: { restartCount: number }[] }
    }>(`/api/v1/namespaces/${site.namespace}/pods`)
    return all
      .filter(({ metadata }) => /-(capture|apply)-/.test(metadata.name))
      .map(({ metadata, status }) => `${metadata.uid} ${status.containerStatuses?.[0]?.restartCount}`)
      .sort()
  }
  const before = await pods()
  expect(before).toHaveLength(2)
  await onSource(
    stage(),
    'CREATE TABLE added (id integer PRIMARY KEY, v text)',
    `INSERT INTO added VALUES (1, 'here before')`,
  )
  await applyPipeline(stage(), { tables: [{ name: 't' }, { name: 'added' }] })
  await waitForStreaming(stage(), ['t', 'added'])
  expect(await value(site.destinationUrl, 'SELECT v FROM added')).toBe('here before')

  await applyPipeline(stage(), { tables: [{ name: 't' }] })
  await waitUntil('the table to leave the publication', 60, async () => {
    const sql = `SELECT count(*) FROM pg_publication_tables WHERE tablename = 'added'`
    return (await value(site.sourceUrl, sql)) === '0'
  })
  await onSource(stage(), `UPDATE added SET v = 'missed' WHERE id = 1`)
  await applyPipeline(stage(), { tables: [{ name: 't' }, { name: 'added' }] })
  await waitForStreaming(stage(), ['t', 'added'])
  await waitUntil(
    'what changed meanwhile',
    60,
    async () => (await value(site.destinationUrl, 'SELECT v FROM added')) === 'missed',
  )
  expect(await pods()).toEqual(before)
})

it('drops slot and publication with the Pipeline, and keeps the destination', {
  timeout: 200_000,
}, async () => {
  const { cluster, site } = stage()
  const count = async (sql: string) =>
    await asSuperuser(site.sourceUrl, async (client) => (await client.query(sql)).rowCount)
  const slots = 'SELECT FROM pg_replication_slots WHERE database = current_database()'
  expect(await count(slots)).toBe(1)
  await cluster.remove({
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name: 'shop', namespace: site.namespace },
  })
  await waitUntil(
    'end of the Pipeline',
    120,
    async () => (await cluster.pipeline(site.namespace, 'shop')) === undefined,
  )
  expect(await count(slots)).toBe(0)
  expect(await count('SELECT FROM pg_publication')).toBe(0)
  expect(Number(await value(site.destinationUrl, 'SELECT count(*) FROM t'))).toBeGreaterThan(0)
})
