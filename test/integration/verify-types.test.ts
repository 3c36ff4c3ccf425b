import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import { createDatabase, type TestDatabase } from './services.ts'
import { openVerifySite, place, type VerifySite } from './verify-fixture.ts'

// Two databases that do not write everything alike: types of extensions.

const TABLES = `
  create extension ltree schema public;
  create table tree (path ltree primary key, note text);
  insert into tree values ('a', 'one'), ('a.b', 'two')`
const NAMES = ['tree']

let site: VerifySite
let target: TestDatabase

beforeAll(async () => {
  target = await createDatabase('verified_types', 'destination')
  await query(target.url, 'create extension ltree schema public')
  site = await openVerifySite({
    name: 'verified_types',
    tables: TABLES,
    names: NAMES,
    destination: {
      postgres: {
        ...place(target.url),
        database: target.name,
        sslMode: 'Disable',
        credentialsSecretRef: { name: 'db' },
      },
    },
    credentials: { username: 'postgres', password: 'postgres' },
  })
}, 300_000)

afterAll(() => site?.close())

describe('verify', () => {
  it('finds a row by a key of an extension’s type', async () => {
    await query(target.url, `update tree set note = 'other' where path = 'a.b'`)
    expect(await site.verify('tree')).toMatchObject({
      rowsDifferent: 1,
      examples: [{ key: 'a.b', kind: 'Changed' }],
    })
  })
})
