import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import type { Destination } from '../../workers/destination/destination.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import {
  batch,
  chunkOf,
  claim,
  define,
  hard,
  hold,
  nameOf,
  never,
  openOn,
  plan,
  prepare,
} from './destination-postgres-fixture.ts'
import { createDatabase, withClient } from './services.ts'

let url: string
let one: Destination
let two: Destination

beforeAll(async () => {
  url = (await createDatabase('destination_races', 'destination')).url
  one = openOn(url)
  two = openOn(url)
  await one.ledger.open(never)
  // Lets a test stop a transaction in the middle of its COMMIT.
  await query(
    url,
    `create function wait_at_commit() returns trigger language plpgsql as
     $$ begin perform pg_advisory_xact_lock(4711); return null; end $$`,
  )
})

afterAll(() => Promise.all([one.close(), two.close()]))

const simple = (name: string) => define(name, ['id integer', 'v text'], ['id'])
const rowsOf = (definition: TableDefinition) =>
  query(url, `select id::text, v from "${definition.name}" order by id`)
const cancel = (uid: string) =>
  two.ledger.closeBackfill(
    {
      uid,
      name: uid,
      table: { schema: 'public', name: uid },
      action: 'Truncate',
      code: 'Cancelled',
      message: '',
    },
    never,
  )

/** Waits until that many sessions of Millrace wait for a lock. */
async function waitingForLocks(count: number) {
  await until(
    async () => {
      const rows = await query<{ n: number }>(
        url,
        `select count(*)::int as n from pg_stat_activity
         where datname = current_database() and application_name like 'millrace-test%' and wait_event_type = 'Lock'`,
      )
      return rows[0]?.n === count
    },
    { what: `${count} sessions waiting for a lock`, timeoutMs: 30_000 },
  )
}

/** Every COMMIT that wrote to the table waits for as long as `work` takes. */
async function whileCommitsWait<T>(definition: TableDefinition, work: () => Promise<T>): Promise<T> {
  await query(
    url,
    `create constraint trigger wait after insert on "${definition.name}" deferrable initially deferred
     for each row execute function wait_at_commit()`,
  )
  return withClient(url, async (client) => {
    await client.query('select pg_advisory_lock(4711)')
    return work()
  })
}

describe('a chunk', () => {
  it('that comes to its end after a cancel leaves nothing', async () => {
    const definition = simple('c1')
    const { fence } = await prepare(one, definition, { uid: 'c1', action: 'Truncate' })
    const request = chunkOf(fence, definition, ['1\ta'], {
      beforeCommit: async () => {
        expect((await cancel('c1')).state).toBe('closed')
      },
    })
    await expect(one.writeChunk(request, never)).rejects.toMatchObject({ code: 'Fenced' })
    expect(await rowsOf(definition)).toEqual([])
    expect(await one.ledger.readChunks('c1', 1, never)).toMatchObject([{ state: 'planned' }])
  })

  it('that has begun to commit makes a cancel wait', async () => {
    const definition = simple('c2')
    const { fence } = await prepare(one, definition, { uid: 'c2', action: 'Truncate' })
    let ended = 0
    const pending = await whileCommitsWait(definition, async () => {
      const chunk = one.writeChunk(chunkOf(fence, definition, ['1\ta']), never).finally(() => ended++)
      await waitingForLocks(1)
      const end = cancel('c2').finally(() => ended++)
      await waitingForLocks(2)
      expect(ended).toBe(0)
      return [chunk, end] as const
    })
    expect(await Promise.all(pending)).toMatchObject([{ written: true }, { state: 'closed', rows: 1n }])
    expect(await rowsOf(definition)).toEqual([{ id: '1', v: 'a' }])
  })

  it('does not wait for another', async () => {
    const definition = simple('c3')
    const { fence } = await prepare(one, definition, { uid: 'c3', action: 'Truncate', chunks: 2 })
    const inner = chunkOf(fence, definition, ['20\tb'], { chunk: 1 })
    const outer = chunkOf(fence, definition, ['1\ta'], {
      beforeCommit: async () => {
        expect(await two.writeChunk(inner, never)).toMatchObject({ written: true })
      },
    })
    expect(await one.writeChunk(outer, never)).toMatchObject({ written: true })
    expect(await one.ledger.readBackfill('c3', never)).toMatchObject({ rows: 2n, bytes: 9n })
  })

  it('of an attempt that has been replaced leaves nothing', async () => {
    const definition = simple('c4')
    const { fence } = await prepare(one, definition, { uid: 'c4', action: 'Truncate' })
    const request = chunkOf(fence, definition, ['1\ta'], {
      beforeCommit: async () => {
        await two.ledger.beginAttempt('c4', never)
      },
    })
    await expect(one.writeChunk(request, never)).rejects.toMatchObject({ code: 'Fenced', retryable: false })
    await expect(one.writeChunk(chunkOf(fence, definition, ['1\ta']), never)).rejects.toMatchObject({
      code: 'Fenced',
    })
    expect(await rowsOf(definition)).toEqual([])
  })

  it('of a plan that has been replaced leaves nothing', async () => {
    const definition = simple('c5')
    const { fence } = await prepare(one, definition, { uid: 'c5', action: 'Truncate' })
    const request = chunkOf(fence, definition, ['1\ta'], {
      beforeCommit: async () => {
        await two.ledger.recordPlan(fence, plan(2, 1, { append: false }), never)
      },
    })
    await expect(one.writeChunk(request, never)).rejects.toMatchObject({ code: 'LedgerConflict' })
    await expect(one.writeChunk(chunkOf(fence, definition, ['1\ta']), never)).rejects.toMatchObject({
      code: 'LedgerConflict',
    })
    expect(await rowsOf(definition)).toEqual([])
  })

  it('that was split meanwhile leaves nothing', async () => {
    const definition = simple('c6')
    const { fence } = await prepare(one, definition, { uid: 'c6', action: 'Truncate' })
    const request = chunkOf(fence, definition, ['1\ta'], {
      beforeCommit: async () => {
        await two.ledger.splitChunk(fence, 1, 0, [{ kind: 'all' }], never)
      },
    })
    await expect(one.writeChunk(request, never)).rejects.toMatchObject({ code: 'LedgerConflict' })
    await expect(one.writeChunk(chunkOf(fence, definition, ['1\ta']), never)).rejects.toMatchObject({
      code: 'LedgerConflict',
      message: expect.stringContaining('split'),
    })
    expect(await rowsOf(definition)).toEqual([])
  })

  it('written twice at once is there once', async () => {
    const definition = define('c7', ['v text'], [])
    const { fence } = await prepare(one, definition, { uid: 'c7', action: 'Truncate' })
    const inner = chunkOf(fence, definition, ['a'])
    const outer = chunkOf(fence, definition, ['a'], {
      beforeCommit: async () => {
        expect(await two.writeChunk(inner, never)).toMatchObject({ written: true })
      },
    })
    await expect(one.writeChunk(outer, never)).rejects.toMatchObject({ code: 'LedgerConflict' })
    expect(await one.writeChunk(outer, never)).toMatchObject({ written: false })
    expect(await query(url, 'select v from c7')).toEqual([{ v: 'a' }])
  })

  it.each([
    ['c9', 'primary key (id)'],
    ['c10', 'primary key (id, region)'],
  ])('of blocks waits for another, which may have the same row: %s, %s', async (uid, key) => {
    const definition = define(uid, ['id integer', 'region text'], ['id'])
    await query(
      url,
      `create table ${uid} (id integer, region text, ${key}); insert into ${uid} values (1, 'old')`,
    )
    const { fence } = await prepare(one, definition, {
      uid,
      chunks: 2,
      plan: { scan: 'Ctid', append: false },
    })
    const blocks = (chunk: number) => ({
      chunk,
      range: { kind: 'ctid', leaf: nameOf(definition), fromBlock: chunk, filenode: '1' } as const,
    })
    let second: ReturnType<Destination['writeChunk']> | undefined
    const first = chunkOf(fence, definition, ['2\tbefore'], {
      ...blocks(0),
      beforeCommit: async () => {
        second = two.writeChunk(chunkOf(fence, definition, ['2\tmoved'], blocks(1)), never)
        await Promise.race([waitingForLocks(1), second])
      },
    })
    expect(await one.writeChunk(first, never)).toMatchObject({ written: true })
    expect(await second).toMatchObject({ written: true })
    expect(await query(url, `select * from ${uid} order by id`)).toEqual([
      { id: 1, region: 'old' },
      { id: 2, region: 'moved' },
    ])
  })

  it('needs the action and a plan', async () => {
    const definition = simple('c8')
    await one.ledger.recordHeld(await claim(one, definition), hold('c8'), never)
    const { attempt } = await one.ledger.beginAttempt('c8', never)
    const fence = { uid: 'c8', attempt }
    await one.ledger.recordPlan(fence, plan(1, 1), never)
    await expect(one.writeChunk(chunkOf(fence, definition, []), never)).rejects.toMatchObject({
      message: expect.stringContaining('action has not run'),
    })
    await expect(one.writeChunk(chunkOf(fence, definition, [], { chunk: 9 }), never)).rejects.toMatchObject({
      message: expect.stringContaining('never planned'),
    })
    const stranger = chunkOf({ uid: 'nobody', attempt: 1 }, definition, [])
    await expect(one.writeChunk(stranger, never)).rejects.toMatchObject({ code: 'Fenced' })
  })
})

describe('what is read at the start', () => {
  // A row that is free already beside a backfill that is still held: what its copy has seen would be applied again (rule R14).
  it.each(['tables', 'backfills'])('is of one moment, whoever is waited for: %s', async (locked) => {
    const uid = `s-${locked}`
    const definition = simple(uid)
    await one.ledger.recordHeld(await claim(one, definition), hold(uid), never)
    const reading = await withClient(url, async (client) => {
      await client.query('begin')
      await client.query(`lock table millrace.${locked}`)
      const pending = one.ledger.readAll(never)
      await waitingForLocks(1)
      await client.query(`update millrace.backfills set state = 'copied' where uid = $1`, [uid])
      await client.query(`update millrace.tables set held_by = '' where source_table = $1`, [uid])
      await client.query('commit')
      return { pending }
    })
    const { tables, backfills } = await reading.pending
    const row = tables.find(({ table }) => table.name === uid)
    expect([row?.heldBy, backfills.find((each) => each.uid === uid)?.state]).toEqual([uid, 'held'])
  })
})

describe('a destination action', () => {
  const request = async (uid: string, definition: TableDefinition, attempt: number) => {
    const backfill = await one.ledger.readBackfill(uid, never)
    if (!backfill) throw new Error('no backfill')
    return { fence: { uid, attempt }, backfill, target: nameOf(definition), definition, options: hard }
  }
  async function heldTable(name: string) {
    const definition = simple(name)
    await one.ensureTable(nameOf(definition), definition, hard, never)
    await query(url, `insert into "${name}" values (1, 'old')`)
    await one.ledger.recordHeld(await claim(one, definition), hold(name, 'Truncate'), never)
    await one.ledger.beginAttempt(name, never)
    return definition
  }

  it('after a cancel is refused', async () => {
    const definition = await heldTable('a1')
    const action = await request('a1', definition, 1)
    await cancel('a1')
    await expect(one.runAction(action, never)).rejects.toMatchObject({ code: 'Fenced' })
    expect(await rowsOf(definition)).toEqual([{ id: '1', v: 'old' }])
  })

  it('that has begun makes a cancel wait', async () => {
    const definition = await heldTable('a2')
    const action = await request('a2', definition, 1)
    let ended = 0
    const pending = await withClient(url, async (reader) => {
      await reader.query('begin')
      await reader.query('select * from a2')
      const acting = one.runAction(action, never).finally(() => ended++)
      await waitingForLocks(1)
      const end = cancel('a2').finally(() => ended++)
      await waitingForLocks(2)
      expect(ended).toBe(0)
      return [acting, end] as const
    })
    const acted = { state: 'closed', actionDone: true }
    expect(await Promise.all(pending)).toMatchObject([{ backfill: { actionDone: true } }, acted])
    expect(await rowsOf(definition)).toEqual([])
  })

  it('that has begun makes another attempt wait, which then finds it done', async () => {
    const definition = await heldTable('a5')
    const action = await request('a5', definition, 1)
    const pending = await withClient(url, async (reader) => {
      await reader.query('begin')
      await reader.query('select * from a5')
      const acting = one.runAction(action, never)
      await waitingForLocks(1)
      const next = two.ledger.beginAttempt('a5', never)
      await waitingForLocks(2)
      return [acting, next] as const
    })
    expect(await Promise.all(pending)).toMatchObject([
      { backfill: { actionDone: true, attempt: 1 } },
      { actionDone: true, attempt: 2 },
    ])
  })

  it('of a replaced attempt is refused, and the second call of an attempt does nothing', async () => {
    const definition = await heldTable('a3')
    await two.ledger.beginAttempt('a3', never)
    await expect(one.runAction(await request('a3', definition, 1), never)).rejects.toMatchObject({
      code: 'Fenced',
    })
    expect(await rowsOf(definition)).toEqual([{ id: '1', v: 'old' }])
    const action = await request('a3', definition, 2)
    const first = await one.runAction(action, never)
    expect(first).toMatchObject({ backfill: { actionDone: true, append: true }, warnings: [] })
    await query(url, `insert into a3 values (2, 'a chunk')`)
    expect(await two.runAction(action, never)).toEqual(first)
    expect(await rowsOf(definition)).toEqual([{ id: '2', v: 'a chunk' }])
  })

  it('takes a table for empty only when nobody is just now writing to it', async () => {
    const definition = simple('a6')
    await one.ensureTable(nameOf(definition), definition, hard, never)
    await one.ledger.recordHeld(await claim(one, definition), hold('a6', 'DoNothing'), never)
    await one.ledger.beginAttempt('a6', never)
    const action = await request('a6', definition, 1)
    const acting = await withClient(url, async (writer) => {
      await writer.query('begin')
      await writer.query(`insert into a6 values (1, 'on its way')`)
      const pending = one.runAction(action, never)
      await waitingForLocks(1)
      await writer.query('commit')
      return { pending }
    })
    expect(await acting.pending).toMatchObject({ backfill: { actionDone: true, append: false } })
  })

  it('is not done when it fails', async () => {
    const definition = await heldTable('a4')
    await query(url, 'create table a4_child (id integer references a4 (id))')
    const action = await request('a4', definition, 1)
    await expect(one.runAction(action, never)).rejects.toMatchObject({
      code: 'DestinationConflict',
      message: expect.stringContaining('foreign key'),
    })
    expect(await one.ledger.readBackfill('a4', never)).toMatchObject({ actionDone: false })
    expect(await rowsOf(definition)).toEqual([{ id: '1', v: 'old' }])
  })
})

describe('flushes of two pods', () => {
  it('with the same version: one is applied, the other touches nothing', async () => {
    const definition = simple('f1')
    await one.ensureTable(nameOf(definition), definition, hard, never)
    let row = await claim(one, definition)
    for (let round = 1; round <= 10; round++) {
      const results = await Promise.allSettled(
        [one, two].map((pod, index) =>
          pod.flush(batch(row, definition, { upserts: [[String(round), `pod ${index}`]] }), never),
        ),
      )
      const winner = results.findIndex(({ status }) => status === 'fulfilled')
      const loser = results[1 - winner]
      expect(loser?.status === 'rejected' && loser.reason).toMatchObject({ code: 'LedgerConflict' })
      const won = results[winner]
      if (won?.status !== 'fulfilled' || won.value.kind !== 'applied') throw new Error('nobody won')
      row = won.value.ledger
      expect(await rowsOf(definition)).toContainEqual({ id: String(round), v: `pod ${winner}` })
    }
    expect(row).toEqual(await one.ledger.readTable(nameOf(definition), never))
    expect(await rowsOf(definition)).toHaveLength(10)
  })

  it('of which one comes to the hold: the other is refused', async () => {
    const definition = simple('f2')
    await one.ensureTable(nameOf(definition), definition, hard, never)
    const row = await claim(one, definition)
    const [, flushed] = await Promise.allSettled([
      one.ledger.recordHeld(row, hold('f2'), never),
      two.flush(batch(row, definition, { upserts: [['1', 'a']] }), never),
    ])
    const held = (await one.ledger.readTable(nameOf(definition), never))?.heldBy === 'f2'
    expect(flushed.status).toBe(held ? 'rejected' : 'fulfilled')
    expect(await rowsOf(definition)).toHaveLength(held ? 0 : 1)
  })
})

describe('a lost connection', () => {
  const kill = () =>
    query(
      url,
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name like 'millrace-test%' and state <> 'idle'`,
    )

  it('in the middle of a chunk leaves nothing, and the chunk can be written again', async () => {
    const definition = simple('l1')
    const { fence } = await prepare(one, definition, { uid: 'l1', action: 'Truncate' })
    const request = chunkOf(fence, definition, [], {
      async *read(signal) {
        yield Buffer.from('1\ta\n')
        await kill()
        while (!signal.aborted) {
          yield Buffer.from('2\tb\n')
          await new Promise((resolve) => setImmediate(resolve))
        }
      },
    })
    await expect(one.writeChunk(request, never)).rejects.toMatchObject({
      code: 'DestinationUnavailable',
      retryable: true,
    })
    expect(await rowsOf(definition)).toEqual([])
    expect(await one.writeChunk(chunkOf(fence, definition, ['1\ta']), never)).toMatchObject({ rows: 1n })
  })

  it('while the source is silent is noticed all the same', async () => {
    const definition = simple('l2')
    const { fence } = await prepare(one, definition, { uid: 'l2', action: 'Truncate' })
    const request = chunkOf(fence, definition, [], {
      async *read() {
        yield Buffer.from('1\ta\n')
        await kill()
        await new Promise(() => {})
      },
    })
    await expect(one.writeChunk(request, never)).rejects.toMatchObject({ code: 'DestinationUnavailable' })
    expect(await rowsOf(definition)).toEqual([])
  })

  it('of the source is told as it was, and leaves nothing', async () => {
    const definition = simple('l3')
    const { fence } = await prepare(one, definition, { uid: 'l3', action: 'Truncate' })
    const lost = new Error('conflict with recovery')
    const request = chunkOf(fence, definition, [], {
      async *read() {
        yield Buffer.from('1\ta\n2\tb')
        throw lost
      },
    })
    await expect(one.writeChunk(request, never)).rejects.toBe(lost)
    expect(await rowsOf(definition)).toEqual([])
    await expect(
      one.writeChunk(
        chunkOf(fence, definition, ['1\ta'], {
          beforeCommit: async () => {
            throw lost
          },
        }),
        never,
      ),
    ).rejects.toBe(lost)
    expect(await rowsOf(definition)).toEqual([])
    expect(await one.ledger.readChunks('l3', 1, never)).toMatchObject([{ state: 'planned' }])
  })

  it('is what an abort makes of a chunk', async () => {
    const definition = simple('l4')
    const { fence } = await prepare(one, definition, { uid: 'l4', action: 'Truncate' })
    const stop = new AbortController()
    const reason = new Error('stopping')
    const request = chunkOf(fence, definition, [], {
      async *read(signal) {
        yield Buffer.from('1\ta\n')
        stop.abort(reason)
        expect(signal.aborted).toBe(true)
        await new Promise(() => {})
      },
    })
    await expect(one.writeChunk(request, stop.signal)).rejects.toBe(reason)
    expect(await rowsOf(definition)).toEqual([])
    expect(await one.writeChunk(chunkOf(fence, definition, ['1\ta']), never)).toMatchObject({ rows: 1n })
  })
})

it('lets an abort end a wait for a lock', async () => {
  const definition = simple('w1')
  await one.ensureTable(nameOf(definition), definition, hard, never)
  const row = await claim(one, definition)
  const stop = new AbortController()
  await withClient(url, async (client) => {
    await client.query('begin')
    await client.query(`select * from millrace.tables where source_table = 'w1' for update`)
    const flush = one.flush(batch(row, definition, { upserts: [['1', 'a']] }), stop.signal)
    await waitingForLocks(1)
    stop.abort(new Error('enough'))
    await expect(flush).rejects.toThrow('enough')
  })
  expect(await one.flush(batch(row, definition, { upserts: [['1', 'a']] }), never)).toMatchObject({
    kind: 'applied',
  })
})
