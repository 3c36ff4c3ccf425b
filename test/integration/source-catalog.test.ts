import { describe, expect, it } from 'vitest'
import type { MillraceError } from '../../lib/errors.ts'
import { readFingerprint } from '../../workers/capture/catalog.ts'
import { estimateRows, leafTables, readTableDefinition } from '../../workers/source/catalog.ts'
import { isSameServer, readReplayPosition, readServerIdentity } from '../../workers/source/identity.ts'
import { field, named, useDatabase } from './source-fixture.ts'

const { connect, replicaUrl, sql } = useDatabase('source_catalog')

describe('the catalog', () => {
  it('describes columns, key and constant defaults', async () => {
    await sql(`
      create domain positive as int check (value > 0); create type point2 as (x int, y int);
      create table described (id int, "Other" varchar(20) default 'x''y', gone text, n numeric(12,2) not null, dom positive,
        list positive[], comp point2, span int4range, g int generated always as (id + 1) stored, primary key (n, id));
      alter table described drop column gone; insert into described (id, n) values (1, 1);
      alter table described add added timestamptz default '2026-01-01 00:00:00+00', add late uuid default gen_random_uuid()`)
    const definition = await readTableDefinition(await connect(), named('described'), field)
    expect(definition).toMatchObject({ key: ['n', 'id'], replicaIdentity: 'default', partitioned: false })
    const facts = definition.columns.map(({ name, type, typeKind, baseType, notNull, constantDefault }) => [
      name,
      type,
      typeKind,
      baseType,
      notNull,
      constantDefault,
    ])
    expect(facts).toEqual([
      ['id', 'integer', 'base', 'integer', true, undefined],
      ['Other', 'character varying(20)', 'base', 'character varying(20)', false, "x'y"],
      ['n', 'numeric(12,2)', 'base', 'numeric(12,2)', true, undefined],
      ['dom', 'public.positive', 'domain', 'integer', false, undefined],
      ['list', 'public.positive[]', 'array', 'public.positive', false, undefined],
      ['comp', 'public.point2', 'composite', 'public.point2', false, undefined],
      ['span', 'int4range', 'range', 'int4range', false, undefined],
      [
        'added',
        'timestamp with time zone',
        'base',
        'timestamp with time zone',
        false,
        '2026-01-01 00:00:00+00',
      ],
      ['late', 'uuid', 'base', 'uuid', false, undefined],
    ])
  })

  it('keeps the value that an ADD COLUMN gave to old rows, whatever the default became', async () => {
    await sql(`create table aged (id int primary key); insert into aged values (1);
      alter table aged add v int default 7, add b box default '(1,1),(0,0)'; alter table aged alter v set default 8`)
    const { columns } = await readTableDefinition(await connect(), named('aged'), field)
    expect(columns.slice(1).map(({ constantDefault }) => constantDefault)).toEqual(['7', '(1,1),(0,0)'])
  })

  it('finds that value with the leaves of a partitioned table, wherever they have the column', async () => {
    await sql(`create table spread (id int primary key) partition by range (id);
      create table spread_sub partition of spread for values from (0) to (10) partition by range (id);
      create table spread_0 (gone int, id int not null); alter table spread_0 drop gone;
      alter table spread_sub attach partition spread_0 for values from (0) to (10);
      insert into spread values (1);
      alter table spread add n numeric default 1.5 * 2, add tags text[] not null default '{}', add list text[] default '{"a b",c}',
        add status text default 'legacy', add none text;
      alter table spread alter status set default 'active';
      create table spread_1 partition of spread for values from (10) to (20)`)
    const { columns } = await readTableDefinition(await connect(), named('spread'), field)
    expect(columns.map(({ name, constantDefault }) => [name, constantDefault])).toEqual([
      ['id', undefined],
      ['n', '3.0'],
      ['tags', '{}'],
      ['list', '{"a b",c}'],
      ['status', 'legacy'],
      ['none', undefined],
    ])
  })

  it('is one picture for capture, also while a table is written anew', async () => {
    await sql('create table pictured (id int primary key); insert into pictured values (1)')
    const connection = await connect()
    const [row] = await connection.query(`SELECT 'public.pictured'::regclass::oid::text AS oid`)
    const before = await readFingerprint(connection, Number(row?.oid))
    await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    await connection.query('SELECT count(*) FROM pg_class')
    await sql('alter table pictured add u uuid default gen_random_uuid()')
    expect(await readFingerprint(connection, Number(row?.oid))).toEqual(before)
    await connection.query('COMMIT')
    const after = await readFingerprint(connection, Number(row?.oid))
    expect(after?.columns).toHaveLength(2)
    expect(after?.leaves).not.toEqual(before?.leaves)
  })

  it('takes the default of a domain for a column that has none of its own', async () => {
    await sql(`create domain counted as int default 1 check (value > 0); create domain further as counted;
      create table defaulted (id int primary key); insert into defaulted values (1);
      alter table defaulted add a counted, add b further, add c counted default 2, add d counted default null`)
    const { columns } = await readTableDefinition(await connect(), named('defaulted'), field)
    expect(columns.map(({ constantDefault }) => constantDefault)).toEqual([
      undefined,
      '1',
      '1',
      '2',
      undefined,
    ])
  })

  it('names what is missing and the cure', async () => {
    await sql(`create view a_view as select 1 as id; create unlogged table unlogged_one (id int primary key);
      create table filtered (id int primary key, a int); create table root (id int primary key) partition by hash (id);
      create table leaf partition of root for values with (modulus 1, remainder 0)`)
    const connection = await connect()
    const failure = (name: string, filter?: object) =>
      readTableDefinition(connection, named(name), { ...field, filter }).catch(
        (thrown: unknown) => thrown as MillraceError,
      )
    expect(await failure('nowhere')).toMatchObject({ code: 'TableNotFound', field: 'spec.tables[0]' })
    expect(await failure('a_view')).toMatchObject({
      code: 'TableNotFound',
      message: expect.stringContaining('a view'),
    })
    expect(await failure('leaf')).toMatchObject({ message: expect.stringContaining('root') })
    expect(await failure('unlogged_one')).toMatchObject({ message: expect.stringContaining('SET LOGGED') })
    expect(await failure('filtered', { include: ['id', 'nope'] })).toMatchObject({ code: 'ColumnNotFound' })
    expect(await failure('filtered', { exclude: ['id'] })).toMatchObject({ code: 'InvalidSpec' })
    expect(await failure('filtered', { include: ['a'] })).toMatchObject({ code: 'InvalidSpec' })
  })

  it('finds leaves and estimates rows', async () => {
    await sql(`create table sized (id int primary key) partition by range (id);
      create table sized_a partition of sized for values from (0) to (50000);
      create table sized_b partition of sized for values from (50000) to (100000) partition by range (id);
      create table sized_b1 partition of sized_b for values from (50000) to (100000)`)
    const connection = await connect()
    const definition = await readTableDefinition(connection, named('sized'), field)
    expect(await estimateRows(connection, definition)).toBe(0n)
    await sql('insert into sized select g from generate_series(0, 99999) g')
    const leaves = await leafTables(connection, definition.oid)
    expect(leaves.map((leaf) => leaf.name)).toEqual(['sized_a', 'sized_b1'])
    const before = leaves[0]?.filenode
    await sql('vacuum full sized_a')
    expect((await leafTables(connection, definition.oid))[0]?.filenode).not.toBe(before)
    const estimate = Number(await estimateRows(connection, definition))
    expect(estimate).toBeGreaterThan(50_000)
    expect(estimate).toBeLessThan(200_000)
  })
})

describe('identity', () => {
  it('tells one server from another, and a replica from its primary', async () => {
    const [a, b, replica] = await Promise.all([connect(), connect(), connect(replicaUrl())])
    const [one, two, three] = await Promise.all([a, b, replica].map(readServerIdentity))
    if (!one || !two || !three) throw new Error('no identity')
    expect(isSameServer(one, two)).toBe(true)
    expect(isSameServer(one, three)).toBe(false)
    expect(three).toMatchObject({ systemIdentifier: one.systemIdentifier, timeline: 1, inRecovery: true })
    expect((await readReplayPosition(replica)).replayed).toBeGreaterThan(0n)
    expect(await readReplayPosition(a)).toEqual({ inRecovery: false, replayed: 0n })
  })
})
