import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query, startPrimary, startReplica } from '../../hack/services/postgres.ts'
import { configureFailpoints } from '../../lib/failpoints.ts'
import { foldRecords, stateRecord } from '../../workers/capture/record.ts'
import { captureTopic } from '../../workers/queue/topics.ts'
import { startNetwork } from '../cluster/network.ts'
import { table, useCaptureBeds } from './capture-beds.ts'
import type { CaptureBed } from './capture-fixture.ts'
import { comparePlaces, controls, type Event } from './queue-events.ts'
import { kafkaBrokers, tempDir, waitForReplica } from './services.ts'

const { open, own } = useCaptureBeds()

/** Leaves a table whose first row is captured, and a capture that has been stopped. */
async function captureOneRow(bed: CaptureBed): Promise<void> {
  const capture = bed.run()
  await bed.untilJoined('t')
  await bed.sql('insert into t values (1, 1)')
  await bed.untilEvents('t', 'the row', (all) => all.length === 2)
  await capture.stop()
}

describe('a gap', () => {
  const terminate = (slot: string) =>
    `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${slot}' and active`

  it('is found when the slot is dropped while capture runs', async () => {
    const bed = await open('dropped', table)
    bed.run()
    await bed.untilJoined('t')
    await bed.sql('insert into t values (1, 1)')
    await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    await until(
      async () => {
        await bed.sql(terminate(bed.slot))
        await bed.sql(`select pg_drop_replication_slot('${bed.slot}')`)
        return true
      },
      { what: 'the slot to be dropped', timeoutMs: 20_000 },
    )
    const { gap } = await bed.untilStatus('a new epoch', (status) => status.epoch === 2)
    expect(gap).toMatchObject({ epoch: 2, code: 'SlotLost', message: expect.stringContaining('is gone') })
    await bed.sql('insert into t values (3, 3)')
    const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
    expect(events.map((event) => event.control.control ?? event.row.id)).toEqual(['join', '1', 'gap', '3'])
    expect(events[2]).toMatchObject({ header: { epoch: 2 }, control: { code: 'SlotLost' } })
    expect(events[3]?.header.epoch).toBe(2)
    expect(new Set(events.map((event) => event.header.inc)).size).toBe(1)
  })

  it('is found when the slot was moved ahead of the record', async () => {
    const bed = await open('ahead', table)
    await captureOneRow(bed)
    await bed.sql('insert into t values (2, 2)')
    await bed.sql(`select pg_replication_slot_advance('${bed.slot}', pg_current_wal_lsn())`)
    bed.run()
    const { gap } = await bed.untilStatus('a new epoch', (status) => status.epoch === 2)
    expect(gap).toMatchObject({ epoch: 2, code: 'SlotLost', message: expect.stringContaining('ahead of') })
    await bed.sql('insert into t values (3, 3)')
    const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
    expect(events.map((event) => event.control.control ?? event.row.id)).toEqual(['join', '1', 'gap', '3'])
    expect(
      events.every(
        (event, index) =>
          index === 0 || comparePlaces(event.position, events[index - 1]?.position ?? [0, 0n, 0]) > 0,
      ),
    ).toBe(true)
  })

  it('is told by the next session when the first that found it could not, and nothing shows it any more', async () => {
    const bed = await open('untold', table)
    await captureOneRow(bed)
    // As after a backup was restored: the queue has more of the log than there is.
    const written = async () => {
      const [row] = await bed.sql<{ lsn: string }>(`select (pg_current_wal_lsn() - '0/0')::text as lsn`)
      return BigInt(row?.lsn ?? 0)
    }
    const topic = captureTopic(bed.prefix)
    const { state } = foldRecords(await bed.queue.readAll(topic, AbortSignal.timeout(10_000)))
    if (!state) throw new Error('nothing is recorded')
    const lsn = (await written()) + 1_000_000n
    await bed.queue.send([{ topic, records: [stateRecord({ ...state, lsn })] }], AbortSignal.timeout(10_000))
    let capture: ReturnType<typeof bed.run> | undefined
    try {
      await new Promise<void>((resolve) => {
        configureFailpoints('capture.gap.before=throw', {
          warn: (_: unknown, message?: string) => message === 'Failing on purpose' && resolve(),
        })
        capture = bed.run()
      })
      await capture?.stop()
    } finally {
      configureFailpoints(undefined, { warn() {} })
    }
    await bed.sql(`select pg_logical_emit_message(false, 'filler', repeat('x', 2000000))`)
    expect(await written()).toBeGreaterThan(lsn)
    bed.run()
    const { gap } = await bed.untilStatus('a new epoch', (status) => status.epoch === 2)
    // The status tells it since the first session.
    await bed.untilEvents('t', 'the gap', (all) => controls(all).includes('gap'))
    await bed.sql('insert into t values (2, 2)')
    expect(gap).toMatchObject({ epoch: 2, code: 'SourceChanged', message: expect.stringContaining('backup') })
    const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '2')
    expect(controls(events)).toEqual(['join', 'gap'])
  })

  it('is found when the slot is moved between the look at it and the first read', async () => {
    const bed = await open('moving', table)
    await captureOneRow(bed)
    await bed.sql('insert into t values (2, 2)')
    try {
      await new Promise<void>((resolve) => {
        configureFailpoints('capture.stream.before=delay(2000)@1', {
          warn: (_: unknown, message?: string) => message === 'Failing on purpose' && resolve(),
        })
        bed.run()
      })
      await bed.sql(`select pg_replication_slot_advance('${bed.slot}', pg_current_wal_lsn())`)
      await bed.untilStatus('a new epoch', (status) => status.epoch === 2)
    } finally {
      configureFailpoints(undefined, { warn() {} })
    }
    await bed.sql('insert into t values (3, 3)')
    const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
    expect(events.map((event) => event.control.control ?? event.row.id)).toEqual(['join', '1', 'gap', '3'])
  })

  it('is found when the publication was dropped: the slot is made anew and the tables join again', async () => {
    const bed = await open('unpublished', table)
    await captureOneRow(bed)
    await bed.sql(`drop publication ${bed.slot}; insert into t values (2, 2)`)
    bed.run()
    const events = await bed.untilEvents(
      't',
      'another join',
      (all) => controls(all).at(-1) === 'join' && all.length > 2,
    )
    // Newer servers skip what they cannot decode; then the join alone says that changes are missing.
    expect([
      ['join', 'gap', 'join'],
      ['join', 'join'],
    ]).toContainEqual(controls(events))
    await bed.sql('insert into t values (3, 3)')
    await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
  })

  it('is found when the topic is gone: the others go on', async () => {
    const bed = await open('topic', {
      source: 'create table t (id int primary key, n int); create table other (id int primary key)',
      tables: [{ name: 't' }, { name: 'other' }],
    })
    const first = bed.run()
    await bed.untilJoined('t', 'other')
    await bed.sql('insert into t values (1, 1); insert into other values (1)')
    const before = await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    await until(
      async () => (await bed.record()).some((record) => record.topic === bed.topic('t') && record.written),
      {
        what: 'the topic to count as written',
        timeoutMs: 20_000,
      },
    )
    await first.stop()
    const admin = new Kafka({ brokers: [kafkaBrokers()], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.deleteTopics({ topics: [bed.topic('t')] })
    await admin.disconnect()
    bed.run()
    const events = await bed.untilEvents('t', 'gap', (all) => controls(all).includes('gap'))
    expect(events[0]?.control).toMatchObject({ control: 'gap', code: 'QueueLost' })
    expect(events[0]?.header.inc).not.toBe(before[0]?.header.inc)
    await bed.sql('insert into other values (2)')
    const other = await bed.untilEvents('other', 'the row', (all) => all.at(-1)?.row.id === '2')
    expect(controls(other)).toEqual(['join'])
  })

  it('is found when the topic is deleted and made anew while capture runs', async () => {
    const bed = await open('anew', table)
    bed.run()
    await bed.untilJoined('t')
    await bed.sql('insert into t values (1, 1)')
    const before = await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    const admin = new Kafka({ brokers: [kafkaBrokers()], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.deleteTopics({ topics: [bed.topic('t')] })
    await until(
      () => admin.createTopics({ topics: [{ topic: bed.topic('t'), numPartitions: 1 }] }).catch(() => false),
      { what: 'the topic to be made anew', timeoutMs: 20_000 },
    )
    await admin.disconnect()
    await bed.sql('insert into t values (2, 2)')
    const events = await bed.untilEvents('t', 'gap', (all) => controls(all).includes('gap'))
    const gap = events.find((event) => controls([event]).includes('gap'))
    expect(gap?.control).toMatchObject({ control: 'gap', code: 'QueueLost' })
    expect(gap?.header.inc).not.toBe(before[0]?.header.inc)
    await bed.sql('insert into t values (3, 3)')
    await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
  })

  it('is found when the source has removed the log that the slot needs', async () => {
    const primary = await startPrimary({
      dir: join(tempDir(), 'primary'),
      settings: { max_slot_wal_keep_size: '32MB', max_wal_size: '64MB', checkpoint_timeout: '30s' },
    })
    own(primary)
    const bed = await open('removed', { ...table, primary: primary.url })
    await captureOneRow(bed)
    await until(
      async () => {
        await bed.sql(
          'create table filler as select repeat(md5(g::text), 30) from generate_series(1, 60000) g',
        )
        await bed.sql('drop table filler')
        await bed.sql('checkpoint')
        const [slot] = await bed.sql<{ wal_status: string }>('select wal_status from pg_replication_slots')
        return slot?.wal_status === 'lost'
      },
      { what: 'the slot to be lost', timeoutMs: 60_000 },
    )
    bed.run()
    await bed.untilStatus('a new epoch', (status) => status.epoch === 2 && status.problems === undefined)
    await bed.sql('insert into t values (3, 3)')
    const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
    expect(controls(events)).toEqual(['join', 'gap'])
    expect(events[2]?.control).toMatchObject({
      code: 'SlotLost',
      message: expect.stringContaining('invalidated'),
    })
  })

  it('is found when a replica was promoted, although its positions look fine', async () => {
    const primary = await startPrimary({ dir: join(tempDir(), 'primary') })
    const replica = await startReplica(primary, { dir: join(tempDir(), 'replica') })
    own(primary, replica)
    const bed = await open('promoted', { ...table, primary: primary.url })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql('insert into t values (1, 1)')
    await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    await waitForReplica(primary.url, replica.url)
    await primary.stop()
    await query(replica.url, 'select pg_promote()')
    await bed.patch({ source: { postgres: { port: replica.port } } })
    const status = await bed.untilStatus(
      'a new epoch',
      (one) => one.epoch === 2 && one.problems === undefined,
    )
    expect(status.timeline).toBe(2)
    await query(replica.url, 'insert into t values (3, 3)')
    const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
    expect(controls(events)).toEqual(['join', 'gap'])
    expect(events[2]?.control).toMatchObject({
      code: 'SourceChanged',
      message: expect.stringContaining('timeline 2'),
    })
  })

  /** A capture behind an address that leads to a primary; its replica can be promoted while the primary lives on. */
  async function behindAddress(name: string) {
    const primary = await startPrimary({ dir: join(tempDir(), 'primary') })
    const replica = await startReplica(primary, { dir: join(tempDir(), 'replica') })
    const network = await startNetwork('127.0.0.1', primary.port)
    own({ kill9: () => network.close() }, primary, replica)
    const bed = await open(name, {
      ...table,
      primary: primary.url,
      postgres: { port: network.port, heartbeatSeconds: 3600 },
    })
    return {
      bed,
      replica,
      async failOver() {
        await waitForReplica(primary.url, replica.url)
        await query(replica.url, 'select pg_promote()')
        await query(replica.url, `select pg_create_logical_replication_slot('${bed.slot}', 'pgoutput')`)
        network.lead(replica.port)
      },
    }
  }
  const codes = (events: readonly Event[]) =>
    events.map((event) => event.control.code ?? event.control.control ?? event.row.id)

  it('is found when the address leads to a promoted replica between the look at the server and the stream', async () => {
    const { bed, replica, failOver } = await behindAddress('between')
    await captureOneRow(bed)
    try {
      await new Promise<void>((resolve) => {
        configureFailpoints('capture.stream.before=delay(8000)@1', {
          warn: (_: unknown, message?: string) => message === 'Failing on purpose' && resolve(),
        })
        bed.run()
      })
      await failOver()
      await bed.untilStatus('a new epoch', (status) => status.epoch === 2)
      await query(replica.url, 'insert into t values (3, 3)')
    } finally {
      configureFailpoints(undefined, { warn() {} })
    }
    const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
    expect(codes(events)).toEqual(['join', '1', 'SourceChanged', '3'])
  })

  it.each([
    ['when a session is opened anew', true, 15_000],
    ['within half a minute', false, 45_000],
  ])(
    'is found %s although the old primary lives on, and its stream with it',
    async (_, reopens, patience) => {
      const { bed, replica, failOver } = await behindAddress(reopens ? 'reopened' : 'probed')
      bed.run()
      await bed.untilJoined('t')
      await bed.sql('insert into t values (1, 1)')
      await bed.untilEvents('t', 'the row', (all) => all.length === 2)
      await failOver()
      const since = performance.now()
      if (reopens) {
        await bed.sql(
          `select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = 'millrace-capture' and backend_type = 'client backend'`,
        )
        await bed.patch({ tables: [{ name: 't' }, { name: 'u' }] })
      }
      await bed.untilStatus('a new epoch', (status) => status.epoch === 2)
      expect(performance.now() - since).toBeLessThan(patience)
      await query(replica.url, 'insert into t values (3, 3)')
      const events = await bed.untilEvents('t', 'the row after', (all) => all.at(-1)?.row.id === '3')
      expect(codes(events)).toEqual(['join', '1', 'SourceChanged', '3'])
    },
  )

  it("is found when capture's own topic is gone", async () => {
    const bed = await open('forgot', table)
    await captureOneRow(bed)
    const admin = new Kafka({ brokers: [kafkaBrokers()], logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    await admin.deleteTopics({ topics: [`${bed.prefix}.__capture`] })
    await admin.disconnect()
    bed.run()
    const events = await bed.untilEvents('t', 'gap', (all) => controls(all).includes('gap'))
    expect(events.at(-1)?.header.epoch).toBeGreaterThan(1000)
  })
})

it('topics of a Pipeline that was deleted and made again say that its tables had left, and no gap', async () => {
  const bed = await open('again', table)
  const first = bed.run()
  await bed.untilJoined('t')
  await bed.sql('insert into t values (1, 1)')
  await bed.untilEvents('t', 'the row', (all) => all.at(-1)?.row.id === '1')
  await first.stop()
  await bed.renew()
  await bed.sql('drop table t; create table t (id int primary key, n int); insert into t values (2, 2)')
  bed.run()
  await bed.untilJoined('t')
  await bed.sql('insert into t values (3, 3)')
  const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '3')
  expect(events.map((event) => (event.op === 'control' ? event.control.control : event.row.id))).toEqual([
    'join',
    '1',
    'leave',
    'join',
    '3',
  ])
  expect(events.map((event) => event.position[0])).toEqual([1, 1, 2, 2, 2])
})
