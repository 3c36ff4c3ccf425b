import { afterAll, beforeAll, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import { type Connection, openConnection } from '../../workers/source/connect.ts'
import { readLogEnd } from '../../workers/source/identity.ts'
import { ensurePublication, joinTable } from '../../workers/source/publication.ts'
import { writeHold, writeRelease } from '../../workers/source/watermark.ts'
import { targetOf } from './postgres-target.ts'
import { createDatabase, type TestDatabase } from './services.ts'

// Rule R4: whatever the protocol builds on must not vanish when the source crashes, though its database may be set up to
// forget the last moments.

const signal = AbortSignal.timeout(120_000)
const names = { publication: 'durable', slot: 'durable' }
const table = { schema: 'public', name: 't' }
let database: TestDatabase
let connection: Connection

beforeAll(async () => {
  database = await createDatabase('source_durable')
  await query(database.url, `ALTER DATABASE ${database.name} SET synchronous_commit = off`)
  await query(database.url, 'CREATE TABLE t (id integer PRIMARY KEY)')
  connection = await openConnection(targetOf(database.url), { purpose: 'query', signal })
  await ensurePublication(connection, names.publication, 'test')
  await joinTable(connection, names, table, 'spec.tables[0]')
})
afterAll(() => connection?.close())

/** Counts how often something that was written before `work` returned was not on disk then. */
async function lost(work: () => Promise<unknown>): Promise<number> {
  let count = 0
  for (let round = 0; round < 30; round += 1) {
    const { inserted } = await readLogEnd(connection)
    await work()
    if ((await readLogEnd(connection)).flushed <= inserted) count += 1
  }
  return count
}

it('sees commits that are not on disk yet, so that the other tests can fail', async () => {
  expect(
    await lost(() => connection.query("SELECT pg_logical_emit_message(true, 'test', '')")),
  ).toBeGreaterThan(0)
})

it('watermarks are on disk when they are written', async () => {
  const mark = { uid: 'u', name: 'n', table, action: 'DoNothing' } as const
  expect(await lost(() => writeHold(connection, names, mark))).toBe(0)
  expect(await lost(() => writeRelease(connection, names, mark))).toBe(0)
})
