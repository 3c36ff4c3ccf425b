import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { MillraceError } from '../../lib/errors.ts'
import { createLogger } from '../../lib/log.ts'
import { createCatalogWatch } from '../../workers/capture/catalog-watch.ts'
import type { Fingerprint } from '../../workers/capture/fingerprint.ts'
import { createTruncations } from '../../workers/capture/truncations.ts'
import { readTableDefinition } from '../../workers/source/catalog.ts'
import { type Connection, openConnection } from '../../workers/source/connect.ts'
import {
  checkReplicable,
  ensurePublication,
  joinTable,
  readMembers,
} from '../../workers/source/publication.ts'
import { createDatabase, type TestDatabase, withClient } from './services.ts'

const signal = AbortSignal.timeout(600_000)
const field = 'spec.tables[0]'
const names = { publication: 'partitions', slot: 'partitions' }
const named = (name: string) => ({ schema: 'public', name })
let database: TestDatabase
let connection: Connection

beforeAll(async () => {
  database = await createDatabase('partitions_test')
  const { hostname, port } = new URL(database.url)
  const secrets = { read: async () => 'postgres' }
  connection = await openConnection(
    {
      host: hostname,
      port: Number(port),
      database: database.name,
      sslMode: 'Disable',
      field: 'spec.source.postgres',
      credentials: { mount: 'source', field: 'spec.source.postgres.credentialsSecretRef' },
      ca: undefined,
      secrets,
      process: 'test',
    },
    { purpose: 'query', signal },
  )
  await ensurePublication(connection, names.publication, 'me')
})
afterAll(() => connection?.close())

const sql = (text: string) => query(database.url, text)

/** One statement after the other, each by itself unless a transaction was begun. */
const each = (text: string) =>
  withClient(database.url, async (client) => {
    for (const statement of text.split('; ')) await client.query(statement)
  })

/** Refuses the table, or lets it join. */
async function join(table: string): Promise<MillraceError | undefined> {
  const refused = (thrown: unknown) => thrown as MillraceError
  return await joinTable(connection, names, named(table), field).then(() => undefined, refused)
}

async function check(table: string): Promise<MillraceError | undefined> {
  const definition = await readTableDefinition(connection, named(table), { field })
  const refused = (thrown: unknown) => thrown as MillraceError
  return await checkReplicable(connection, definition, field).then(() => undefined, refused)
}

describe('a replica identity with a generated column', () => {
  it.each<[string, string]>([
    ['whole', 'g int generated always as (id + 1) stored); alter table $ replica identity full'],
    ['virtual', 'g int generated always as (id + 1) virtual); alter table $ replica identity full'],
    [
      'chosen',
      `g int not null generated always as (id + 1) stored); create unique index $_u on $ (g, id);
       alter table $ replica identity using index $_u`,
    ],
    [
      'parted',
      `g int generated always as (id + 1) stored) partition by range (id);
       create table $_1 partition of $ for values from (0) to (9); alter table $_1 replica identity full`,
    ],
  ])('is refused before the source refuses changes for it: %s', async (name, ddl) => {
    const table = `generated_${name}`
    const leaf = name === 'parted' ? `${table}_1` : table
    await sql(`create table ${table} (id int primary key, ${ddl.replaceAll('$', table)}`)
    expect(await join(table)).toMatchObject({
      code: 'NoReplicaIdentity',
      field,
      message: expect.stringMatching(
        `generated column "g" .* run ALTER TABLE "public"."${leaf}" REPLICA IDENTITY DEFAULT`,
      ),
    })
    await sql(`insert into ${table} values (1); update ${table} set id = 2`)
    await sql(`alter table ${leaf} replica identity default`)
    expect(await join(table)).toBeUndefined()
    await sql(`update ${table} set id = 3; delete from ${table}`)
  })
})

describe('a partitioned table is refused', () => {
  const range = 'id int, d int, v text'
  it.each<[string, string, string]>([
    [
      'keyless',
      `create table keyless (${range}) partition by range (d); alter table keyless replica identity full;
       create table keyless_1 partition of keyless for values from (0) to (9)`,
      'ALTER TABLE "public"."keyless_1" REPLICA IDENTITY FULL',
    ],
    [
      'leafkey',
      `create table leafkey (${range}) partition by range (d); alter table leafkey replica identity full;
       create table leafkey_1 partition of leafkey (primary key (id)) for values from (0) to (9)`,
      'ALTER TABLE "public"."leafkey_1" REPLICA IDENTITY FULL',
    ],
    [
      'otherkey',
      `create table otherkey (id int primary key, u int not null) partition by range (id);
       create table otherkey_s partition of otherkey for values from (0) to (9) partition by range (id);
       create table otherkey_1 partition of otherkey_s for values from (0) to (9);
       create unique index otherkey_u on otherkey_1 (u); alter table otherkey_1 replica identity using index otherkey_u`,
      'ALTER TABLE "public"."otherkey_1" REPLICA IDENTITY DEFAULT',
    ],
    [
      'silent',
      `create table silent (id int primary key) partition by range (id);
       create table silent_1 partition of silent for values from (0) to (9); alter table silent_1 replica identity nothing`,
      'ALTER TABLE "public"."silent_1" REPLICA IDENTITY DEFAULT',
    ],
  ])('%s, with the SQL that cures it, before its partitions are published', async (table, ddl, cure) => {
    await sql(ddl)
    expect(await join(table)).toMatchObject({
      code: 'NoReplicaIdentity',
      field,
      message: expect.stringMatching(`partition public.${table}_1 of table public.${table} .* run ${cure}$`),
    })
    await sql(
      `insert into ${table} values (1, 1); update ${table} set id = 2`.replace(
        '(1, 1)',
        table === 'silent' ? '(1)' : '(1, 1)',
      ),
    )
    expect((await readMembers(connection, names.publication)).map((member) => member.name)).not.toContain(
      table,
    )
    await sql(cure)
    expect(await join(table)).toBeUndefined()
  })

  it.each<[string, string, string, string]>([
    ['unlogged', 'create unlogged table unlogged_1 partition of unlogged', 'is unlogged', 'SET LOGGED'],
    ['elsewhere', 'create foreign table elsewhere_1 partition of elsewhere', 'is a foreign table', 'detach'],
  ])('%s, for a partition of which the log has nothing', async (table, partition, what, cure) => {
    await sql(`create foreign data wrapper w_${table}; create server s_${table} foreign data wrapper w_${table};
      create table ${table} (id int not null) partition by range (id); alter table ${table} replica identity full;
      ${partition} for values from (0) to (9) ${table === 'elsewhere' ? `server s_${table}` : ''}`)
    const refused = await join(table)
    expect(refused).toMatchObject({ code: 'TableNotFound', field })
    expect(refused?.message).toContain(`partition public.${table}_1 of table public.${table} ${what}`)
    expect(refused?.message).toContain(cure)
  })

  it('not for partitions that tell more than the key', async () => {
    await sql(`create table fit (id int primary key, u int not null) partition by range (id);
      create table fit_1 partition of fit for values from (0) to (9); alter table fit_1 replica identity full;
      create table fit_2 partition of fit for values from (10) to (19); create unique index fit_u on fit_2 (u, id);
      alter table fit_2 replica identity using index fit_u`)
    expect(await join('fit')).toBeUndefined()
  })
})

/** Watches a table as capture does; the log is what the test says it is. */
async function watch(table: string, options: { readonly record?: (found: Fingerprint) => Fingerprint } = {}) {
  const changes: string[] = []
  const truncations = createTruncations()
  let through = 0n
  let recorded: Fingerprint | undefined
  const start = () =>
    createCatalogWatch({
      directory: {
        fingerprint: () => recorded,
        setFingerprint(_: unknown, found: Fingerprint) {
          recorded = found
        },
      } as never,
      log: createLogger('test', 'silent'),
      through: () => through,
      truncations,
      onChange(_, change, afterSent) {
        changes.push(change.message)
        afterSent()
      },
    })
  const [row] = await connection.query('SELECT $1::regclass::oid::text AS oid', [`public.${table}`])
  const member = { ...named(table), oid: Number(row?.oid), entry: '', narrowed: false }
  let catalog = start()
  await catalog.lookAtAll(connection, [member])
  if (options.record && recorded) {
    recorded = options.record(recorded)
    catalog = start()
  }
  return {
    /** Looks again; says what is wrong, if anything. */
    async look(): Promise<string | undefined> {
      await catalog.lookAtAll(connection, [member])
      return changes.at(-1)
    },
    truncated: (xid: number) => truncations.add(member.oid, xid),
    readAll() {
      through = 1n << 62n
    },
  }
}

/** With p_0, p_1 and the sub-root p_2 of one leaf, a row in each. */
async function makeTable(name: string): Promise<void> {
  await sql(`create table ${name} (id int primary key, v text) partition by range (id);
    create table ${name}_0 partition of ${name} for values from (0) to (10);
    create table ${name}_1 partition of ${name} for values from (10) to (20);
    create table ${name}_2 partition of ${name} for values from (20) to (30) partition by range (id);
    create table ${name}_2a partition of ${name}_2 for values from (20) to (30);
    insert into ${name} values (1, 'a'), (11, 'b'), (21, 'c')`)
}

describe('the rows of a partition', () => {
  const EMPTIED: Record<string, readonly [ddl: string, partition: string]> = {
    truncated: ['truncate $_1', '1'],
    'truncated by its sub-root': ['truncate $_2', '2a'],
    'truncated and filled': [`begin; truncate $_1; insert into $ values (12, 'n'); commit`, '1'],
    'truncated in a part of the transaction that fills it': [
      `begin; insert into $ values (2); savepoint s; truncate $_1; release s; insert into $ values (12); commit`,
      '1',
    ],
    'truncated and counted': ['truncate $_1; analyze $_1', '1'],
    'truncated, filled, counted and granted': [
      'truncate $_1; insert into $ values (12); analyze $_1; grant select on $_1 to public',
      '1',
    ],
    'truncated beside others': ['truncate $_0, $_1', '0'],
  }
  it.each(Object.entries(EMPTIED))('that was %s are gone', async (what, [ddl, partition]) => {
    const table = `gone_${Object.keys(EMPTIED).indexOf(what)}`
    await makeTable(table)
    await sql(`analyze ${table}`)
    const watched = await watch(table)
    await each(ddl.replaceAll('$', table))
    expect(await watched.look()).toMatch(`partition ${table}_${partition} was emptied, which the log`)
  })

  it('are gone when a transaction that is older than the TRUNCATE writes after it', async () => {
    await makeTable('late')
    const watched = await watch('late')
    await withClient(database.url, async (client) => {
      await client.query('begin; insert into late values (2)')
      await sql('truncate late_1')
      await client.query('insert into late values (12); commit')
    })
    expect(await watched.look()).toMatch('partition late_1 was emptied')
  })

  it.each<[string, string]>([
    ['vacuum full', 'vacuum full $_1'],
    ['cluster', 'cluster $_1 using $_1_pkey'],
    ['vacuum freeze', 'vacuum (freeze, full) $_1'],
    ['a generated column', 'alter table $ add g int generated always as (id + 1) stored'],
    [
      'a new partition',
      `create table $_3 partition of $ for values from (30) to (40); insert into $ values (31, 'x')`,
    ],
    ['vacuum full of one that never had a row', 'vacuum full $_9'],
    [
      'another tablespace',
      `set allow_in_place_tablespaces = on; create tablespace $ location ''; alter table $_1 set tablespace $`,
    ],
  ])('survive %s', async (what, ddl) => {
    const table = `kept_${what.replaceAll(' ', '_')}`
    await makeTable(table)
    await sql(`create table ${table}_9 partition of ${table} for values from (90) to (99)`)
    const watched = await watch(table)
    await each(ddl.replaceAll('$', table))
    watched.readAll()
    expect(await watched.look()).toBeUndefined()
  })

  it('are taken for gone where they may not be read', async () => {
    await makeTable('hidden')
    const watched = await watch('hidden')
    await sql('create role limited; grant select on hidden to limited')
    await sql('vacuum full hidden_1')
    await connection.query('SET ROLE limited')
    const found = await watched.look().finally(() => connection.query('RESET ROLE'))
    expect(found).toMatch('partition hidden_1 was emptied')
  })

  it('that were truncated with all the others are gone unless the log says so', async () => {
    await makeTable('root')
    const watched = await watch('root')
    const truncate = (tables: string) =>
      withClient(database.url, async (client) => {
        await client.query(`begin; truncate ${tables}`)
        const { rows } = await client.query('select pg_current_xact_id()::text as xid')
        await client.query('commit')
        return Number(rows[0].xid)
      })
    const xid = await truncate('root')
    expect(await watched.look()).toBeUndefined()
    watched.truncated(xid)
    watched.readAll()
    expect(await watched.look()).toBeUndefined()
    await sql(`insert into root values (1), (11), (21)`)
    await truncate('root_0, root_1, root_2')
    expect(await watched.look()).toMatch('partition root_0 was emptied')
  })
})

describe('a partition', () => {
  it.each<[string, string, RegExp | undefined]>([
    [
      'detached, changed and attached again',
      `begin; alter table $ detach partition $_1; delete from $_1; alter table $ attach partition $_1 for values from (10) to (20); commit`,
      /_1 was detached and attached again/,
    ],
    [
      'whose table is detached and attached again',
      `begin; alter table $ detach partition $_2; update $_2a set v = 'x'; alter table $ attach partition $_2 for values from (20) to (30); commit`,
      /_2a was detached and attached again/,
    ],
    [
      'created and filled in a part of the transaction that attaches it',
      `begin; savepoint s; create table $_3 (like $ including all); insert into $_3 values (31); release s;
       alter table $ attach partition $_3 for values from (30) to (40); commit`,
      /_3 was attached with rows in it/,
    ],
    [
      'filled in a part of the transaction that creates and attaches it',
      `begin; create table $_3 (like $ including all); savepoint s; insert into $_3 values (31); release s;
       alter table $ attach partition $_3 for values from (30) to (40); commit`,
      /_3 was attached with rows in it/,
    ],
    [
      'filled before its table was attached',
      `create table $_3 (like $ including all) partition by range (id); create table $_3a partition of $_3 for values from (30) to (40);
       insert into $_3 values (31); alter table $ attach partition $_3 for values from (30) to (40)`,
      /_3a was attached with rows in it/,
    ],
    [
      'created in place and written at once',
      `begin; insert into $ values (2); create table $_3 partition of $ for values from (30) to (40); savepoint s; insert into $ values (31);
       release s; insert into $_3 values (32); commit; insert into $ values (33); alter table $ add w int default 7`,
      undefined,
    ],
    [
      'attached without rows',
      `create table $_3 (like $ including all); alter table $ attach partition $_3 for values from (30) to (40)`,
      undefined,
    ],
  ])('%s', async (what, ddl, message) => {
    const table = `part_${what.replaceAll(/[ ,]+/g, '_').slice(0, 50)}`
    await makeTable(table)
    const watched = await watch(table)
    await sql(ddl.replaceAll('$', table))
    const found = await watched.look()
    if (message) expect(found).toMatch(message)
    else expect(found).toBeUndefined()
  })

  it('is filled by a transaction that is younger than the one that attaches it', async () => {
    await makeTable('young')
    const watched = await watch('young')
    await sql('create table young_3 (like young including all)')
    await withClient(database.url, async (client) => {
      await client.query('begin; insert into young values (2)')
      await sql('insert into young_3 values (31)')
      await client.query('alter table young attach partition young_3 for values from (30) to (40); commit')
    })
    expect(await watched.look()).toMatch('partition young_3 was attached with rows in it')
  })

  it('created below one that was attached before is created in place', async () => {
    await makeTable('below')
    await sql(`create table below_3 (like below including all) partition by range (id);
      create table below_3a partition of below_3 for values from (30) to (35);
      alter table below attach partition below_3 for values from (30) to (40)`)
    const watched = await watch('below')
    await sql('create table below_3b partition of below_3 for values from (35) to (40)')
    await sql('insert into below values (36)')
    expect(await watched.look()).toBeUndefined()
  })

  it('of which every column has a default is still known to be created in place', async () => {
    await sql(`create table given (id int default 1, v int default 2) partition by range (id)`)
    const watched = await watch('given')
    await sql(
      'create table given_1 partition of given for values from (0) to (10); insert into given values (1)',
    )
    expect(await watched.look()).toBeUndefined()
  })

  it('that lost changes stops the table once it is mended; until then it is refused', async () => {
    await makeTable('mended')
    await sql('alter table mended replica identity full')
    await sql('create unique index mended_u on mended_1 (v); alter table mended_1 alter v set not null')
    const watched = await watch('mended')
    await sql('alter table mended_1 replica identity using index mended_u')
    expect(await watched.look()).toBeUndefined()
    expect(await check('mended')).toMatchObject({ code: 'NoReplicaIdentity' })
    await sql('alter table mended_1 replica identity default')
    expect(await watched.look()).toMatch(
      'partition mended_1 had deletes and changes of keys that do not say of which row',
    )
    expect(await check('mended')).toBeUndefined()
  })

  it('that was unlogged stops the table once it is logged again', async () => {
    await makeTable('logged')
    const watched = await watch('logged')
    await sql('alter table logged_1 set unlogged')
    expect(await watched.look()).toBeUndefined()
    expect(await check('logged')).toMatchObject({ code: 'TableNotFound' })
    await sql('alter table logged_1 set logged')
    expect(await watched.look()).toMatch('partition logged_1 was unlogged for a time')
  })

  it('is compared with records of before its particulars were remembered', async () => {
    await makeTable('old')
    const record = (found: Fingerprint): Fingerprint => ({
      ...found,
      leaves: found.leaves.map(({ oid, name, filenode }) => ({ oid, name, filenode })),
    })
    const watched = await watch('old', { record })
    await sql('create table old_3 partition of old for values from (30) to (40); insert into old values (31)')
    expect(await watched.look()).toBeUndefined()
    await sql('truncate old_3')
    expect(await watched.look()).toMatch('partition old_3 was emptied')
  })
})
