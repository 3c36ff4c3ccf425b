import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { startPrimary } from '../../hack/services/postgres.ts'
import { parseLSN } from '../../workers/source/lsn.ts'
import { table, useCaptureBeds } from './capture-beds.ts'
import type { CaptureBed } from './capture-fixture.ts'
import { comparePlaces, controls, type Event, replay, withoutRepeats } from './queue-events.ts'
import { tempDir, withClient } from './services.ts'

const { open, own, ownKafka } = useCaptureBeds()

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
    own(primary)
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
    own(primary)
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
    own(primary)
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
    own(primary)
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
