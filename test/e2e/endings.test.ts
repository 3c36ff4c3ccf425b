import { beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from '../../hack/demo/kube.ts'
import { asSuperuser } from '../../hack/demo/site.ts'
import {
  applyBackfill,
  applyPipeline,
  expectEqual,
  onSource,
  patchSpec,
  useStage,
  waitForArrival,
  waitForPhase,
  waitForStreaming,
} from './support.ts'

const stage = useStage('endings')
const ROWS = 200_000

interface Job {
  metadata: { name: string; ownerReferences?: { name: string }[] }
}

beforeAll(async () => {
  await onSource(
    stage(),
    'CREATE TABLE t (id integer PRIMARY KEY, v text)',
    `INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, ${ROWS}) AS i`,
    'CREATE TABLE other (id integer PRIMARY KEY)',
  )
  await applyPipeline(stage(), {
    tables: [{ name: 't' }, { name: 'other' }],
    backfill: { maxConcurrentTables: 1, chunkRows: 500, parallelism: 1 },
  })
  await waitForStreaming(stage(), ['t', 'other'])
}, 400_000)

async function jobGone(name: string): Promise<void> {
  const { cluster, site } = stage()
  await waitUntil(`end of the Job of ${name}`, 60, async () => {
    const jobs = await cluster.list<Job>(`/apis/batch/v1/namespaces/${site.namespace}/jobs`)
    return !jobs.some(({ metadata }) => metadata.ownerReferences?.some((owner) => owner.name === name))
  })
}

async function streamsOn(): Promise<void> {
  await waitForArrival(
    stage(),
    `INSERT INTO t SELECT coalesce(max(id), 0) + 1, $1 FROM t`,
    'SELECT 1 FROM t WHERE v = $1',
  )
}

async function historyComplete(): Promise<boolean | undefined> {
  const { cluster, site } = stage()
  const pipeline = await cluster.pipeline(site.namespace, 'shop')
  return pipeline?.status?.tables?.find(({ name }) => name === 't')?.historyComplete
}

/** Runs `work` while the hold cannot be reached, because a transaction that wrote the table is open. */
async function whileWriterIsOpen(work: () => Promise<void>): Promise<void> {
  await asSuperuser(stage().site.sourceUrl, async (client) => {
    await client.query('BEGIN')
    await client.query('UPDATE t SET v = v WHERE id = 1')
    await work()
    await client.query('COMMIT')
  })
}

const endings = {
  cancel: async (name: string) => {
    await patchSpec(stage(), 'tablebackfills', name, { cancel: true })
    await waitForPhase(stage(), name, ['Cancelled'], 90)
  },
  delete: async (name: string) => {
    await stage().cluster.remove({
      apiVersion: 'millrace.dev/v1alpha1',
      kind: 'TableBackfill',
      metadata: { name, namespace: stage().site.namespace },
    })
  },
}

describe.each(Object.entries(endings))('%s', (how, end) => {
  it('while it is queued changes nothing', async () => {
    await applyBackfill(stage(), `block-${how}`, 'other', { backfill: { parallelism: 1 } })
    await whileWriterIsOpen(async () => {
      await applyBackfill(stage(), `first-${how}`, 't')
      await waitForPhase(stage(), `first-${how}`, ['Preparing', 'Queued'])
      await applyBackfill(stage(), `queued-${how}`, 't')
      await waitForPhase(stage(), `queued-${how}`, ['Queued'])
      await end(`queued-${how}`)
    })
    await waitForPhase(stage(), `first-${how}`, ['Streaming'], 300)
    await jobGone(`queued-${how}`)
    expect(await historyComplete()).toBe(true)
  })

  it('while it prepares leaves the history as it was', async () => {
    await whileWriterIsOpen(async () => {
      await applyBackfill(stage(), `preparing-${how}`, 't', { destinationTable: 'Truncate' })
      const seen = await waitForPhase(stage(), `preparing-${how}`, ['Preparing'])
      expect(seen.status?.phase).toBe('Preparing')
      await end(`preparing-${how}`)
      await jobGone(`preparing-${how}`)
    })
    await streamsOn()
    expect(await historyComplete()).toBe(true)
    await expectEqual(stage(), { name: 't' })
  })

  it('while it copies goes on from the queue and says that the history is incomplete', {
    timeout: 600_000,
  }, async () => {
    await applyBackfill(stage(), `copying-${how}`, 't', { destinationTable: 'Truncate' })
    const { cluster, site } = stage()
    await waitUntil('some chunks', 120, async () => {
      const status = (await cluster.backfill(site.namespace, `copying-${how}`))?.status
      return (status?.copy?.chunksDone ?? 0) > 0
    })
    await onSource(stage(), `INSERT INTO t VALUES (${how === 'cancel' ? -1 : -2}, 'while it copied')`)
    await end(`copying-${how}`)
    await jobGone(`copying-${how}`)
    await streamsOn()
    await waitUntil('an incomplete history', 60, async () => (await historyComplete()) === false)
    await waitUntil('what was queued meanwhile', 60, async () =>
      asSuperuser(
        site.destinationUrl,
        async (client) =>
          (await client.query('SELECT FROM t WHERE id < 0 AND v = $1', ['while it copied'])).rowCount ===
          (how === 'cancel' ? 1 : 2),
      ),
    )

    // Another one makes it whole.
    await applyBackfill(stage(), `whole-${how}`, 't', { destinationTable: 'Truncate' })
    await waitForPhase(stage(), `whole-${how}`, ['Streaming'], 400)
    await streamsOn()
    // The Pipeline is another object than the TableBackfill, and is written a moment later.
    await waitUntil('a complete history', 10, async () => (await historyComplete()) === true)
    await expectEqual(stage(), { name: 't' })
  })

  it('of one that is Streaming changes nothing', async () => {
    if (how === 'cancel') await patchSpec(stage(), 'tablebackfills', `whole-${how}`, { cancel: true })
    else await end(`whole-${how}`)
    await streamsOn()
    expect(await historyComplete()).toBe(true)
  })
})
