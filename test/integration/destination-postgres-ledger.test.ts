import { describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import { never, openOn } from './destination-postgres-fixture.ts'
import { describeLedgerBackfills } from './ledger-contract-backfills.ts'
import { describeLedgerTables } from './ledger-contract-tables.ts'
import { usePods } from './ledger-pods.ts'
import { createDatabase } from './services.ts'

const pods = usePods(async () => {
  const { url } = await createDatabase('destination_ledger', 'destination')
  return {
    open: (pipelineUid) => openOn(url, pipelineUid),
    rows: async (sql) => (await query<object>(url, sql)).map(Object.values),
    run: (sql) => query(url, sql),
    line: (...values) => values.join('\t'),
  }
})

describe('a ledger in PostgreSQL', () => {
  it('is opened once however many do it at once', async () => {
    const fresh = (await createDatabase('destination_ledger_fresh', 'destination')).url
    const workers = Array.from({ length: 9 }, () => openOn(fresh))
    await Promise.all(workers.map((worker) => worker.ledger.open(never)))
    await Promise.all(workers.map((worker) => worker.close()))
    expect(await query(fresh, 'select version from millrace.schema_version')).toEqual([{ version: 1 }])
  })

  it('forgets what ended long ago', async () => {
    await pods.run(`insert into millrace.backfills (pipeline, uid, name, source_schema, source_table, state, action, changed_at)
       select 'pipeline-1', 'old-' || state, '', '', '', state, 'Drop', now() - interval '40 days'
       from unnest('{held,closed,drained}'::text[]) state;
       insert into millrace.chunks (pipeline, uid, plan, chunk, range)
       select 'pipeline-1', 'old-' || state, 1, 0, '{}' from unnest('{held,closed,drained}'::text[]) state`)
    await pods.one.ledger.open(never)
    expect(await pods.rows(`select uid from millrace.backfills where uid like 'old-%'`)).toEqual([
      ['old-held'],
    ])
    expect(await pods.rows(`select uid from millrace.chunks where uid like 'old-%'`)).toEqual([['old-held']])
    await pods.run(`delete from millrace.backfills where uid like 'old-%'`)
  })

  it('has positions that can be compared', async () => {
    const table = { schema: 'public', name: 'compared' }
    const claimed = { table, destination: table, topic: 't', historyComplete: false, unknownHistory: true }
    const row = await pods.one.ledger.claimTable(claimed, never)
    const position = { epoch: 3, lsn: 0xffff_ffff_ffff_fff0n, sequence: 4_000_000_000 }
    await pods.one.ledger.updateTable(row, { position }, never)
    const later = `select lsn > '9/0'::pg_lsn from millrace.tables where source_table = 'compared'`
    expect(await pods.rows(later)).toEqual([[true]])
  })
})

describeLedgerTables(pods)
describeLedgerBackfills(pods)
