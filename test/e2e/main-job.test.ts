import { beforeAll, describe, expect, it } from 'vitest'
import { startRowLoad } from './row-load.ts'
import {
  applyBackfill,
  applyPipeline,
  backfillOf,
  expectEqual,
  PIPELINE,
  useStage,
  value,
  waitForArrival,
  waitForPhase,
  waitForStreaming,
  watchMemory,
} from './support.ts'
import { createLargeTable, LARGE_ROWS } from './tables.ts'

const stage = useStage('main')
const MIB = 1024 * 1024
const RATE = 2_000

/** Rows of the table that is copied again and again; the time is in the large one. */
const AGAIN_ROWS = 500_000

async function expectArrivedAndEqual(name: string, atLeast: number): Promise<void> {
  const insert = `INSERT INTO ${name} (title) VALUES ($1)`
  await waitForArrival(stage(), insert, `SELECT 1 FROM ${name} WHERE title = $1`)
  const { rows } = await expectEqual(stage(), { name })
  expect(rows).toBeGreaterThan(atLeast * 0.9)
}

/** Rows that full reads of the table have returned, by the statements that a server has seen. */
async function rowsRead(url: string): Promise<number> {
  const sql = `SELECT coalesce(sum(rows), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
               WHERE d.datname = current_database() AND s.query ILIKE 'COPY (SELECT%"big"%TO STDOUT%'`
  return Number(await value(url, sql))
}

it('backfills a large table from the replica while it is written, and drains', {
  timeout: 900_000,
}, async () => {
  const { cluster, site } = stage()
  await createLargeTable(stage(), 'big', LARGE_ROWS)
  for (const url of [site.sourceUrl, site.replicaUrl]) {
    await value(url, 'SELECT 1 FROM pg_extension WHERE extname = $1', ['pg_stat_statements']).then(
      async (there) => {
        if (there === null && url === site.sourceUrl) await value(url, 'CREATE EXTENSION pg_stat_statements')
      },
    )
  }
  const memory = watchMemory(async () => (await cluster.pipeline(site.namespace, PIPELINE))?.metadata.uid)
  const load = await startRowLoad(site.sourceUrl, 'big', RATE)
  const began = Date.now()
  try {
    await applyPipeline(stage(), { tables: [{ name: 'big' }] })
    await waitForStreaming(stage(), ['big'], 600)
  } finally {
    await load.stop()
  }
  console.log(
    `streaming after ${((Date.now() - began) / 1000).toFixed(0)} s, with ${load.changes()} changes meanwhile`,
  )
  // Before the comparison, which reads the primary.
  expect(await rowsRead(site.replicaUrl)).toBeGreaterThan(LARGE_ROWS * 0.9)
  expect(await rowsRead(site.sourceUrl)).toBe(0)

  await expectArrivedAndEqual('big', LARGE_ROWS)

  const peaks = await memory.stop()
  console.log(Object.fromEntries([...peaks].map(([name, bytes]) => [name, `${Math.round(bytes / MIB)} MiB`])))
  expect((peaks.get('capture') ?? 0) / MIB).toBeLessThan(200)
  expect((peaks.get('backfill') ?? 0) / MIB).toBeLessThan(200)
  expect((peaks.get('apply') ?? 0) / MIB).toBeLessThan(400)

  const initial = await cluster.backfill(site.namespace, await backfillOf(stage(), 'big'))
  expect(initial?.status?.copy?.rowsCopied).toBeGreaterThan(LARGE_ROWS * 0.9)
  expect(initial?.status?.conditions?.find(({ type }) => type === 'Succeeded')?.status).toBe('True')
})

describe('a table that streams', () => {
  beforeAll(async () => {
    await createLargeTable(stage(), 'again', AGAIN_ROWS)
    await applyPipeline(stage(), { tables: [{ name: 'big' }, { name: 'again' }] })
    await waitForStreaming(stage(), ['again'])
  })

  it.each(['DoNothing', 'Truncate', 'Drop'] as const)(
    'is copied again on demand with %s, under writes',
    async (destinationTable) => {
      const { site } = stage()
      const load = await startRowLoad(site.sourceUrl, 'again', RATE)
      try {
        const name = `again-${destinationTable.toLowerCase()}`
        await applyBackfill(stage(), name, 'again', { destinationTable })
        await waitForPhase(stage(), name, ['Streaming'], 600)
      } finally {
        await load.stop()
      }
      await expectArrivedAndEqual('again', AGAIN_ROWS)
    },
  )
})
