import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { type PostgresHandle, query, startPrimary } from '../../hack/services/postgres.ts'
import { sourceSetup } from '../torture/history/audit-sql.ts'
import { createRandom } from '../torture/random.ts'
import { randomTables } from '../torture/tables.ts'
import { startWorkload } from '../torture/workload.ts'
import { tempDir } from './services.ts'

let source: PostgresHandle

beforeAll(async () => {
  source = await startPrimary({
    dir: join(tempDir(), 'torture'),
    settings: { max_prepared_transactions: '10' },
  })
})
afterAll(() => source?.kill9())

// Left to the end of its schedule, such a transaction keeps the slots of all the others from being made.
it('the workload ends what it has prepared although its session was broken off in between', async () => {
  const random = createRandom('prepared')
  const tables = randomTables(random, 2, false)
  await query(source.url, sourceSetup('postgres'))
  for (const sql of tables.flatMap(({ ddl }) => ddl)) await query(source.url, sql)
  const workload = await startWorkload({
    url: source.url,
    role: 'postgres',
    tables,
    random,
    sessions: 4,
    truncates: false,
    ddl: false,
    hugeRows: 0,
  })
  try {
    const prepared = async () =>
      (await query<{ gid: string }>(source.url, 'select gid from pg_prepared_xacts')).map(({ gid }) => gid)
    let left: string[] = []
    await until(
      async () => {
        if ((await prepared()).length === 0) return false
        await query(
          source.url,
          `select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'torture'`,
        )
        left = await prepared()
        return left.length > 0
      },
      { what: 'a session that is broken off between the phases', timeoutMs: 60_000, intervalMs: 20 },
    )
    await until(async () => !(await prepared()).some((gid) => left.includes(gid)), {
      what: 'the second phase',
      timeoutMs: 30_000,
    })
    const before = workload.transactions()
    await until(async () => workload.transactions() > before, { what: 'more', timeoutMs: 30_000 })
    expect(left).not.toEqual([])
  } finally {
    await workload.stop()
  }
})
