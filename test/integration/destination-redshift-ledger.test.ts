import { DescribeStatementCommand, ListStatementsCommand } from '@aws-sdk/client-redshift-data'
import { expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import type { LedgerTable } from '../../workers/destination/ledger.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import { batch, claim, hard, nameOf, never } from './destination-postgres-fixture.ts'
import { openTestWarehouse, type TestWarehouse, useS3 } from './destination-redshift-fixture.ts'
import { lockTable, s3Server } from './emulator-setup.ts'
import { describeLedgerBackfills } from './ledger-contract-backfills.ts'
import { describeLedgerTables } from './ledger-contract-tables.ts'
import { closed, simple, usePods } from './ledger-pods.ts'

useS3()
let house: TestWarehouse
const pods = usePods(async () => {
  house = await openTestWarehouse('redshift_ledger')
  return { ...house, line: (...values) => values.join(',') }
})

/** A batch of this name is at work whose first statement, which locks the ledger, is through. */
async function hasLocked(name: string): Promise<boolean> {
  const client = house.newClient(s3Server().accessKeyId)
  const { Statements = [] } = await client.send(new ListStatementsCommand({ Status: 'STARTED' }))
  const found = Statements.find(({ StatementName }) => StatementName === name)
  if (!found) return false
  const { SubStatements = [] } = await client.send(new DescribeStatementCommand({ Id: found.Id }))
  return SubStatements[0]?.Status === 'FINISHED'
}

it('is opened once however many do it at once', async () => {
  const fresh = await openTestWarehouse('redshift_ledger_fresh')
  const workers = Array.from({ length: 9 }, () => fresh.open())
  await Promise.all(workers.map((worker) => worker.ledger.open(never)))
  await Promise.all(workers.map((worker) => worker.close()))
  expect(await fresh.rows('select max(version) from millrace.schema_version')).toEqual([[1]])
  await fresh.close()
})

it('does without the ledger of a table that was given free, which somebody has dropped', async () => {
  const fresh = await openTestWarehouse('redshift_ledger_dropped')
  const destination = fresh.open()
  await destination.ledger.open(never)
  for (const name of ['gone', 'stays', 'other']) {
    const row = await claim(destination, simple(name))
    await destination.ledger.closeBackfill(closed(`b-${name}`, name), never)
    if (name === 'gone') await destination.ledger.releaseTable(row, never)
  }
  const pod = fresh.open()
  const [[left] = []] = await fresh.rows(
    "select ledger from millrace.backfills where uid = 'b-gone' and ledger not in (select ledger from millrace.tables)",
  )
  await fresh.run(`drop table millrace."${left}"`)
  const uids = async () => (await pod.ledger.readAll(never)).backfills.map(({ uid }) => uid)
  expect(await uids()).toEqual(['b-stays', 'b-other'])
  expect(await pod.ledger.readBackfill('b-gone', never)).toBeUndefined()
  // The process that has known the ledger makes it again.
  await expect(claim(destination, simple('gone'))).rejects.toMatchObject({ code: 'TableNotFound' })
  expect(await claim(destination, simple('gone'))).toMatchObject({ table: nameOf(simple('gone')) })
  expect(await uids()).toEqual(['b-stays', 'b-other'])
  await Promise.all([destination, pod].map((each) => each.close()))
  await fresh.close()
})

it('is read at the start without the tables that somebody has locked, and holds up no others', async () => {
  const { one, two } = pods
  const [blocked, free] = [simple('l_blocked'), simple('l_free')]
  for (const definition of [blocked, free]) await one.ensureTable(nameOf(definition), definition, hard, never)
  const [rowOfBlocked, row] = [await claim(one, blocked), await claim(one, free)]
  const lock = await lockTable(house.client, 'l_blocked')
  const write = (of: LedgerTable, definition: TableDefinition) =>
    one.flush(batch(of, definition, { upserts: [['1', 'a']] }), never)
  // Has the ledger of its table locked, and waits for the table.
  const waiting = write(rowOfBlocked, blocked)
  await until(() => hasLocked('millrace apply public.l_blocked'), { what: 'its lock', timeoutMs: 20_000 })
  const all = two.ledger.readAll(never)
  expect(await two.ledger.readBackfills(nameOf(free), never)).toEqual([])
  const { tables, locked } = await all
  expect(locked).toEqual([nameOf(blocked)])
  expect(tables).toContainEqual(row)
  // What was given up has let go of the others.
  expect(await write(row, free)).toMatchObject({ kind: 'applied' })
  await lock.release()
  expect(await waiting).toMatchObject({ kind: 'applied' })
  expect((await two.ledger.readAll(never)).locked).toEqual([])
}, 120_000)

describeLedgerTables(pods)
describeLedgerBackfills(pods)
