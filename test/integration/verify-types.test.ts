import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import { createDatabase, type TestDatabase } from './services.ts'
import { openVerifySite, postgresDestination, type VerifySite } from './verify-fixture.ts'

// Two databases that do not write everything alike: other encodings, types of extensions, wider types of keys.

const TABLES = `
  create extension ltree schema public;
  create table words (word text primary key, note text);
  insert into words values ('café', 'é'), ('plain', null), ('Ärger', '');
  create table tree (path ltree primary key, note text);
  insert into tree values ('a', 'one'), ('a.b', 'two');
  create type kind as enum ('b', 'a'); create domain kept as kind;
  create table sort (kind kept primary key, note text);
  insert into sort values ('a', 'one'), ('b', 'two');
  create table narrow (id integer primary key, note text);
  insert into narrow values (1, 'one'), (2, 'two');
  create table marked (id uuid primary key, note text);
  insert into marked values ('7c0f2a8e-0000-4000-8000-000000000001', 'one');
  create table counted (id integer, size numeric(6,1), code char(3), at timestamp(0), note text, primary key (id, size, code, at));
  insert into counted select g, g / 2.0, 'a' || g % 10, '2026-01-01'::timestamp + g * interval '1 s', 'one' from generate_series(1, 30000) g;
  create table pairs (id integer primary key, a text, b text, c text[]);
  insert into pairs values (1, 'x', E'y\\x02z', null), (2, null, E'\\x02', null), (3, 'x', 'é', array[E'\\x01']), (4, '', null, '{}');
  create table edge (id integer primary key, note text);
  insert into edge select g, 'one' from generate_series(1, 10000) g;
  create table emptied (code text primary key, note text);
  insert into emptied select md5(g::text), 'one' from generate_series(1, 600000) g;
  analyze`
const NAMES = ['words', 'tree', 'sort', 'narrow', 'marked', 'counted', 'pairs', 'edge', 'emptied']
const MB = 1024 * 1024

let site: VerifySite
let target: TestDatabase

beforeAll(async () => {
  target = await createDatabase('verified_types', 'destination')
  await query(
    target.url,
    `create extension ltree schema public;
     create table narrow (id bigint primary key, note text);
     create table marked (id text primary key, note text);
     create table counted (id numeric(12,2), size numeric(9,3), code char(5), at timestamp, note text, primary key (id, size, code, at))`,
  )
  site = await openVerifySite({
    name: 'verified_types',
    tables: TABLES,
    clauses: "encoding 'LATIN1' locale 'C'",
    names: NAMES,
    ...postgresDestination(target),
  })
}, 300_000)

afterAll(() => site?.close())

describe('verify', () => {
  it('finds no difference in what the source writes in another encoding, and each that is there', async () => {
    expect(await site.verify('words')).toMatchObject({ result: 'Equal', rowsCompared: 3 })
    await query(target.url, `update words set note = 'è' where word = 'café'`)
    expect(await site.verify('words')).toMatchObject({
      rowsDifferent: 1,
      examples: [{ key: 'café', kind: 'Changed' }],
    })
  })

  it('finds a row by a key of an extension’s type', async () => {
    await query(target.url, `update tree set note = 'other' where path = 'a.b'`)
    expect(await site.verify('tree')).toMatchObject({
      rowsDifferent: 1,
      examples: [{ key: 'a.b', kind: 'Changed' }],
    })
  })

  it('finds a row by a key that is a domain over an enum', async () => {
    await query(target.url, `update sort set note = 'other' where kind = 'b'`)
    expect(await site.verify('sort')).toMatchObject({
      rowsDifferent: 1,
      examples: [{ key: 'b', kind: 'Changed' }],
    })
  })

  it('finds rows by a key whose text is another one in the destination', async () => {
    const found = await site.verify('counted')
    expect(found).toMatchObject({ result: 'Equal', rowsCompared: 30_000 })
    await query(
      target.url,
      `update counted set note = 'other' where id = 7; delete from counted where id = 8;
       insert into counted values (7.5, 7, 'x', now(), '')`,
    )
    const { examples = [], rowsDifferent } = await site.verify('counted')
    expect(rowsDifferent).toBe(3)
    expect(examples).toContainEqual({
      key: '["7.00","3.500","a7   ","2026-01-01 00:00:07"]',
      kind: 'Changed',
    })
    expect(examples).toContainEqual({
      key: '["8.00","4.000","a8   ","2026-01-01 00:00:08"]',
      kind: 'Missing',
    })
    expect(examples.find(({ kind }) => kind === 'Extra')?.key).toMatch(/^\["7.50"/)
  })

  it('tells one value from the next, whatever is in them', async () => {
    expect(await site.verify('pairs')).toMatchObject({ result: 'Equal' })
    await query(
      target.url,
      `update pairs set (a, b) = (E'x\\x02y', 'z') where id = 1; update pairs set (a, b) = (E'\\x01', '') where id = 2;
       update pairs set (b, c) = ('', array[E'\\x02']) where id = 4`,
    )
    expect((await site.verify('pairs')).examples?.map(({ key }) => key).sort()).toEqual(['1', '2', '4'])
  })

  it('finds a row that is there twice', async () => {
    await query(
      target.url,
      'alter table sort drop constraint sort_pkey; insert into sort select * from sort where kind = $$a$$',
    )
    expect((await site.verify('sort')).examples).toContainEqual({ key: 'a', kind: 'Changed' })
  })

  it('takes little memory, whatever differs', { timeout: 240_000 }, async () => {
    await query(
      target.url,
      `insert into edge select g, 'extra' from generate_series(10001, 1500000) g; delete from emptied`,
    )
    for (const [table, kind] of [
      ['edge', 'rowsExtra'],
      ['emptied', 'rowsMissing'],
    ] as const) {
      const found = await site.verifyApart(table)
      console.log(`${table}: ${Math.round(found.peak / MB)} MB, ${found.seconds.toFixed(1)} s`)
      expect(found.result).toBe('Different')
      expect(found[kind]).toBeGreaterThanOrEqual(10_000)
      expect(found.peak).toBeLessThan(230 * MB)
    }
  })

  it.each([
    ['narrow', 'out of range', '5000000000', "update narrow set note = 'x' where id = 2", '2'],
    ['marked', 'no uuid', 'abc', "insert into marked values ('ABC', '')", 'ABC'],
    ['words', 'not in its encoding', '語', "delete from words where word = 'plain'", 'plain'],
  ])(
    'names an extra row of %s whose key the source cannot hold: %s',
    async (table, _what, key, sql, other) => {
      await query(target.url, `insert into ${table} values ('${key}', ''); ${sql}`)
      const { examples = [] } = await site.verify(table)
      expect(examples).toContainEqual({ key, kind: 'Extra' })
      expect(examples.map((one) => one.key)).toContain(other)
    },
  )
})
