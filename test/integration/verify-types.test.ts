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
  insert into marked values ('7c0f2a8e-0000-4000-8000-000000000001', 'one')`
const NAMES = ['words', 'tree', 'sort', 'narrow', 'marked']

let site: VerifySite
let target: TestDatabase

beforeAll(async () => {
  target = await createDatabase('verified_types', 'destination')
  await query(
    target.url,
    `create extension ltree schema public;
     create table narrow (id bigint primary key, note text);
     create table marked (id text primary key, note text)`,
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
