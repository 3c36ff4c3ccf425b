import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Client } from 'pg'
import { expect, it } from 'vitest'
import { waitUntil } from '../../hack/demo/kube.ts'
import { asSuperuser } from '../../hack/demo/site.ts'
import { quoteTable } from '../../lib/sql.ts'
import { startRowLoad } from './row-load.ts'
import {
  applyBackfill,
  applyPipeline,
  expectEqual,
  PIPELINE,
  REDSHIFT,
  useStage,
  waitForArrival,
  waitForPhase,
  waitForStreaming,
  workerProcesses,
} from './support.ts'
import { createLargeTable } from './tables.ts'

const stage = useStage('kills')
const ROWS = Number(process.env.E2E_KILL_ROWS ?? 1_000_000)

/** Chunks of one backfill that are done, and when, straight from the ledger. */
async function doneChunks(uid: string): Promise<Map<string, string>> {
  return await asSuperuser(stage().site.destinationUrl, async (client) => {
    if (REDSHIFT) return await chunksOfTableLedger(client, uid)
    const result = await client.query<{ id: string; version: string }>(
      `SELECT plan || '/' || chunk AS id, xmin::text AS version FROM millrace.chunks WHERE uid = $1 AND state = 'done'`,
      [uid],
    )
    return new Map(result.rows.map(({ id, version }) => [id, version]))
  })
}

/** In Redshift each table has a ledger of its own, of which every row has a version. */
async function chunksOfTableLedger(client: Client, uid: string): Promise<Map<string, string>> {
  const tables = await client.query<{ ledger: string }>('SELECT ledger FROM millrace.tables')
  const found = new Map<string, string>()
  for (const { ledger } of tables.rows) {
    const result = await client.query<{ id: string; version: string }>(
      `SELECT id, version FROM ${quoteTable({ schema: 'millrace', name: ledger.trim() })} WHERE state = 'done' AND id LIKE $1`,
      [`chunk ${uid} %`],
    )
    for (const { id, version } of result.rows) found.set(id, String(version))
  }
  return found
}

async function kill(name: string): Promise<void> {
  const { cluster, site } = stage()
  const uid = (await cluster.pipeline(site.namespace, PIPELINE))?.metadata.uid
  const victim = await waitUntil(`a ${name} process`, 120, async () =>
    (await workerProcesses(uid)).find((one) => one.name === name),
  )
  process.kill(victim.pid, 'SIGKILL')
  console.log(`killed ${name}`)
}

async function killBroker(): Promise<void> {
  await promisify(execFile)(process.execPath, ['hack/stack.ts', 'restart', 'kafka', '--kill9'])
  console.log('killed the broker')
}

it('loses and doubles nothing when every process is killed in the middle', {
  timeout: 1_800_000,
}, async () => {
  const { cluster, site } = stage()
  await createLargeTable(stage(), 'big', ROWS)
  const load = await startRowLoad(site.sourceUrl, 'big', 2_000)
  try {
    await applyPipeline(stage(), { tables: [{ name: 'big' }] })
    await waitForStreaming(stage(), ['big'], 400)
    for (const [round, destinationTable] of (['Truncate', 'DoNothing'] as const).entries()) {
      const again = `again-${round + 1}`
      // Small bites, so that all of it happens in the middle; each costs Redshift several statements.
      await applyBackfill(stage(), again, 'big', {
        destinationTable,
        backfill: { chunkRows: REDSHIFT ? 5_000 : 1_000, parallelism: 1 },
      })
      await waitForPhase(stage(), again, ['Backfilling'], 120)
      const uid = (await cluster.backfill(site.namespace, again))?.metadata.uid ?? ''
      const status = async () => (await cluster.backfill(site.namespace, again))?.status
      for (const name of ['backfill', 'capture', 'apply', 'operator', 'broker']) {
        const before = await waitUntil('some chunks', 120, async () => {
          const done = await doneChunks(uid)
          return done.size > 0 && done
        })
        expect((await status())?.phase, `in the middle, before killing ${name}`).toBe('Backfilling')
        if (name === 'broker') await killBroker()
        else await kill(name)
        await waitUntil(
          'progress after the kill',
          180,
          async () => (await doneChunks(uid)).size > before.size,
          async () => JSON.stringify(await status()),
        )
        // A row of a finished chunk that was written again would have another version.
        const after = await doneChunks(uid)
        for (const [id, version] of before)
          expect(after.get(id), `chunk ${id} after killing ${name}`).toBe(version)
      }
      await waitForPhase(stage(), again, ['Streaming'], 600)
    }
  } finally {
    await load.stop()
  }
  await waitForArrival(
    stage(),
    'INSERT INTO big (title) VALUES ($1)',
    'SELECT 1 FROM big WHERE title = $1',
    300,
  )
  await expectEqual(stage(), { name: 'big' })
})
