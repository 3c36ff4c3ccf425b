import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Site } from '../../hack/demo/site.ts'
import { until } from '../../hack/process/wait.ts'
import {
  onDatabase,
  type PostgresHandle,
  query,
  startPrimary,
  startReplica,
} from '../../hack/services/postgres.ts'
import { failOver as takeOver } from '../cluster/failover.ts'
import { createGate } from '../cluster/gate.ts'
import type { World } from '../cluster/world.ts'
import { createRandom } from '../torture/random.ts'
import { replicaDifferences } from '../torture/replica.ts'
import { failOver } from '../torture/strikes.ts'
import type { TortureTable } from '../torture/tables.ts'
import { tempDir } from './services.ts'

// What torture does to PostgreSQL servers, and how it looks at them.

const settings = { max_prepared_transactions: 10, wal_level: 'logical' }
let primary: PostgresHandle
let replica: PostgresHandle

beforeAll(async () => {
  const dir = tempDir()
  primary = await startPrimary({ dir: join(dir, 'primary'), settings })
  replica = await startReplica(primary, { dir: join(dir, 'replica'), settings })
  await query(primary.url, 'CREATE DATABASE d')
  await query(
    onDatabase(primary.url, 'd'),
    'CREATE TABLE t (id bigint PRIMARY KEY, rev bigint); INSERT INTO t VALUES (1, 1), (2, 2)',
  )
}, 60_000)

afterAll(async () => {
  await replica?.kill9()
  await primary?.kill9()
})

it('a failover that takes the second phase of a transaction back leaves none between its phases', async () => {
  const database = onDatabase(primary.url, 'd')
  await query(database, `BEGIN; INSERT INTO t VALUES (3, 3); PREPARE TRANSACTION 'lost'`)
  const standing = 'SELECT gid FROM pg_prepared_xacts'
  const world = {
    gate: createGate(),
    primary,
    failOver: async () => {
      const over = takeOver(primary, replica, { primary: settings, replica: settings }, 2_000)
      await until(async () => (await query(primary.url, 'SELECT FROM pg_stat_replication')).length === 0, {
        what: 'end of the replication',
        timeoutMs: 2_000,
      })
      await query(database, `COMMIT PREPARED 'lost'`)
      await over
      expect(await query(database, standing)).toEqual([{ gid: 'lost' }])
    },
  } as unknown as World
  await failOver(world, {} as Site, createRandom(1))
  expect(await query(database, standing)).toEqual([])
}, 60_000)

it('a replica that differs from its own primary is noticed', async () => {
  const site = { sourceUrl: onDatabase(primary.url, 'd'), replicaUrl: onDatabase(replica.url, 'd') } as Site
  await query(site.sourceUrl, 'CREATE VIEW apart AS SELECT * FROM t WHERE id <> 2 OR NOT pg_is_in_recovery()')
  const differences = (name: string) =>
    replicaDifferences(site, [
      { schema: 'public', name, key: ['id'], keyless: false } as unknown as TortureTable,
    ])
  expect(await differences('t')).toEqual([])
  expect((await differences('apart'))[0]).toMatch(/^"public"."apart": 1 of \d rows differ on the replica/)
}, 60_000)
