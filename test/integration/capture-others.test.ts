import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { stateRecord } from '../../workers/capture/record.ts'
import { captureTopic } from '../../workers/queue/topics.ts'
import { startNetwork } from '../cluster/network.ts'
import { table, useCaptureBeds } from './capture-beds.ts'
import { controls, withoutRepeats } from './queue-events.ts'
import { sourceUrl } from './services.ts'

const { open } = useCaptureBeds()

describe('a publication that names another Pipeline', () => {
  const other = "comment on publication pub_other is 'Millrace Pipeline elsewhere/shop uid'"
  const member = "select 1 from pg_publication_tables where pubname = 'pub_other' and tablename = 'u'"

  it('is refused, its slot being there or not, until the comment is cleared', async () => {
    const bed = await open('taken', { ...table, postgres: { publication: 'pub_other' } })
    await bed.sql(`create publication pub_other; ${other}`)
    bed.run()
    const { problems, slot } = await bed.untilStatus('refused', (one) => one.problems !== undefined)
    expect(problems?.[0]).toMatchObject({
      code: 'SlotInUse',
      message: expect.stringMatching(/elsewhere\/shop uid.*COMMENT ON PUBLICATION "pub_other" IS NULL/),
    })
    expect(slot).toBeUndefined()
    await bed.sql('comment on publication pub_other is null')
    await bed.untilJoined('t')
  })

  it('keeps the tables that the other one wants', async () => {
    const bed = await open('shared', { ...table, postgres: { publication: 'pub_other' } })
    bed.run()
    await bed.untilJoined('t')
    const [own] = await bed.sql<{ own: string }>(
      "select obj_description(oid, 'pg_publication') as own from pg_publication where pubname = 'pub_other'",
    )
    await bed.sql(`${other}; create table u (id int primary key); alter publication pub_other add table u`)
    await bed.untilStatus('named', (one) => one.problems?.[0]?.message.includes('elsewhere/shop') === true)
    // Until another one joins, the look that would have removed it is over.
    await bed.sql('create table v (id int primary key)')
    await bed.patch({ tables: [{ name: 't' }, { name: 'v' }] })
    await bed.untilJoined('v')
    expect(await bed.sql(member)).toHaveLength(1)
    await bed.sql(`comment on publication pub_other is '${own?.own}'`)
    await bed.untilStatus('its own again', (one) => one.problems === undefined)
    await until(async () => (await bed.sql(member)).length === 0, { what: 'u to leave', timeoutMs: 30_000 })
  })
})

describe('a topic to which somebody else writes', () => {
  it('ends the session, which goes on anew, unless the record is another Pipeline’s by then', async () => {
    const bed = await open('prefix', table)
    const capture = bed.run()
    await bed.untilJoined('t')
    await bed.sql('insert into t values (1, 1)')
    await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    const failures = async () =>
      (await capture.metrics.getSingleMetric('millrace_capture_failures_total')?.get())?.values
    const late = async () => {
      const [copy] = (await bed.queue.readAll(bed.topic('t'), AbortSignal.timeout(10_000))).slice(-1)
      if (!copy) throw new Error('nothing to copy')
      const { value } = copy
      await bed.queue.send([{ topic: bed.topic('t'), records: [{ value }] }], AbortSignal.timeout(10_000))
    }
    await late()
    await bed.sql('insert into t values (2, 2)')
    await until(async () => (await failures())?.some(({ labels }) => labels.code === 'QueueConflict'), {
      what: 'the session to end',
      timeoutMs: 30_000,
    })
    await bed.sql('insert into t values (3, 3)')
    const events = await bed.untilEvents('t', 'row 3', (all) => all.at(-1)?.row.id === '3')
    expect(controls(withoutRepeats(events))).toEqual(['join'])

    const owner = 'Millrace Pipeline elsewhere/shop uid'
    const other = stateRecord({ epoch: 9, lsn: 1n, systemIdentifier: '1', timeline: 1, owner })
    await bed.queue.send([{ topic: captureTopic(bed.prefix), records: [other] }], AbortSignal.timeout(10_000))
    await late()
    await bed.sql('insert into t values (4, 4)')
    await bed.untilStatus('stopped', (one) => one.problems?.[0]?.message.includes(owner) === true)
    expect((await bed.status()).problems).toMatchObject([{ component: 'Queue', code: 'QueueConflict' }])
  })
})

describe('a session that the source still has', () => {
  it('is ended by the capture whose it was, long before the source would notice', async () => {
    const { hostname, port } = new URL(sourceUrl())
    const network = await startNetwork(hostname, Number(port))
    try {
      const bed = await open('left', { ...table, postgres: { port: network.port } })
      bed.run()
      await bed.untilJoined('t')
      await bed.sql('insert into t values (1, 1)')
      await bed.untilEvents('t', 'the row', (all) => all.length === 2)
      const end = network.abandon()
      const since = performance.now()
      await bed.sql('insert into t values (2, 2)')
      const events = await bed.untilEvents('t', 'both rows', (all) => all.at(-1)?.row.id === '2')
      end()
      // wal_sender_timeout is 60 s.
      expect(performance.now() - since).toBeLessThan(20_000)
      expect(controls(withoutRepeats(events))).toEqual(['join'])
    } finally {
      await network.close()
    }
  })
})
