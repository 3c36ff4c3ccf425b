import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { brokerAnswers } from '../../hack/services/kafka/ready.ts'
import { startKafka } from '../../hack/services/kafka.ts'
import { query, startPrimary, startReplica } from '../../hack/services/postgres.ts'
import { createDatabase, kafkaBrokers, kubeconfig, tempDir, waitForReplica } from './services.ts'

describe('shared servers', () => {
  it('gives a fresh source database that the replica follows', async () => {
    for (const round of [1, 2]) {
      const database = await createDatabase('services_fresh')
      await query(database.url, `create table t as select ${round} as round`)
      await query(database.url, `select pg_create_logical_replication_slot('services_fresh', 'pgoutput')`)
      await waitForReplica()
      expect(await query(database.replicaUrl, 'select round, pg_is_in_recovery() as replica from t')).toEqual(
        [{ round, replica: true }],
      )
    }
    await createDatabase('services_fresh')
  })

  it('gives a destination database with its own sort order', async () => {
    const clauses = `locale_provider icu icu_locale 'en-US'`
    const { url } = await createDatabase('services_icu', 'destination', clauses)
    expect(await query(url, `select 'a' < 'B' as natural_order`)).toEqual([{ natural_order: true }])
  })

  it('has a broker that answers', async () => {
    const [host = '', port] = kafkaBrokers().split(':')
    expect(await brokerAnswers(host, Number(port))).toBe(true)
  })

  it('has an API server', () => {
    expect(readFileSync(kubeconfig(), 'utf8')).toContain('server: https://127.0.0.1:')
  })
})

describe('own servers', () => {
  it('keep their data when killed', async () => {
    const dir = tempDir()
    const primary = await startPrimary({ dir: `${dir}/primary` })
    const replica = await startReplica(primary, { dir: `${dir}/replica` })
    await query(primary.url, 'create table t as select 1 as one')
    await primary.kill9()
    await primary.start()
    await query(primary.url, 'insert into t values (2)')
    await waitForReplica(primary.url, replica.url)
    expect(await query(replica.url, 'select one from t order by one')).toEqual([{ one: 1 }, { one: 2 }])
    await replica.stop()
    await primary.stop('immediate')
  })

  it('come back on the same address after a kill of the broker', async () => {
    const broker = await startKafka({ dir: `${tempDir()}/kafka` })
    const before = broker.pid()
    await broker.kill9()
    expect(broker.pid()).toBeUndefined()
    await broker.start()
    expect(broker.pid()).not.toBe(before)
    await broker.kill9()
  })
})
