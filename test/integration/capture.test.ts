import { describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import {
  waitForOlderTransactions,
  waitForWriters,
  writeHold,
  writeRelease,
} from '../../workers/source/watermark.ts'
import { useCaptureBeds } from './capture-beds.ts'
import { hostileSettings, unharmed } from './hostile-settings.ts'
import { controls, type Event, replay, rowsOf } from './queue-events.ts'
import { withClient } from './services.ts'

const { open } = useCaptureBeds()
const signal = AbortSignal.timeout(600_000)

describe('the changes of a table', () => {
  it('come in order, with null, unchanged and empty told apart', async () => {
    const bed = await open('rows', {
      source: `create table t (id int primary key, note text, big text);
        alter table t alter big set storage external`,
      tables: [{ name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql(
      `insert into t values (1, 'first', repeat('x', 10000)), (2, null, ''), (3, E'a\\t"q"\\\\ é 🎉 \\u0001', null)`,
    )
    await bed.sql(
      `update t set note = 'second' where id = 1; update t set id = 20 where id = 2; delete from t where id = 3`,
    )
    await bed.sql(`truncate t`)
    await bed.sql(`insert into t values (4, 'last', 'y')`)
    const events = await bed.untilEvents('t', 'all', (all) => all.at(-1)?.row.id === '4')
    expect(events[0]?.control).toMatchObject({ control: 'join' })
    expect(events[0]?.header.columns).toEqual([])
    const rows = events.slice(1)
    expect(rows.map((event) => event.op).join('')).toBe('iiiuudti')
    expect(rows[0]?.header).toMatchObject({
      v: 1,
      epoch: 1,
      table: ['public', 't'],
      columns: [
        ['id', 'integer', 1],
        ['note', 'text', 0],
        ['big', 'text', 0],
      ],
    })
    expect(rows[1]?.row).toEqual({ id: '2', note: null, big: '' })
    expect(rows[2]?.row).toEqual({ id: '3', note: 'a\t"q"\\ é 🎉 \u0001', big: null })
    expect(rows[3]).toMatchObject({ row: { id: '1', note: 'second' }, old: undefined })
    expect(rows[3]?.row.big).toBeUndefined()
    expect(rows[4]).toMatchObject({ row: { id: '20' }, old: ['2'] })
    expect(rows[5]?.old).toEqual(['3'])
    expect([...replay(events).values()]).toEqual([{ id: '4', note: 'last', big: 'y' }])
  })

  it('have the key that their replica identity gives them', async () => {
    const bed = await open('keys', {
      source: `
        create table pair (b int, x text, a text, primary key (a, b));
        create table idx (id int primary key, u text not null, v text not null);
        create unique index idx_vu on idx (v, u); alter table idx replica identity using index idx_vu;
        create table fullkey (id int primary key, note text); alter table fullkey replica identity full;
        create table keyless (a int, b text); alter table keyless replica identity full`,
      tables: ['pair', 'idx', 'fullkey', 'keyless'].map((name) => ({ name })),
    })
    bed.run()
    await bed.untilJoined('pair', 'idx', 'fullkey', 'keyless')
    await bed.sql(`
      insert into pair values (1, 'x', 'k'); update pair set b = 2; delete from pair;
      insert into idx values (1, 'u', 'v'); update idx set u = 'w'; update idx set id = 2; delete from idx;
      insert into fullkey values (1, 'n'); update fullkey set note = 'm'; update fullkey set id = 3; delete from fullkey;
      insert into keyless values (1, null); update keyless set b = 'x'; delete from keyless`)
    const pair = rowsOf(await bed.untilEvents('pair', 'delete', (all) => all.at(-1)?.op === 'd'))
    expect(pair[0]?.header.columns).toEqual([
      ['b', 'integer', 2],
      ['x', 'text', 0],
      ['a', 'text', 1],
    ])
    expect(pair.map((event) => event.old)).toEqual([undefined, ['k', '1'], ['k', '2']])
    const idx = rowsOf(await bed.untilEvents('idx', 'delete', (all) => all.at(-1)?.op === 'd'))
    expect(idx[0]?.header.columns.map((column) => column[2])).toEqual([0, 2, 1])
    expect(idx.map((event) => event.old)).toEqual([undefined, ['v', 'u'], undefined, ['v', 'w']])
    const full = rowsOf(await bed.untilEvents('fullkey', 'delete', (all) => all.at(-1)?.op === 'd'))
    expect(full.map((event) => event.old)).toEqual([undefined, undefined, ['1'], ['3']])
    const keyless = rowsOf(await bed.untilEvents('keyless', 'delete', (all) => all.at(-1)?.op === 'd'))
    expect(keyless.map((event) => event.old)).toEqual([undefined, ['1', null], ['1', 'x']])
  })

  it('of a partitioned table come under its own name, whatever its partitions look like', async () => {
    const bed = await open('parts', {
      source: `
        create table p (id int, at date, note text, primary key (id, at)) partition by range (at);
        create table p1 partition of p for values from ('2026-01-01') to ('2026-02-01');
        create table p2 (note text, gone int, at date not null, id int not null);
        alter table p2 drop column gone; alter table p2 add primary key (id, at);
        alter table p attach partition p2 for values from ('2026-02-01') to ('2026-03-01')`,
      tables: [{ name: 'p' }],
    })
    bed.run()
    await bed.untilJoined('p')
    await bed.sql(`insert into p values (1, '2026-01-10', 'a'), (2, '2026-02-10', 'b')`)
    await bed.sql(`update p set at = '2026-02-11' where id = 1; delete from p2 where id = 2`)
    await bed.sql(`create table p3 partition of p for values from ('2026-03-01') to ('2026-04-01');
      insert into p values (3, '2026-03-01', 'c')`)
    const events = await bed.untilEvents('p', 'all', (all) => all.at(-1)?.row.id === '3')
    expect([...replay(events).values()]).toEqual([
      { id: '1', at: '2026-02-11', note: 'a' },
      { id: '3', at: '2026-03-01', note: 'c' },
    ])
    for (const leaf of ['p1', 'p2', 'p3']) {
      expect(await bed.queue.offsets(bed.topic(leaf), signal)).toBeUndefined()
    }
  })

  it('pass with 400 columns and with names of any kind', async () => {
    const columns = Array.from({ length: 400 }, (_, index) => `"Column ""${index}"" é"`)
    const bed = await open('odd', {
      source: `create schema "Odd ""S"" $1";
        create table "Odd ""S"" $1"."select" ("from" int primary key, ${columns.map((name) => `${name} text`)})`,
      tables: [{ schema: 'Odd "S" $1', name: 'select' }],
    })
    bed.run()
    await bed.untilJoined('select')
    await bed.sql(
      `insert into "Odd ""S"" $1"."select" values (1, ${columns.map((_, index) => `'v${index}'`)})`,
    )
    const events = await bed.untilEvents('Odd "S" $1.select', 'the row', (all) => all.length === 2)
    expect(events[1]?.header.table).toEqual(['Odd "S" $1', 'select'])
    expect(Object.keys(events[1]?.row ?? {})).toHaveLength(401)
    expect(events[1]?.row['Column "399" é']).toBe('v399')
  })

  it('name types of the user with their schema, and values as every session of ours writes them', async () => {
    const bed = await open('types', {
      source: `
        create type public.mood as enum ('sad', 'ok');
        create domain public.plain as numeric(10,2); create domain public.amount as plain check (value > 0);
        create table t (id int primary key, m mood, a amount, ts timestamptz, i interval, f float8, by bytea, ms mood[], r regclass);
        ${hostileSettings('cap_types')}`,
      tables: [{ name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    await query(
      unharmed(bed.source.url),
      `insert into t values (1, 'ok', 1.5, '2026-11-22 10:00:00.123456+00', '1 year 2 days', 0.1 + 0.2::float8,
      '\\xdeadbeef', '{sad,ok}', 'public.t')`,
    )
    const events = await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    expect(events[1]?.header.columns.map((column) => column[1])).toEqual([
      'integer',
      'public.mood',
      'public.amount',
      'timestamp with time zone',
      'interval',
      'double precision',
      'bytea',
      'public.mood[]',
      'regclass',
    ])
    expect(events[1]?.header.types).toEqual({
      'public.mood': ['enum'],
      'public.amount': ['domain', 'numeric(10,2)'],
    })
    expect(events[1]?.row).toEqual({
      id: '1',
      m: 'ok',
      a: '1.50',
      ts: '2026-11-22 10:00:00.123456+00',
      i: '1 year 2 days',
      f: '0.30000000000000004',
      by: '\\xdeadbeef',
      ms: '{sad,ok}',
      r: 'public.t',
    })
  })

  it('of a database in LATIN1 have their names and values, old ones too, and so have the watermarks', async () => {
    const bed = await open('latin1', {
      database: `encoding 'LATIN1' locale 'C'`,
      source: `
        create schema "Übung"; create type "Übung"."Gemüt" as enum ('trüb', 'heiter');
        create table "Übung"."größe" ("schlüssel" text primary key, "wärme" text, "gemüt" "Übung"."Gemüt");
        alter table "Übung"."größe" replica identity full`,
      tables: [{ schema: 'Übung', name: 'größe' }],
    })
    const table = { schema: 'Übung', name: 'größe' }
    const names = { publication: bed.slot, slot: bed.slot }
    bed.run()
    await bed.untilJoined('größe')
    const connection = await bed.connect()
    await writeHold(connection, names, { uid: 'u', name: 'n', table, action: 'Truncate' })
    await bed.sql(`insert into "Übung"."größe" values ('é', 'ÿ', 'trüb'), ('è', repeat('ö', 300000), null)`)
    await bed.sql(`update "Übung"."größe" set "wärme" = 'ß' where "schlüssel" = 'é'`)
    await bed.sql(`update "Übung"."größe" set "schlüssel" = 'ê' where "schlüssel" = 'è'`)
    await bed.sql(`delete from "Übung"."größe" where "schlüssel" = 'é'`)
    await writeRelease(connection, names, { uid: 'u', table })
    const events = await bed.untilEvents('Übung.größe', 'the release', (all) =>
      controls(all).includes('release'),
    )
    expect(controls(events)).toEqual(['join', 'hold', 'release'])
    const rows = rowsOf(events)
    expect(rows[0]?.header).toMatchObject({
      table: ['Übung', 'größe'],
      columns: [
        ['schlüssel', 'text', 1],
        ['wärme', 'text', 0],
        ['gemüt', '"Übung"."Gemüt"', 0],
      ],
    })
    const long = 'ö'.repeat(300_000)
    expect(rows.map(({ op, row, old }) => [op, Object.values(row), old])).toEqual([
      ['i', ['é', 'ÿ', 'trüb'], undefined],
      ['i', ['è', long, null], undefined],
      ['u', ['é', 'ß', 'trüb'], undefined],
      ['u', ['ê', long, null], ['è']],
      ['d', [], ['é']],
    ])
  })
})

describe('tables', () => {
  it('whose topics Kafka cannot tell apart do not keep others out', async () => {
    const bed = await open('apart', {
      source: `create schema app; create schema app_eu; create table app.eu_orders (id int primary key);
        create table app_eu.orders (id int primary key); create table t (id int primary key)`,
      tables: [{ schema: 'app', name: 'eu_orders' }, { schema: 'app_eu', name: 'orders' }, { name: 't' }],
    })
    bed.run()
    await bed.untilJoined('eu_orders', 't')
    const { problems } = await bed.untilStatus('one problem', (status) => status.problems?.length === 1)
    expect(problems).toMatchObject([
      {
        code: 'InvalidSpec',
        table: { name: 'orders' },
        message: expect.stringContaining(bed.topic('app.eu_orders')),
      },
    ])
  })

  it('that the encoding of the source cannot name do not keep others out', async () => {
    const bed = await open('unwritable', {
      database: `encoding 'LATIN1' locale 'C'`,
      source: `create table t (id int primary key)`,
      tables: [{ name: '漢字' }, { name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    const { problems } = await bed.untilStatus('one problem', (status) => status.problems?.length === 1)
    expect(problems).toMatchObject([
      { code: 'TableNotFound', message: expect.stringContaining('spec.tables[0]') },
    ])
  })

  it('join and leave while others go on; one that cannot is named with the cure, and recovers', async () => {
    const bed = await open('tables', {
      source: `create table a (id int primary key); create table b (id int primary key);
        create table bare (id int); create view v as select 1 as id`,
      tables: [{ name: 'a' }, { name: 'nope' }, { name: 'bare' }, { name: 'v' }],
    })
    bed.run()
    await bed.untilJoined('a')
    const { problems } = await bed.untilStatus('three problems', (status) => status.problems?.length === 3)
    expect(problems).toMatchObject([
      {
        component: 'Table',
        code: 'TableNotFound',
        table: { name: 'nope' },
        message: expect.stringContaining('spec.tables[1]'),
      },
      {
        code: 'NoReplicaIdentity',
        table: { name: 'bare' },
        message: expect.stringContaining('REPLICA IDENTITY FULL'),
      },
      { code: 'TableNotFound', table: { name: 'v' }, message: expect.stringContaining('a view') },
    ])
    await bed.sql('insert into a values (1)')
    await bed.untilEvents('a', 'the row', (all) => all.length === 2)
    await bed.sql('create table nope (id int primary key); alter table bare replica identity full')
    await bed.patch({ tables: [{ name: 'a' }, { name: 'nope' }, { name: 'bare' }, { name: 'b' }] })
    await bed.untilJoined('a', 'nope', 'bare', 'b')
    await bed.untilStatus('no problems', (status) => status.problems === undefined)
    await bed.patch({ tables: [{ name: 'a' }, { name: 'b' }] })
    await bed.untilEvents('nope', 'leave', (all) => controls(all).at(-1) === 'leave')
    await bed.untilStatus('two tables', (status) => status.tables?.length === 2)
    await bed.sql('insert into nope values (1); insert into b values (7)')
    await bed.untilEvents('b', 'the row', (all) => all.at(-1)?.row.id === '7')
    expect(controls(await bed.events('nope'))).toEqual(['join', 'leave'])
    expect(rowsOf(await bed.events('nope'))).toEqual([])
  })

  it('with a partition that tells rows otherwise wait for the cure, and then begin as if nothing had been', async () => {
    const bed = await open('leafkey', {
      source: `create table k (id int, d int) partition by range (d); alter table k replica identity full;
        create table k1 partition of k (primary key (id)) for values from (0) to (9); insert into k values (1, 1)`,
      tables: [{ name: 'k' }],
    })
    bed.run()
    const { problems } = await bed.untilStatus('a problem', (status) => status.problems?.length === 1)
    expect(problems).toMatchObject([{ code: 'NoReplicaIdentity', table: { name: 'k' } }])
    await bed.sql('update k set id = 2; alter table k1 replica identity full')
    await bed.untilJoined('k')
    await bed.sql('create table k2 partition of k (primary key (id)) for values from (10) to (19)')
    const { problems: again } = await bed.untilStatus('another', (status) => status.problems?.length === 1)
    expect(again?.[0]?.message).toContain('ALTER TABLE "public"."k2" REPLICA IDENTITY FULL')
    await bed.sql('delete from k')
    const events = await bed.untilEvents('k', 'the delete', (all) => all.at(-1)?.op === 'd')
    expect(controls(events)).toEqual(['join'])
    await bed.sql('alter table k2 replica identity full')
    const stopped = await bed.untilEvents('k', 'changed', (all) => controls(all).includes('changed'))
    expect(stopped.at(-1)?.control.message).toContain('partition k2 had deletes')
  })

  it('that join under writers lose nothing that commits after the hold', async () => {
    const bed = await open('writers', {
      source: `create table t (id bigserial primary key, n int default 0)`,
      tables: [],
    })
    bed.run()
    await bed.untilStatus('capturing', (status) => status.slot !== undefined)
    let writing = true
    const writers = Array.from({ length: 4 }, (_, writer) =>
      withClient(bed.source.url, async (client) => {
        while (writing) {
          await client.query('begin')
          await client.query('insert into t default values')
          await client.query(
            `update t set n = n + 1 where id = (select id from t where id % 4 = $1 order by random() limit 1)`,
            [writer],
          )
          await client.query(Math.random() < 0.1 ? 'rollback' : 'commit')
        }
      }),
    )
    await bed.patch({ tables: [{ name: 't' }] })
    await bed.untilJoined('t')
    const connection = await bed.connect()
    const [table] = await connection.query(`select 'public.t'::regclass::oid as oid`)
    const name = { schema: 'public', name: 't', oid: Number(table?.oid) }
    const names = { publication: bed.slot, slot: bed.slot }
    const wait = { signal, deadlineMilliseconds: 30_000 }
    await waitForWriters(connection, name, wait)
    await writeHold(connection, names, { uid: 'u', name: 'n', action: 'Truncate', table: name })
    await waitForOlderTransactions(connection, wait)
    const scanned = await bed.sql<{ id: string; n: string }>('select id::text, n::text from t')
    await new Promise((resolve) => setTimeout(resolve, 1000))
    writing = false
    await Promise.all(writers)
    await writeRelease(connection, names, { uid: 'u', table: name })
    const events = await bed.untilEvents('t', 'release', (all) => controls(all).includes('release'))
    const from = events.findIndex((event) => event.control.control === 'hold')
    const header = rowsOf(events)[0]?.header
    if (!header) throw new Error('no rows came')
    const base = scanned.map(
      (row): Event => ({ ...rowsOf(events)[0], op: 'i', position: [0, 0n, 0], row }) as Event,
    )
    const rows = new Map(base.map((event) => [JSON.stringify([event.row.id]), event.row]))
    for (const [key, row] of replay(events.slice(from))) rows.set(key, { ...rows.get(key), ...row })
    const wanted = await bed.sql<{ id: string; n: string }>('select id::text, n::text from t')
    expect(rows.size).toBe(wanted.length)
    expect(wanted.filter((row) => rows.get(JSON.stringify([row.id]))?.n !== row.n)).toEqual([])
  })

  it('are captured with the columns that the Pipeline wants, from one moment to the other', async () => {
    const bed = await open('filter', {
      source: 'create table t (id int primary key, a text, secret text)',
      tables: [{ name: 't', columns: { exclude: ['secret'] } }],
    })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql(`insert into t values (1, 'a', 's')`)
    const first = await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    expect(first[1]?.row).toEqual({ id: '1', a: 'a' })
    await bed.patch({ tables: [{ name: 't', columns: { include: ['id', 'gone'] } }] })
    const status = await bed.untilStatus('a problem', (one) => one.problems !== undefined)
    expect(status.problems?.[0]).toMatchObject({
      code: 'ColumnNotFound',
      message: expect.stringContaining('spec.tables[0].columns.include'),
    })
    await bed.patch({ tables: [{ name: 't', columns: { include: ['id'] } }] })
    await bed.untilStatus('no problem', (one) => one.problems === undefined)
    await bed.sql(`insert into t values (2, 'a', 's')`)
    const second = await bed.untilEvents('t', 'the row', (all) => all.length === 3)
    expect(second[2]?.row).toEqual({ id: '2' })
  })
})

describe('watermarks', () => {
  it('carry the end of their commit, and what committed before stands before', async () => {
    const bed = await open('marks', {
      source: 'create table t (id int primary key)',
      tables: [{ name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    const connection = await bed.connect()
    const table = { schema: 'public', name: 't' }
    const names = { publication: bed.slot, slot: bed.slot }
    await bed.sql('insert into t values (1)')
    await writeHold(connection, names, { uid: 'u-1', name: 'first', action: 'Drop', table })
    const [after] = await bed.sql<{ lsn: string }>("select pg_current_wal_insert_lsn() - '0/0' as lsn")
    await writeHold(
      connection,
      { ...names, slot: 'another' },
      { uid: 'u-2', name: 'x', action: 'Drop', table },
    )
    await writeRelease(connection, names, { uid: 'u-1', table })
    await bed.sql('insert into t values (2)')
    const events = await bed.untilEvents('t', 'all', (all) => all.at(-1)?.row.id === '2')
    expect(events.map((event) => event.control.control ?? event.row.id)).toEqual([
      'join',
      '1',
      'hold',
      'release',
      '2',
    ])
    const hold = events[2]?.control
    expect(hold).toMatchObject({ uid: 'u-1', name: 'first', action: 'Drop' })
    const [high = '', low = ''] = String(hold?.lsn).split('/')
    const lsn = (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`)
    expect(lsn).toBeGreaterThan(events[2]?.position[1] ?? 0n)
    expect(lsn).toBeLessThanOrEqual(BigInt(after?.lsn ?? 0))
  })
})
