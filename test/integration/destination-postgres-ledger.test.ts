import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { Destination } from '../../workers/destination/destination.ts'
import type { TableClaim } from '../../workers/destination/ledger.ts'
import {
  batch,
  claim,
  define,
  hold,
  nameOf,
  never,
  openOn,
  plan,
  prepare,
} from './destination-postgres-fixture.ts'
import { createDatabase } from './services.ts'

let url: string
/** Two pods of one pipeline, and a pod of another. */
let one: Destination
let two: Destination
let other: Destination

beforeAll(async () => {
  url = (await createDatabase('destination_ledger', 'destination')).url
  one = openOn(url)
  two = openOn(url)
  other = openOn(url, 'pipeline-2')
  await one.ledger.open(never)
})

afterAll(() => Promise.all([one, two, other].map((destination) => destination.close())))

const simple = (name: string) => define(name, ['id integer', 'v text'], ['id'])
const closed = (uid: string, name: string) => ({
  uid,
  name: `backfill-${uid}`,
  table: { schema: 'public', name },
  action: 'Truncate' as const,
  code: 'Cancelled',
  message: 'spec.cancel is true',
})

async function current(name: string) {
  const row = await one.ledger.readTable({ schema: 'public', name }, never)
  if (!row) throw new Error(`no row of ${name}`)
  return row
}

describe('opening', () => {
  it('is done once however many do it at once', async () => {
    const fresh = (await createDatabase('destination_ledger_fresh', 'destination')).url
    const pods = Array.from({ length: 9 }, () => openOn(fresh))
    await Promise.all(pods.map((pod) => pod.ledger.open(never)))
    await Promise.all(pods.map((pod) => pod.close()))
    expect(await query(fresh, 'select version from millrace.schema_version')).toEqual([{ version: 1 }])
  })

  it('refuses what a newer Millrace wrote', async () => {
    await query(url, 'insert into millrace.schema_version values (99)')
    await expect(one.ledger.open(never)).rejects.toMatchObject({
      code: 'DestinationConflict',
      message: expect.stringContaining('newer'),
    })
    await query(url, 'delete from millrace.schema_version where version = 99')
  })

  it('forgets what ended long ago', async () => {
    await query(
      url,
      `insert into millrace.backfills (pipeline, uid, name, source_schema, source_table, state, action, changed_at)
       select 'pipeline-1', 'old-' || state, '', '', '', state, 'Drop', now() - interval '40 days'
       from unnest('{held,closed,drained}'::text[]) state;
       insert into millrace.chunks (pipeline, uid, plan, chunk, range)
       select 'pipeline-1', 'old-' || state, 1, 0, '{}' from unnest('{held,closed,drained}'::text[]) state`,
    )
    await one.ledger.open(never)
    expect(await query(url, `select uid from millrace.backfills where uid like 'old-%'`)).toEqual([
      { uid: 'old-held' },
    ])
    expect(await query(url, `select uid from millrace.chunks where uid like 'old-%'`)).toEqual([
      { uid: 'old-held' },
    ])
    await query(url, `delete from millrace.backfills where uid like 'old-%'`)
  })
})

describe('tables', () => {
  const wanted = (name: string, destination = name): TableClaim => ({
    table: { schema: 'public', name },
    destination: { schema: 'public', name: destination },
    topic: `t.${name}`,
    historyComplete: false,
    unknownHistory: true,
  })

  it('that are given free and claimed anew never have a version again that they had', async () => {
    const row = await one.ledger.claimTable(wanted('again'), never)
    const moved = await one.ledger.updateTable(row, { nextOffset: 5n }, never)
    await one.ledger.releaseTable(moved, never)
    const again = await one.ledger.claimTable(wanted('again'), never)
    expect(again.version).toBeGreaterThan(moved.version)
    // A process that was away meanwhile, and takes the row for the one that it knows.
    await expect(two.ledger.updateTable(row, { nextOffset: 9n }, never)).rejects.toMatchObject({
      code: 'LedgerConflict',
    })
  })

  it('are claimed once and kept as they are', async () => {
    const row = await one.ledger.claimTable(wanted('claimed'), never)
    expect(row).toEqual({
      pipeline: 'pipeline-1',
      table: { schema: 'public', name: 'claimed' },
      destination: { schema: 'public', name: 'claimed' },
      version: expect.any(BigInt),
      topic: 't.claimed',
      incarnation: '',
      nextOffset: 0n,
      position: { epoch: 0, lsn: 0n, sequence: 0 },
      state: 'active',
      stopCode: '',
      stopMessage: '',
      heldBy: '',
      unknownHistory: true,
      needsEmptying: false,
      historyComplete: false,
    })
    const moved = await one.ledger.updateTable(row, { nextOffset: 5n, historyComplete: true }, never)
    expect(await two.ledger.claimTable(wanted('claimed'), never)).toEqual(moved)
    expect(await one.ledger.readTables(never)).toContainEqual(moved)
    expect(await other.ledger.readTables(never)).toEqual([])
    expect(await other.ledger.readTable(row.table, never)).toBeUndefined()
  })

  it('have one owner among pipelines that want them at once', async () => {
    const results = await Promise.allSettled([
      one.ledger.claimTable(wanted('fought', 'prize'), never),
      other.ledger.claimTable(wanted('fought', 'prize'), never),
      two.ledger.claimTable(wanted('rival', 'prize'), never),
    ])
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results) {
      if (result.status === 'fulfilled') continue
      expect(result.reason).toMatchObject({
        code: 'DestinationConflict',
        field: 'spec.tables[].destination',
        message: expect.stringMatching(
          /public\.prize belongs to table public\.\w+ of Pipeline tests\/pipeline-\d/,
        ),
      })
    }
  })

  it('keep their destination', async () => {
    await one.ledger.claimTable(wanted('settled'), never)
    await expect(one.ledger.claimTable(wanted('settled', 'elsewhere'), never)).rejects.toMatchObject({
      code: 'DestinationConflict',
    })
  })

  it('cannot be the ledger itself', async () => {
    const claim = { ...wanted('tables'), destination: { schema: 'millrace', name: 'tables' } }
    await expect(one.ledger.claimTable(claim, never)).rejects.toMatchObject({ code: 'DestinationConflict' })
  })

  it('hold every fact, positions as numbers', async () => {
    const row = await one.ledger.claimTable(wanted('facts'), never)
    const facts = {
      topic: 'x',
      incarnation: 'i',
      nextOffset: 9_223_372_036_854_775_807n,
      position: { epoch: 3, lsn: 0xffff_ffff_ffff_fff0n, sequence: 4_000_000_000 },
      state: 'stopped',
      stopCode: 'TableChanged',
      stopMessage: `it's "so"`,
      heldBy: 'b',
      unknownHistory: false,
      needsEmptying: true,
      historyComplete: true,
    } as const
    expect(await one.ledger.updateTable(row, facts, never)).toEqual({
      ...row,
      ...facts,
      version: row.version + 1n,
    })
    expect(
      await query(
        url,
        `select lsn > '9/0'::pg_lsn as later from millrace.tables where source_table = 'facts'`,
      ),
    ).toEqual([{ later: true }])
  })

  it('are changed by compare-and-set only', async () => {
    const row = await one.ledger.claimTable(wanted('raced'), never)
    const both = await Promise.allSettled([
      one.ledger.updateTable(row, { incarnation: 'one' }, never),
      two.ledger.updateTable(row, { incarnation: 'two' }, never),
    ])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const lost = both.find((result) => result.status === 'rejected')
    expect(lost?.reason).toMatchObject({ code: 'LedgerConflict', retryable: true })
    await expect(one.ledger.releaseTable(row, never)).rejects.toMatchObject({ code: 'LedgerConflict' })
    await one.ledger.releaseTable(await current('raced'), never)
    expect(await one.ledger.readTable(row.table, never)).toBeUndefined()
    expect(await other.ledger.claimTable(wanted('raced'), never)).toMatchObject({ pipeline: 'pipeline-2' })
  })
})

describe('a hold', () => {
  it('is written with the table, and stays at its offset', async () => {
    const row = await claim(one, simple('h1'))
    const held = await one.ledger.recordHeld(row, hold('h1', 'Drop'), never)
    expect(held).toEqual({
      ...row,
      heldBy: 'h1',
      nextOffset: 7n,
      position: { epoch: 1, lsn: 0x30c8000n, sequence: 0 },
      version: row.version + 1n,
    })
    expect(await two.ledger.readBackfill('h1', never)).toEqual({
      uid: 'h1',
      name: 'backfill-h1',
      table: row.table,
      state: 'held',
      action: 'Drop',
      version: 1n,
      attempt: 0,
      holdLSN: 0x30c8020n,
      holdOffset: 7n,
      actionDone: false,
      append: false,
      plan: 0,
      scan: '',
      snapshot: '',
      visibility: '',
      rows: 0n,
      bytes: 0n,
      closeCode: '',
      closeMessage: '',
    })
    expect(await other.ledger.readBackfill('h1', never)).toBeUndefined()
  })

  it('is the same when it is recorded again', async () => {
    const held = await one.ledger.recordHeld(await claim(one, simple('h2')), hold('h2'), never)
    expect(await one.ledger.recordHeld(held, hold('h2'), never)).toEqual(held)
    expect(await current('h2')).toEqual(held)
  })

  it('of a stale pod is refused, and so is a second one', async () => {
    const row = await claim(one, simple('h3'))
    const both = await Promise.allSettled([
      one.ledger.recordHeld(row, hold('h3a'), never),
      two.ledger.recordHeld(row, hold('h3b'), never),
    ])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const { heldBy } = await current('h3')
    const loser = heldBy === 'h3a' ? 'h3b' : 'h3a'
    expect(await one.ledger.readBackfill(loser, never)).toBeUndefined()
    await expect(one.ledger.recordHeld(await current('h3'), hold(loser), never)).rejects.toMatchObject({
      code: 'LedgerConflict',
    })
  })

  it('comes too late for a backfill that was closed', async () => {
    const row = await claim(one, simple('h4'))
    await one.ledger.closeBackfill(closed('h4', 'h4'), never)
    await expect(one.ledger.recordHeld(row, hold('h4'), never)).rejects.toMatchObject({
      code: 'NotHeld',
      message: expect.stringContaining('closed'),
    })
    expect(await current('h4')).toEqual(row)
  })

  it('of a stopped table makes it go on, as one that needs emptying', async () => {
    const stopped = await one.ledger.updateTable(
      await claim(one, simple('h5')),
      { state: 'stopped', stopCode: 'TableChanged', stopMessage: 'm', historyComplete: true },
      never,
    )
    await expect(one.ledger.recordHeld(stopped, hold('h5', 'DoNothing'), never)).rejects.toMatchObject({
      code: 'ActionRefused',
      field: 'spec.destinationTable',
    })
    expect(await one.ledger.recordHeld(stopped, hold('h5', 'Truncate'), never)).toMatchObject({
      state: 'active',
      stopCode: '',
      stopMessage: '',
      heldBy: 'h5',
      needsEmptying: true,
      unknownHistory: true,
      historyComplete: false,
    })
  })

  it('lets nothing be applied (invariant I3), whatever version the batch has', async () => {
    const definition = simple('h6')
    const row = await claim(one, definition)
    await one.ensureTable(nameOf(definition), definition, { deletes: 'Hard' }, never)
    const held = await one.ledger.recordHeld(row, hold('h6'), never)
    for (const ledger of [row, held]) {
      const flush = one.flush(batch(ledger, definition, { upserts: [['1', 'a']] }), never)
      await expect(flush).rejects.toMatchObject({ code: 'LedgerConflict' })
    }
    expect(await query(url, 'select * from h6')).toEqual([])
  })
})

describe('the end of a hold', () => {
  it('closes a backfill that nobody knows yet', async () => {
    expect(await one.ledger.closeBackfill(closed('e1', 'e1'), never)).toMatchObject({
      uid: 'e1',
      state: 'closed',
      attempt: 0,
      closeCode: 'Cancelled',
      closeMessage: 'spec.cancel is true',
    })
  })

  it('frees the table, once', async () => {
    const held = await one.ledger.recordHeld(await claim(one, simple('e2')), hold('e2'), never)
    const [first, second] = await Promise.all([
      one.ledger.closeBackfill(closed('e2', 'e2'), never),
      two.ledger.closeBackfill({ ...closed('e2', 'e2'), code: 'Failed', message: 'm' }, never),
    ])
    expect(first).toEqual(second)
    expect(await current('e2')).toEqual({ ...held, heldBy: '', version: held.version + 1n })
  })

  it('of one backfill leaves a table alone that another holds', async () => {
    const held = await one.ledger.recordHeld(await claim(one, simple('e3')), hold('e3'), never)
    await one.ledger.closeBackfill(closed('e3-old', 'e3'), never)
    expect(await current('e3')).toEqual(held)
  })

  it('is whichever comes first: hold or close', async () => {
    for (const round of [1, 2, 3, 4, 5, 6]) {
      const uid = `e4-${round}`
      const row = await claim(one, simple(uid))
      const [, end] = await Promise.allSettled([
        one.ledger.recordHeld(row, hold(uid), never),
        two.ledger.closeBackfill(closed(uid, uid), never),
      ])
      expect(end.status).toBe('fulfilled')
      expect((await one.ledger.readBackfill(uid, never))?.state).toBe('closed')
      expect((await current(uid)).heldBy).toBe('')
    }
  })

  it('cannot come any more after all was copied', async () => {
    const definition = simple('e5')
    const { fence } = await prepare(one, definition, { uid: 'e5', action: 'Truncate' })
    await query(url, `update millrace.chunks set state = 'done' where uid = 'e5'`)
    const copied = await one.ledger.recordCopied(fence, never)
    expect(await two.ledger.closeBackfill(closed('e5', 'e5'), never)).toEqual(copied)
    expect(await one.ledger.recordCopied(fence, never)).toEqual(copied)
    const row = await current('e5')
    expect(row.heldBy).toBe('')
    await one.flush(batch(row, definition, { drained: 'e5' }), never)
    expect((await two.ledger.closeBackfill(closed('e5', 'e5'), never)).state).toBe('drained')
    await expect(
      one.ledger.recordHeld(await current('e5'), hold('e5', 'Truncate'), never),
    ).rejects.toMatchObject({ code: 'NotHeld' })
  })

  it('comes after the copy where changes were lost that the copy builds on', async () => {
    const definition = simple('e7')
    const { fence } = await prepare(one, definition, { uid: 'e7', action: 'Truncate' })
    await query(url, `update millrace.chunks set state = 'done', rows = 3 where uid = 'e7'`)
    await one.ledger.recordCopied(fence, never)
    const lost = { ...closed('e7', 'e7'), code: 'SlotLost', evenCopied: true } as const
    expect(await one.ledger.closeBackfill(lost, never)).toMatchObject({
      state: 'closed',
      closeCode: 'SlotLost',
      rows: 3n,
    })
    const drained = one.flush(batch(await current('e7'), definition, { drained: 'e7' }), never)
    await expect(drained).rejects.toMatchObject({ code: 'LedgerConflict' })
    await query(url, `update millrace.backfills set state = 'drained' where uid = 'e7'`)
    expect(await one.ledger.closeBackfill(lost, never)).toMatchObject({ state: 'drained' })
  })

  it('is final: a closed backfill cannot be copied or drained', async () => {
    const definition = simple('e6')
    const { fence } = await prepare(one, definition, { uid: 'e6', action: 'Truncate' })
    await query(url, `update millrace.chunks set state = 'done' where uid = 'e6'`)
    await one.ledger.closeBackfill(closed('e6', 'e6'), never)
    await expect(one.ledger.recordCopied(fence, never)).rejects.toMatchObject({ code: 'Fenced' })
    const before = await current('e6')
    await expect(one.flush(batch(before, definition, { drained: 'e6' }), never)).rejects.toMatchObject({
      code: 'LedgerConflict',
    })
    expect(await current('e6')).toEqual(before)
  })
})

describe('attempts', () => {
  it('count up, and older ones are fenced', async () => {
    const definition = simple('a1')
    const { fence } = await prepare(one, definition, { uid: 'a1' })
    expect(await two.ledger.beginAttempt('a1', never)).toMatchObject({
      attempt: 2,
      actionDone: true,
      plan: 1,
    })
    for (const write of [
      () => one.ledger.recordPlan(fence, plan(2, 1), never),
      () => one.ledger.splitChunk(fence, 1, 0, [{ kind: 'all' }], never),
      () => one.ledger.recordCopied(fence, never),
    ]) {
      await expect(write()).rejects.toMatchObject({ code: 'Fenced' })
    }
  })

  it('need a hold', async () => {
    await expect(one.ledger.beginAttempt('nobody', never)).rejects.toMatchObject({ code: 'NotHeld' })
    await one.ledger.closeBackfill(closed('a2', 'a2'), never)
    await expect(one.ledger.beginAttempt('a2', never)).rejects.toMatchObject({
      code: 'NotHeld',
      message: expect.stringContaining('spec.cancel is true'),
    })
  })

  it('that begin at once get numbers of their own', async () => {
    await one.ledger.recordHeld(await claim(one, simple('a3')), hold('a3'), never)
    const begun = await Promise.all([one, two, one, two].map((pod) => pod.ledger.beginAttempt('a3', never)))
    expect(begun.map(({ attempt }) => attempt).sort()).toEqual([1, 2, 3, 4])
  })
})

describe('plans', () => {
  it('are recorded with all their chunks', async () => {
    const { fence } = await prepare(one, simple('p1'), { uid: 'p1', chunks: 3 })
    expect(await one.ledger.readChunks('p1', 1, never)).toEqual([
      { chunk: 0, range: { kind: 'key', to: ['10'] }, state: 'planned', attempt: 0, rows: 0n, bytes: 0n },
      {
        chunk: 1,
        range: { kind: 'key', from: ['10'], to: ['20'] },
        state: 'planned',
        attempt: 0,
        rows: 0n,
        bytes: 0n,
      },
      { chunk: 2, range: { kind: 'key', from: ['20'] }, state: 'planned', attempt: 0, rows: 0n, bytes: 0n },
    ])
    const ctid = {
      kind: 'ctid',
      leaf: { schema: 'we "ird', name: 'léaf' },
      fromBlock: 0,
      toBlock: 4294967295,
      filenode: '12',
    } as const
    const second = plan(2, 0, {
      scan: 'Ctid',
      snapshot: 's',
      visibility: '1:2:',
      append: false,
      ranges: [ctid],
    })
    expect(await one.ledger.recordPlan(fence, second, never)).toMatchObject({
      plan: 2,
      scan: 'Ctid',
      snapshot: 's',
      visibility: '1:2:',
      append: false,
    })
    expect((await one.ledger.readChunks('p1', 2, never)).map(({ range }) => range)).toEqual([ctid])
    expect(await one.ledger.readChunks('p1', 1, never)).toHaveLength(3)
  })

  it('replace none', async () => {
    const { fence } = await prepare(one, simple('p2'), { uid: 'p2' })
    for (const number of [0, 1]) {
      await expect(one.ledger.recordPlan(fence, plan(number, 1), never)).rejects.toMatchObject({
        code: 'LedgerConflict',
      })
    }
    expect(await one.ledger.readChunks('p2', 1, never)).toHaveLength(1)
  })

  it('never bring append back', async () => {
    const { fence } = await prepare(one, simple('p3'), { uid: 'p3', plan: { append: false } })
    expect(await one.ledger.recordPlan(fence, plan(2, 1), never)).toMatchObject({ append: false })
  })

  it('of a great many chunks are one call', async () => {
    const { fence } = await prepare(one, simple('p4'), { uid: 'p4' })
    await one.ledger.recordPlan(fence, plan(2, 20_000), never)
    const chunks = await one.ledger.readChunks('p4', 2, never)
    expect(chunks.map(({ chunk }) => chunk)).toEqual(Array.from({ length: 20_000 }, (_, n) => n))
  })

  it('that void the rows before them empty the table', async () => {
    const keyless = define('p5', ['v text'], [])
    const { fence } = await prepare(one, keyless, { uid: 'p5' })
    await query(url, `insert into p5 values ('left over')`)
    const target = nameOf(keyless)
    expect(await one.ledger.recordPlan(fence, plan(2, 1, { discard: target }), never)).toMatchObject({
      plan: 2,
      append: true,
    })
    expect(await query(url, 'select * from p5')).toEqual([])
    await query(url, `insert into p5 values ('kept')`)
    const wrong = plan(3, 1, { discard: { schema: 'public', name: 'p4' } })
    await expect(one.ledger.recordPlan(fence, wrong, never)).rejects.toMatchObject({ code: 'NotHeld' })
    const stale = one.ledger.recordPlan({ ...fence, attempt: 0 }, plan(3, 1, { discard: target }), never)
    await expect(stale).rejects.toMatchObject({ code: 'Fenced' })
    expect(await query(url, 'select * from p5')).toEqual([{ v: 'kept' }])
  })

  it('have chunks that are split before their parts are written', async () => {
    const { fence } = await prepare(one, simple('p6'), { uid: 'p6', chunks: 2 })
    const parts = [
      { kind: 'key' as const, to: ['5'] },
      { kind: 'key' as const, from: ['5'], to: ['10'] },
    ]
    const made = await one.ledger.splitChunk(fence, 1, 0, parts, never)
    expect(made.map(({ chunk, range, state }) => ({ chunk, range, state }))).toEqual([
      { chunk: 2, range: parts[0], state: 'planned' },
      { chunk: 3, range: parts[1], state: 'planned' },
    ])
    expect(await two.ledger.splitChunk(fence, 1, 0, parts, never)).toEqual(made)
    const states = (await one.ledger.readChunks('p6', 1, never)).map(({ chunk, state }) => [chunk, state])
    expect(states).toEqual([
      [0, 'split'],
      [1, 'planned'],
      [2, 'planned'],
      [3, 'planned'],
    ])
    await query(url, `update millrace.chunks set state = 'done' where uid = 'p6' and chunk = 1`)
    await expect(one.ledger.splitChunk(fence, 1, 1, parts, never)).rejects.toMatchObject({
      code: 'LedgerConflict',
    })
    await expect(one.ledger.splitChunk(fence, 2, 0, parts, never)).rejects.toMatchObject({ code: 'Fenced' })
  })

  it('split several chunks at once', async () => {
    const { fence } = await prepare(one, simple('p7'), { uid: 'p7', chunks: 4 })
    const parts = [{ kind: 'all' as const }, { kind: 'all' as const }]
    const made = await Promise.all(
      [0, 1, 2, 3].map((n) => (n % 2 ? one : two).ledger.splitChunk(fence, 1, n, parts, never)),
    )
    expect(
      made
        .flat()
        .map(({ chunk }) => chunk)
        .sort((a, b) => a - b),
    ).toEqual([4, 5, 6, 7, 8, 9, 10, 11])
  })
})

it('lists the backfills of its pipeline', async () => {
  const uids = (await one.ledger.readBackfills(never)).map(({ uid }) => uid)
  expect(uids).toContain('h1')
  expect(uids).toContain('e5')
  expect(uids).not.toContain('nobody')
  expect(await other.ledger.readBackfills(never)).toEqual([])
})
