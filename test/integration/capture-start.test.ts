import { Client } from 'pg'
import { expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { useCaptureBeds } from './capture-beds.ts'
import { controls } from './queue-events.ts'

const { open } = useCaptureBeds()

it('a table that is rewritten while the slot is made, and written before it is, does not keep the log from being read', async () => {
  const bed = await open('rewritten', {
    source:
      'create table t (id int primary key); create table other (id int); create table late (id int); insert into late values (1)',
    tables: [{ name: 't' }],
  })
  const clients = [0, 1, 2].map(() => new Client({ connectionString: bed.source.url }))
  const [first, second, third] = clients as [Client, Client, Client]
  const begin = async (client: Client, sql: string): Promise<string> => {
    await client.query(`begin; ${sql}`)
    const { rows } = await client.query<{ xid: string }>('select pg_current_xact_id()::xid::text as xid')
    return rows[0]?.xid ?? ''
  }
  const untilWaitedFor = async (xid: string) =>
    await until(
      async () =>
        (
          await bed.sql(
            `select 1 from pg_locks where locktype = 'transactionid' and not granted and transactionid::text = '${xid}'`,
          )
        ).length > 0,
      { what: `the slot to wait for ${xid}`, timeoutMs: 30_000 },
    )
  await Promise.all(clients.map((client) => client.connect()))
  try {
    const one = await begin(first, 'insert into other values (1)')
    bed.run()
    await untilWaitedFor(one)
    const two = await begin(second, 'insert into other values (2)')
    await bed.sql('vacuum full late')
    await first.query('commit')
    await untilWaitedFor(two)
    await begin(third, 'insert into late values (2)')
    await second.query('commit')
    // It ends when it is waited for; or, should it not be, when the log is read already.
    await until(
      async () => {
        const reads = await bed.sql(
          `select 1 from pg_stat_replication where application_name = 'millrace-capture' and state <> 'startup'`,
        )
        return reads.length > 0 || /at the start/.test(JSON.stringify(await bed.status()))
      },
      { what: 'capture to wait for the transaction', timeoutMs: 30_000 },
    )
    await third.query('commit')
    await bed.untilJoined('t')
    await bed.sql('insert into t values (1)')
    const events = await bed.untilEvents('t', 'the row', (all) => all.at(-1)?.row.id === '1')
    expect(controls(events)).toEqual(['join'])
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
})
