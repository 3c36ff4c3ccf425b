import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { type KafkaHandle, startKafka } from '../../hack/services/kafka.ts'
import { query, startPrimary, startReplica } from '../../hack/services/postgres.ts'
import { configureFailpoints } from '../../lib/failpoints.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { stateRecord } from '../../workers/capture/record.ts'
import { captureTopic } from '../../workers/queue/topics.ts'
import { parseLSN } from '../../workers/source/lsn.ts'
import { startNetwork } from '../cluster/network.ts'
import { type CaptureBed, type CaptureOptions, openCaptureBed } from './capture-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { comparePlaces, type Event, replay, withoutRepeats } from './queue-events.ts'
import { kafkaBrokers, sourceUrl, tempDir, waitForReplica, withClient } from './services.ts'

let transport: Transport
const beds: CaptureBed[] = []
const servers: { kill9(): Promise<void> }[] = []

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})
afterEach(async () => {
  for (const bed of beds.splice(0)) await bed.close()
  for (const server of servers.splice(0)) await server.kill9()
})
afterAll(() => transport?.close())

async function open(name: string, options: CaptureOptions): Promise<CaptureBed> {
  const bed = await openCaptureBed(transport, name, options)
  beds.push(bed)
  return bed
}

async function ownKafka(): Promise<KafkaHandle> {
  const broker = await startKafka({ dir: join(tempDir(), 'kafka') })
  servers.push(broker)
  return broker
}

const table = { source: 'create table t (id int primary key, n int)', tables: [{ name: 't' }] }
const controls = (events: readonly Event[]) =>
  events.flatMap((event) => (event.op === 'control' ? [event.control.control] : []))

/** Rows of the source that the queue does not end in, or the other way round. */
async function difference(bed: CaptureBed, events: readonly Event[]): Promise<unknown[]> {
  const rows = replay(events)
  const wanted = await bed.sql<{ id: string; n: string }>('select id::text, n::text from t')
  const found = [...rows.values()].map((row) => `${row.id}/${row.n}`)
  const expected = new Set(wanted.map((row) => `${row.id}/${row.n}`))
  return [...found.filter((row) => !expected.has(row)), expected.size - found.length].filter(
    (one) => one !== 0,
  )
}

/** Leaves a table whose first row is captured, and a capture that has been stopped. */
async function captureOneRow(bed: CaptureBed): Promise<void> {
  const capture = bed.run()
  await bed.untilJoined('t')
  await bed.sql('insert into t values (1, 1)')
  await bed.untilEvents('t', 'the row', (all) => all.length === 2)
  await capture.stop()
}

/** What came again is the same as what came first. */
function assertRepeats(events: readonly Event[]): number {
  const seen = new Map<string, Event>()
  let repeats = 0
  for (const event of events) {
    const place = event.position.join('/')
    const first = seen.get(place)
    if (first) {
      repeats += 1
      expect({ ...event, header: 0 }).toEqual({ ...first, header: 0 })
    } else seen.set(place, event)
  }
  return repeats
}

describe('a capture that is killed', () => {
  it('in the middle of a large transaction loses nothing, and repeats only what it said before', async () => {
    const bed = await open('crash', table)
    const first = bed.spawn()
    await bed.untilJoined('t')
    const total = 300_000
    const writing = bed.sql(`insert into t select g, g from generate_series(1, ${total}) g`)
    await until(
      async () => ((await bed.queue.offsets(bed.topic('t'), AbortSignal.timeout(5000)))?.end ?? 0n) > 20n,
      {
        what: 'a part of the transaction in the queue',
        timeoutMs: 60_000,
      },
    )
    first.child.kill('SIGKILL')
    await first.exit
    await writing
    const cut = await bed.events('t')
    expect(cut.length).toBeGreaterThan(1000)
    expect(cut.length).toBeLessThan(total)
    const second = bed.spawn()
    await until(async () => /"msg":"Streaming"/.test(second.output()), {
      what: 'streaming',
      timeoutMs: 30_000,
    })
    await bed.sql(`update t set n = -1 where id <= 1000`)
    await bed.sql(`insert into t values (0, 0)`)
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '0')
    expect(assertRepeats(events)).toBeGreaterThan(1000)
    expect(await difference(bed, events)).toEqual([])
    expect(controls(events)).toEqual(['join'])
  })

  it('again and again under load confirms nothing that is not recorded', async () => {
    const bed = await open('kills', table)
    let writing = true
    let id = 0
    const writer = withClient(bed.source.url, async (client) => {
      while (writing) {
        id += 1
        await client.query('insert into t values ($1, 0)', [id])
        await client.query('update t set n = n + 1 where id % 97 = $1', [id % 97])
      }
    })
    // One place after the other, so that a record that was written too late would be missed by none of the two reads.
    let checks = 0
    const checking = (async () => {
      while (writing) {
        const confirmed = await bed.slotLSN()
        const states = (await bed.record()).filter((record) => record.kind === 'state')
        const recorded = states.map((state) => parseLSN(String(state.lsn)))
        if (confirmed === 0n || recorded.length === 0) continue
        expect(recorded.some((lsn) => lsn >= confirmed)).toBe(true)
        checks += 1
      }
    })()
    for (let round = 0; round < 4; round += 1) {
      const capture = bed.spawn()
      await until(async () => /"msg":"Streaming"/.test(capture.output()), {
        what: 'streaming',
        timeoutMs: 60_000,
      })
      if (round === 0) await bed.untilJoined('t')
      await new Promise((resolve) => setTimeout(resolve, 700 + 400 * Math.random()))
      capture.child.kill('SIGKILL')
      await capture.exit
    }
    writing = false
    await Promise.all([writer, checking])
    expect(checks).toBeGreaterThan(5)
    const last = bed.run()
    await bed.sql('insert into t values (0, 0)')
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '0')
    const joined = events.findIndex((event) => event.control.control === 'join')
    assertRepeats(events)
    const rows = replay(events.slice(joined))
    const wanted = await bed.sql<{ id: string; n: string }>('select id::text, n::text from t')
    // Rows from before the join may be missing; what is there must be right.
    for (const row of wanted) {
      const found = rows.get(JSON.stringify([row.id]))
      if (found) expect(found.n).toBe(row.n)
    }
    const firstId = Number(events.find((event) => event.op === 'i')?.row.id)
    expect(wanted.filter((row) => Number(row.id) > firstId && !rows.has(JSON.stringify([row.id])))).toEqual(
      [],
    )
    expect(controls(events)).toEqual(['join'])
    await last.stop()
  })

  it('in order has nothing to repeat', async () => {
    const bed = await open('stop', table)
    const first = bed.run()
    await bed.untilJoined('t')
    await bed.sql('insert into t select g, g from generate_series(1, 5000) g')
    await bed.untilEvents('t', 'some rows', (all) => all.length > 10)
    await first.stop()
    const [slot] = await bed.sql<{ active: boolean }>(
      `select active from pg_replication_slots where slot_name = '${bed.slot}'`,
    )
    expect(slot?.active).toBe(false)
    bed.run()
    await bed.sql('insert into t values (0, 0)')
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '0')
    expect(
      events.every(
        (event, index) =>
          index === 0 || comparePlaces(event.position, events[index - 1]?.position ?? [0, 0n, 0]) > 0,
      ),
    ).toBe(true)
    expect(await difference(bed, events)).toEqual([])
  })
})

describe('two captures', () => {
  it('never read at the same time: the second waits, says for whom, and goes on without a gap', async () => {
    const bed = await open('two', table)
    const first = bed.run()
    await bed.untilJoined('t')
    await bed.sql('insert into t values (1, 1)')
    bed.run()
    const status = await bed.untilStatus('in use', (one) => one.problems?.[0]?.code === 'SlotInUse')
    expect(status.problems?.[0]).toMatchObject({
      component: 'Slot',
      message: expect.stringMatching(/pid \d+/),
    })
    await first.stop()
    await bed.sql('insert into t values (2, 2)')
    const events = await bed.untilEvents('t', 'both rows', (all) => all.at(-1)?.row.id === '2')
    expect(controls(events)).toEqual(['join'])
    await bed.untilStatus('well', (one) => one.problems === undefined && one.epoch === 1)
  })
})

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
    servers.push(primary)
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
    servers.push(primary, replica)
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
    servers.push({ kill9: () => network.close() }, primary, replica)
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
      await query(replica.url, 'insert into t values (3, 3)')
      await bed.untilStatus('a new epoch', (status) => status.epoch === 2)
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

describe('a queue that does not answer', () => {
  it('holds the source back without losing it, and memory stays bounded', async () => {
    const broker = await ownKafka()
    const bed = await open('queue', { ...table, brokers: broker.bootstrap })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql('insert into t values (1, 1)')
    await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    await until(async () => (await bed.status()).confirmedLSN !== undefined, {
      what: 'confirmed',
      timeoutMs: 30_000,
    })
    await broker.kill9()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const before = await bed.slotLSN()
    await bed.sql('insert into t select g, g from generate_series(2, 200000) g')
    await new Promise((resolve) => setTimeout(resolve, 4000))
    expect(await bed.slotLSN()).toBe(before)
    await broker.start()
    await bed.sql('insert into t values (0, 0)')
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '0')
    expect(await difference(bed, events)).toEqual([])
    assertRepeats(events)
    expect(controls(withoutRepeats(events))).toEqual(['join'])
  })
})

describe('a source', () => {
  it('that restarts, immediately or in order, is captured on without a gap', async () => {
    const primary = await startPrimary({ dir: join(tempDir(), 'primary') })
    servers.push(primary)
    const bed = await open('restart', { ...table, primary: primary.url })
    bed.run()
    await bed.untilJoined('t')
    for (const [round, mode] of (['fast', 'immediate'] as const).entries()) {
      await bed.sql(
        `insert into t select g, g from generate_series(${round * 1000}, ${round * 1000 + 900}) g`,
      )
      const started = performance.now()
      await primary.stop(mode)
      // A source that is shut down waits for capture to confirm everything; after 30 s it would be killed.
      expect(performance.now() - started).toBeLessThan(25_000)
      await primary.start()
    }
    await until(async () => bed.sql('insert into t values (-1, 0)').then(() => true), {
      what: 'the source',
      timeoutMs: 20_000,
    })
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '-1')
    expect(await difference(bed, events)).toEqual([])
    expect(controls(events)).toEqual(['join'])
  })

  it('that is shut down while the queue is away is let go', async () => {
    const primary = await startPrimary({ dir: join(tempDir(), 'primary') })
    servers.push(primary)
    const broker = await ownKafka()
    const bed = await open('shutdown', { ...table, primary: primary.url, brokers: broker.bootstrap })
    bed.run()
    await bed.untilJoined('t')
    await broker.kill9()
    await bed.sql('insert into t select g, g from generate_series(1, 900) g')
    const started = performance.now()
    await primary.stop('fast')
    // Heartbeats find out, and what is left of the farewell is not waited for longer than that.
    expect(performance.now() - started).toBeLessThan(25_000)
    await Promise.all([primary.start(), broker.start()])
    await until(async () => bed.sql('insert into t values (-1, 0)').then(() => true), {
      what: 'the source',
      timeoutMs: 20_000,
    })
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '-1')
    expect(await difference(bed, events)).toEqual([])
  })

  it('with wal_level replica is refused with the cure, and captured once that is cured', async () => {
    const primary = await startPrimary({
      dir: join(tempDir(), 'primary'),
      settings: { wal_level: 'replica' },
    })
    servers.push(primary)
    const bed = await open('level', { ...table, primary: primary.url })
    bed.run()
    const status = await bed.untilStatus('a problem', (one) => one.problems !== undefined)
    expect(status.problems?.[0]).toMatchObject({
      component: 'Source',
      code: 'WrongWALLevel',
      message: expect.stringContaining("ALTER SYSTEM SET wal_level = 'logical'"),
    })
    await bed.sql(`alter system set wal_level = 'logical'`)
    await primary.restart()
    await bed.untilJoined('t')
    await bed.untilStatus('well', (one) => one.problems === undefined)
  })

  it('that refuses the password is said so, and captured once the Secret is right', async () => {
    const bed = await open('password', table)
    writeFileSync(join(bed.secretsDir, 'source', 'password'), 'wrong')
    bed.run()
    const status = await bed.untilStatus('a problem', (one) => one.problems !== undefined)
    expect(status.problems?.[0]).toMatchObject({
      code: 'AuthenticationFailed',
      message: expect.stringContaining('spec.source.postgres.credentialsSecretRef'),
    })
    expect(JSON.stringify(status)).not.toContain('wrong')
    writeFileSync(join(bed.secretsDir, 'source', 'password'), 'postgres')
    await bed.untilJoined('t')
  })

  it('in which a transaction holds up the new slot is said so', async () => {
    const bed = await open('held', table)
    await withClient(bed.source.url, async (client) => {
      await client.query('begin; insert into t values (1, 1)')
      bed.run()
      const status = await bed.untilStatus('waiting', (one) =>
        /waits for transactions/.test(one.problems?.[0]?.message ?? ''),
      )
      const [row] = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows
      expect(status.problems?.[0]?.message).toContain(`pid ${row?.pid}`)
      await client.query('commit')
    })
    await bed.untilJoined('t')
    await bed.untilStatus('well', (one) => one.problems === undefined)
  })

  it('in which a writer holds up the join is said so, and other writers are not stopped for long', async () => {
    const bed = await open('lock', { ...table, tables: [] })
    bed.run()
    await bed.untilStatus('capturing', (status) => status.slot !== undefined)
    await withClient(bed.source.url, async (client) => {
      await client.query('begin; insert into t values (1, 1)')
      await bed.patch({ tables: [{ name: 't' }] })
      const status = await bed.untilStatus('waiting', (one) => one.problems?.[0]?.code === 'LockTimeout')
      const [row] = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows
      expect(status.problems?.[0]?.message).toContain(`pid ${row?.pid}`)
      const started = performance.now()
      for (let id = 10; id < 40; id += 1) await bed.sql(`insert into t values (${id}, 0)`)
      expect(performance.now() - started).toBeLessThan(20_000)
      await client.query('commit')
    })
    await bed.untilJoined('t')
  })

  it('in which only others write frees its log, and a silent one stays silent', async () => {
    const primary = await startPrimary({ dir: join(tempDir(), 'primary'), settings: { autovacuum: 'off' } })
    servers.push(primary)
    const bed = await open('silent', { ...table, primary: primary.url })
    await bed.sql('create database other')
    bed.run()
    await bed.untilJoined('t')
    const url = new URL(primary.url)
    url.pathname = '/other'
    await withClient(url.href, async (client) => {
      await client.query(
        'create table x as select g, repeat(md5(g::text), 20) from generate_series(1, 30000) g',
      )
      const [end] = (
        await client.query<{ lsn: string }>(`select (pg_current_wal_lsn() - '0/0')::text as lsn`)
      ).rows
      await until(async () => (await bed.slotLSN()) >= BigInt(end?.lsn ?? 0), {
        what: 'confirmed',
        timeoutMs: 40_000,
      })
    })
    const end = async () => {
      const [row] = await bed.sql<{ lsn: string }>(
        `select (pg_current_wal_insert_lsn() - '0/0')::text as lsn`,
      )
      return BigInt(row?.lsn ?? 0)
    }
    let last = await end()
    await until(
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 5_000))
        const now = await end()
        const isSilent = now === last
        last = now
        return isSilent
      },
      { what: 'five seconds in which nothing is written', timeoutMs: 90_000 },
    )
  })
})
