import { expect, it } from 'vitest'
import { claim, nameOf, never } from './destination-postgres-fixture.ts'
import { openTestWarehouse, useS3 } from './destination-redshift-fixture.ts'
import { describeLedgerBackfills } from './ledger-contract-backfills.ts'
import { describeLedgerTables } from './ledger-contract-tables.ts'
import { closed, simple, usePods } from './ledger-pods.ts'

useS3()
const pods = usePods(async () => ({
  ...(await openTestWarehouse('redshift_ledger')),
  line: (...values) => values.join(','),
}))

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
  const uids = async () => (await pod.ledger.readBackfills(never)).map(({ uid }) => uid)
  expect(await uids()).toEqual(['b-stays', 'b-other'])
  expect(await pod.ledger.readBackfill('b-gone', never)).toBeUndefined()
  // The process that has known the ledger makes it again.
  await expect(claim(destination, simple('gone'))).rejects.toMatchObject({ code: 'TableNotFound' })
  expect(await claim(destination, simple('gone'))).toMatchObject({ table: nameOf(simple('gone')) })
  expect(await uids()).toEqual(['b-stays', 'b-other'])
  await Promise.all([destination, pod].map((each) => each.close()))
  await fresh.close()
})

describeLedgerTables(pods)
describeLedgerBackfills(pods)
