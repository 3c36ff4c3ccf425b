import { expect, it } from 'vitest'
import { never } from './destination-postgres-fixture.ts'
import { openTestWarehouse, useS3 } from './destination-redshift-fixture.ts'
import { describeLedgerBackfills } from './ledger-contract-backfills.ts'
import { describeLedgerTables } from './ledger-contract-tables.ts'
import { usePods } from './ledger-pods.ts'

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

describeLedgerTables(pods)
describeLedgerBackfills(pods)
