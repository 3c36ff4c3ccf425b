import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { installCustomResources } from '../../hack/demo/install.ts'
import { type Cluster, connectCluster } from '../../hack/demo/kube.ts'
import { query } from '../../hack/services/postgres.ts'
import { compareTable } from '../fuzz/compare.ts'
import { runDdl } from '../fuzz/ddl/run.ts'
import { describeOutcome } from '../fuzz/report.ts'
import type { FuzzServers } from '../fuzz/rig/servers.ts'
import { runSchemas } from '../fuzz/schemas/run.ts'
import {
  createDatabase,
  destUrl,
  kafkaBrokers,
  kubeconfig,
  replicaUrl,
  sourceUrl,
  tempDir,
} from './services.ts'

// A small run of each fuzzer, always the same one: `make fuzz` has the large ones.

let cluster: Cluster
let servers: FuzzServers

beforeAll(async () => {
  cluster = await connectCluster(kubeconfig())
  await installCustomResources(cluster)
  servers = {
    cluster,
    source: sourceUrl(),
    replica: replicaUrl(),
    destination: destUrl(),
    brokers: kafkaBrokers(),
    dir: tempDir('fuzz'),
  }
})
afterAll(() => cluster.close())

const say = (line: string) => console.log(line)

describe('the comparison of the fuzzers', () => {
  const TABLE = { schema: 'public', name: 't' }
  const compare = async (destination: string, options = {}) => {
    const source = await createDatabase('fuzz_compare')
    const target = await createDatabase('fuzz_compare', 'destination')
    await query(
      source.url,
      `create table t (id int, v text, at timestamptz, x float8);
       insert into t values (1, 'a', '2026-01-01 00:00:00+02', 0.1::float8), (2, null, 'infinity', '-0'::float8), (2, null, 'infinity', '-0'::float8);
       create table kid () inherits (t); insert into kid values (3, 'not its own')`,
    )
    await query(target.url, destination)
    return (await compareTable(source.url, target.url, TABLE, options)).difference
  }
  const SAME = `create table t (x float8, at timestamptz, v text, id int, more text);
    insert into t values (0.1::float8, '2025-12-31 22:00:00+00', 'a', 1), ('-0'::float8, 'infinity', null, 2), ('-0'::float8, 'infinity', null, 2)`

  it('finds nothing where nothing is different', async () => {
    expect(await compare(SAME)).toBeUndefined()
  })

  it.each([
    ['a changed value', `update t set v = 'A' where id = 1`, 'missing'],
    ['zero for minus zero', 'update t set x = 0 where id = 2', 'missing'],
    ['a value in place of NULL', `update t set v = '' where id = 2`, 'missing'],
    ['a row that is there once too often', 'insert into t select * from t where id = 1', '1 are there'],
    [
      'a row that is there once only',
      'delete from t where ctid = (select max(ctid) from t where id = 2)',
      '1 of 3 rows',
    ],
    ['a table without its rows', 'truncate t', '3 of 3 rows'],
    ['a missing column', 'alter table t drop x', 'column "x" is missing'],
  ])('finds %s', async (_, change, found) => {
    expect(await compare(`${SAME}; ${change}`)).toContain(found)
  })

  it('forgives a column that comes with the next row only as long as nothing is in it', async () => {
    const missing = `${SAME}; alter table t drop v`
    expect(await compare(missing, { lateColumns: true })).toContain('column "v" is missing')
    const source = await createDatabase('fuzz_late')
    const target = await createDatabase('fuzz_late', 'destination')
    await query(source.url, 'create table t (id int, v text); insert into t values (1)')
    await query(target.url, 'create table t (id int); insert into t values (1)')
    const late = await compareTable(source.url, target.url, TABLE, { lateColumns: true })
    expect(late).toEqual({ rows: 1, difference: undefined })
  })
})

describe('a small run', () => {
  it('of random tables ends equal, and sees a row that is changed by hand', async () => {
    let victim = ''
    const outcome = await runSchemas({
      servers,
      seed: 1,
      say,
      tables: 6,
      seconds: 20,
      async meddle({ destination }, tables) {
        for (const { schema, name } of tables) {
          const sql = `"${schema.replaceAll('"', '""')}"."${name.replaceAll('"', '""')}"`
          const gone = await query(
            destination,
            `delete from ${sql} where ctid = (select min(ctid) from ${sql}) returning 1`,
          )
          if (gone.length === 0) continue
          victim = sql
          return
        }
      },
    })
    console.log(describeOutcome(outcome).join('\n'))
    expect(victim).not.toBe('')
    expect(outcome.differences.map(({ table }) => table)).toEqual([expect.stringContaining(victim)])
    expect(outcome.statements).toBeGreaterThan(300)
  }, 300_000)

  it('of random DDL ends equal or stopped for a reason, and cured', async () => {
    const outcome = await runDdl({ servers, seed: 1, say, tables: 4, longestPause: 1_500 })
    console.log(describeOutcome(outcome).join('\n'))
    expect(outcome.differences).toEqual([])
    expect(outcome.statements).toBeGreaterThan(20)
  }, 400_000)
})
