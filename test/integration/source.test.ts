import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../hack/process/ports.ts'
import { run } from '../../hack/process/run.ts'
import { until } from '../../hack/process/wait.ts'
import { type PostgresHandle, query, startPrimary } from '../../hack/services/postgres.ts'
import { MillraceError } from '../../lib/errors.ts'
import { readFingerprint } from '../../workers/capture/catalog.ts'
import { estimateRows, leafTables, readTableDefinition } from '../../workers/source/catalog.ts'
import { dropSlotAndPublication } from '../../workers/source/cleanup.ts'
import {
  type Connection,
  inTransaction,
  openConnection,
  type PostgresTarget,
} from '../../workers/source/connect.ts'
import { isSameServer, readReplayPosition, readServerIdentity } from '../../workers/source/identity.ts'
import { ownerComment } from '../../workers/source/owner.ts'
import {
  ensurePublication,
  isMember,
  joinTable,
  leaveTable,
  readMembers,
} from '../../workers/source/publication.ts'
import { readSlot } from '../../workers/source/slot.ts'
import {
  waitForOlderTransactions,
  waitForVisible,
  waitForWriters,
  writeHold,
  writeRelease,
} from '../../workers/source/watermark.ts'
import { hostileSettings } from './hostile-settings.ts'
import { createDatabase, type TestDatabase, tempDir, withClient } from './services.ts'

const signal = AbortSignal.timeout(600_000)
const opened: Connection[] = []
let database: TestDatabase

beforeAll(async () => {
  database = await createDatabase('source_test')
})
afterEach(async () => {
  await Promise.all(opened.splice(0).map((connection) => connection.close()))
})

function targetOf(url: string, change: Partial<PostgresTarget> = {}, password = 'postgres'): PostgresTarget {
  const { hostname, port, pathname, username } = new URL(url)
  return {
    host: hostname,
    port: Number(port),
    database: pathname.slice(1),
    sslMode: 'Disable',
    field: 'spec.source.postgres',
    credentials: { mount: 'source', field: 'spec.source.postgres.credentialsSecretRef' },
    ca: undefined,
    secrets: { read: async (_, file) => (file === 'username' ? username : password) },
    process: 'test',
    ...change,
  }
}

async function connect(url = database.url, change: Partial<PostgresTarget> = {}): Promise<Connection> {
  const connection = await openConnection(targetOf(url, change), { purpose: 'query', signal })
  opened.push(connection)
  return connection
}

const sql = (text: string) => query(database.url, text)
const named = (name: string) => ({ schema: 'public', name })
const field = { field: 'spec.tables[0]' }
const wait = { signal, deadlineMilliseconds: 20_000 }

describe('a connection', () => {
  it.each<[string, () => Partial<PostgresTarget>, string, string]>([
    ['nobody listens', () => ({ port: 1 }), 'HostUnreachable', 'spec.source.postgres.host'],
    [
      'an unknown name',
      () => ({ host: 'no-such-host.invalid' }),
      'HostUnreachable',
      'spec.source.postgres.host',
    ],
    [
      'an unknown database',
      () => ({ database: 'nope' }),
      'DatabaseNotFound',
      'spec.source.postgres.database',
    ],
    ['a server without TLS', () => ({ sslMode: 'Require' }), 'TLSFailed', 'spec.source.postgres.sslMode'],
    [
      'a wrong password',
      () => ({ secrets: { read: async (_, file) => (file === 'username' ? 'postgres' : 'wr0ng') } }),
      'AuthenticationFailed',
      'spec.source.postgres.credentialsSecretRef',
    ],
  ])('to %s fails with code, field and cure', async (_, change, code, at) => {
    const error = await connect(database.url, change()).catch((thrown: unknown) => thrown as MillraceError)
    expect(error).toBeInstanceOf(MillraceError)
    expect(error).toMatchObject({ code, field: at, retryable: true, message: expect.stringContaining(at) })
    expect(String(error)).not.toContain('wr0ng')
  })

  it('reads the Secret anew each time', async () => {
    await sql(`create role rotating login password 'first'`)
    let password = 'first'
    const secrets: PostgresTarget['secrets'] = {
      read: async (_, file) => (file === 'username' ? 'rotating' : password),
    }
    await connect(database.url, { secrets })
    await sql(`alter role rotating password 'second'`)
    await expect(connect(database.url, { secrets })).rejects.toMatchObject({ code: 'AuthenticationFailed' })
    password = 'second'
    await connect(database.url, { secrets })
  })

  it('breaks off in the middle of a statement when its signal aborts', async () => {
    const stop = new AbortController()
    const connection = await openConnection(targetOf(database.url), { purpose: 'scan', signal: stop.signal })
    const sleeping = connection.query('select pg_sleep(60)')
    stop.abort(new Error('enough'))
    await expect(sleeping).rejects.toThrow('enough')
    await until(async () => connection.lost.aborted, { what: 'the end of the connection', timeoutMs: 30_000 })
    await connection.close()
  })

  it('that the server ends is reported as lost, with who did it', async () => {
    const connection = await connect()
    const sleeping = connection.query('select pg_sleep(60)').catch((thrown: unknown) => thrown)
    await until(
      async () => {
        const rows = await sql(
          `select pg_terminate_backend(pid) from pg_stat_activity where pid = ${connection.processId} and state = 'active'`,
        )
        return rows.length > 0
      },
      { what: 'the statement to run', timeoutMs: 30_000 },
    )
    expect(await sleeping).toMatchObject({ code: 'ConnectionLost', retryable: true })
    await expect(connection.query('select 1')).rejects.toMatchObject({ code: 'ConnectionLost' })
  })

  it('says which lock or statement took too long', async () => {
    const connection = await connect()
    await sql('create table locked (id int primary key)')
    await withClient(database.url, async (client) => {
      await client.query('begin; lock table locked')
      await connection.query(`set lock_timeout = '100ms'`)
      await expect(connection.query('select * from public.locked')).rejects.toMatchObject({
        code: 'LockTimeout',
      })
      await connection.query(`set lock_timeout = 0; set statement_timeout = '100ms'`)
      await expect(connection.query('select * from public.locked')).rejects.toMatchObject({
        code: 'DeadlineExceeded',
        retryable: true,
      })
    })
  })

  it('never quotes a row in an error', async () => {
    const connection = await connect()
    await sql(
      `create table unique_values (secret text primary key); insert into unique_values values ('hush')`,
    )
    const errors = await Promise.all(
      [`insert into public.unique_values values ('hush')`, `select 'hush'::int`].map((text) =>
        connection.query(text).catch((thrown: unknown) => String(thrown)),
      ),
    )
    expect(errors.join()).toContain('SQLSTATE 23505')
    expect(errors.join()).not.toContain('hush')
  })

  it('outlives its errors and finds all rows, whatever the database is set to', async () => {
    const hostile = await createDatabase('source_hostile')
    await query(
      hostile.url,
      `create table t (tags integer[]);
       insert into t select '{1}' from generate_series(1, 20000);
       create index on t using gin (tags); analyze t;
       ${hostileSettings(hostile.name)}`,
    )
    const connection = await connect(hostile.url)
    await expect(connection.query('select 1 / 0')).rejects.toMatchObject({ code: 'Internal' })
    expect(await connection.query(`select count(*) from public.t where tags @> '{1}'`)).toEqual([
      { count: '20000' },
    ])
  })

  it('gives back the rows of a transaction or none', async () => {
    const connection = await connect()
    await sql('create table tx (id int)')
    await expect(
      inTransaction(connection, async () => {
        await connection.query('insert into public.tx values (1)')
        throw new Error('changed my mind')
      }),
    ).rejects.toThrow('changed my mind')
    expect(await connection.query('select * from public.tx')).toEqual([])
  })
})

describe('TLS', () => {
  let server: PostgresHandle
  let certificate = ''

  beforeAll(async () => {
    const dir = tempDir()
    server = await startPrimary({ dir: join(dir, 'tls'), port: await freePort() })
    const [key, cert] = [join(server.dataDir, 'server.key'), join(server.dataDir, 'server.crt')]
    const subject = ['-subj', '/CN=db.example', '-addext', 'subjectAltName=DNS:localhost']
    await run([
      'openssl',
      'req',
      '-x509',
      '-days',
      '1',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      key,
      ...subject,
      '-out',
      cert,
    ])
    await run(['chown', '--reference', server.dataDir, key, cert])
    certificate = readFileSync(cert, 'utf8')
    await query(server.url, 'alter system set ssl = on')
    await server.restart()
  }, 60_000)
  afterAll(() => server.kill9())

  const ca = { mount: 'source-ca', field: 'spec.source.postgres.caSecretRef' } as const
  const withCa = (change: Partial<PostgresTarget>): Partial<PostgresTarget> => ({
    ca,
    secrets: { read: async (_, file) => (file === 'ca.crt' ? certificate : 'postgres') },
    ...change,
  })

  it.each<[string, Partial<PostgresTarget>, boolean]>([
    ['Require does not look at the certificate', { sslMode: 'Require' }, true],
    ['VerifyCA trusts public authorities only', { sslMode: 'VerifyCA' }, false],
    ['VerifyCA with the authority does not look at the name', withCa({ sslMode: 'VerifyCA' }), true],
    ['VerifyFull looks at the name', withCa({ sslMode: 'VerifyFull' }), false],
    ['VerifyFull is content with the right name', withCa({ sslMode: 'VerifyFull', host: 'localhost' }), true],
  ])('%s', async (_, change, works) => {
    const result = connect(server.url, change)
    if (!works)
      return expect(result).rejects.toMatchObject({
        code: 'TLSFailed',
        field: 'spec.source.postgres.sslMode',
      })
    const [row] = await (await result).query('select ssl::text from pg_stat_ssl where pid = pg_backend_pid()')
    expect(row?.ssl).toBe('true')
  })
})

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
    const [a, b, replica] = await Promise.all([connect(), connect(), connect(database.replicaUrl)])
    const [one, two, three] = await Promise.all([a, b, replica].map(readServerIdentity))
    if (!one || !two || !three) throw new Error('no identity')
    expect(isSameServer(one, two)).toBe(true)
    expect(isSameServer(one, three)).toBe(false)
    expect(three).toMatchObject({ systemIdentifier: one.systemIdentifier, timeline: 1, inRecovery: true })
    expect((await readReplayPosition(replica)).replayed).toBeGreaterThan(0n)
    expect(await readReplayPosition(a)).toEqual({ inRecovery: false, replayed: 0n })
  })
})

describe('the publication', () => {
  const names = { publication: 'Pub "x"', slot: 'source_test' }

  it('is made once, set right, and refused when it is somebody else’s kind', async () => {
    const connection = await connect()
    const first = await ensurePublication(connection, names.publication, 'me')
    expect(first.owner).toBe('me')
    expect(await ensurePublication(connection, names.publication, 'you')).toEqual(first)
    await sql(`alter publication "Pub ""x""" set (publish = 'insert', publish_via_partition_root = false)`)
    await ensurePublication(connection, names.publication, 'me')
    expect(await sql(`select pubviaroot, pubdelete from pg_publication where oid = ${first.oid}`)).toEqual([
      { pubviaroot: true, pubdelete: true },
    ])
    await sql('create publication everything for all tables')
    await expect(ensurePublication(connection, 'everything', 'me')).rejects.toMatchObject({
      code: 'InvalidSpec',
      field: 'spec.source.postgres.publication',
    })
  })

  it('is made once by two at the same time', async () => {
    const two = await Promise.all([connect(), connect()])
    const made = await Promise.all(two.map((connection) => ensurePublication(connection, 'raced', 'me')))
    expect(made[0]).toEqual(made[1])
  })

  it('takes a table in and lets it go, each with a message in the same transaction', async () => {
    const connection = await connect()
    await ensurePublication(connection, names.publication, 'me')
    await sql(`create table member (id int primary key); create table child () inherits (member)`)
    await connection
      .query(`select pg_create_logical_replication_slot('source_test', 'test_decoding')`)
      .catch(async () => {
        await connection.query(`select pg_create_logical_replication_slot('source_test', 'pgoutput')`)
      })
    await joinTable(connection, names, named('member'), 'spec.tables[0]')
    await joinTable(connection, names, named('member'), 'spec.tables[0]')
    expect(await readMembers(connection, names.publication)).toMatchObject([named('member')])
    await leaveTable(connection, names, named('member'))
    await leaveTable(connection, names, named('member'))
    expect(await isMember(connection, names.publication, named('member'))).toBe(false)
  })

  it('refuses what it could not replicate, with the SQL that cures it', async () => {
    const connection = await connect()
    await ensurePublication(connection, names.publication, 'me')
    await sql(`create table bare (id int); create table hidden (id int primary key); alter table hidden replica identity nothing;
      create table deferred (id int primary key deferrable); create table hollow (); alter table hollow replica identity full`)
    const failure = (name: string) =>
      joinTable(connection, names, named(name), 'spec.tables[0]').catch(
        (thrown: unknown) => thrown as MillraceError,
      )
    expect(await failure('bare')).toMatchObject({
      code: 'NoReplicaIdentity',
      field: 'spec.tables[0]',
      message: expect.stringContaining('ALTER TABLE "public"."bare" REPLICA IDENTITY FULL'),
    })
    expect(await failure('hidden')).toMatchObject({
      message: expect.stringContaining('REPLICA IDENTITY DEFAULT'),
    })
    expect(await failure('deferred')).toMatchObject({ code: 'NoReplicaIdentity' })
    expect(await failure('hollow')).toMatchObject({
      code: 'ColumnNotFound',
      message: expect.stringContaining('public.hollow has no column that is to be replicated'),
    })
  })

  it('waits only shortly for writers and names them', async () => {
    const connection = await connect()
    await ensurePublication(connection, names.publication, 'me')
    await sql(
      'create table busy (id int primary key) partition by range (id); create table busy_1 partition of busy for values from (0) to (10)',
    )
    await withClient(database.url, async (client) => {
      await client.query('begin; insert into busy_1 values (1)')
      const [row] = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows
      const error = await joinTable(connection, names, named('busy'), 'spec.tables[2]').catch(
        (thrown: unknown) => thrown,
      )
      expect(error).toMatchObject({
        code: 'LockTimeout',
        field: 'spec.tables[2]',
        message: expect.stringContaining(`pid ${row?.pid}`),
      })
    })
    await joinTable(connection, names, named('busy'), 'spec.tables[2]')
  })

  it('can be kept by a user who is no superuser; what is missing is named', async () => {
    await sql(
      `create role keeper login replication password 'k'; create table owned (id int primary key); create table foreign_one (id int primary key)`,
    )
    const secrets: PostgresTarget['secrets'] = {
      read: async (_, file) => (file === 'username' ? 'keeper' : 'k'),
    }
    const connection = await connect(database.url, { secrets })
    await expect(ensurePublication(connection, 'kept', 'me')).rejects.toMatchObject({
      code: 'PermissionDenied',
      message: expect.stringContaining('GRANT CREATE ON DATABASE "source_test" TO "keeper"'),
    })
    await sql('grant create on database source_test to keeper')
    await ensurePublication(connection, 'kept', 'me')
    await expect(
      joinTable(connection, { publication: 'kept', slot: 's' }, named('foreign_one'), 'spec.tables[0]'),
    ).rejects.toMatchObject({ code: 'PermissionDenied', field: 'spec.tables[0]' })
    await sql('alter table owned owner to keeper')
    await joinTable(connection, { publication: 'kept', slot: 's' }, named('owned'), 'spec.tables[0]')
    expect(await readServerIdentity(connection)).toMatchObject({ inRecovery: false })
    await waitForWriters(connection, { ...named('owned'), oid: 1 }, wait)
    await waitForOlderTransactions(connection, wait)
  })
})

describe('watermarks', () => {
  const names = { publication: 'marks', slot: 'marks' }

  it('wait for writers that began before, prepared ones too, and name them; later ones do not matter', async () => {
    const connection = await connect()
    await sql('create table written (id int primary key)')
    const { oid } = await readTableDefinition(connection, named('written'), field)
    const messages: string[] = []
    const options = { ...wait, onWait: (_: unknown, message: string) => void messages.push(message) }
    await withClient(database.url, async (first) => {
      await first.query('begin; insert into written values (1)')
      let isOver = false
      const waiting = waitForWriters(connection, { ...named('written'), oid }, options).then(() => {
        isOver = true
      })
      await until(async () => messages.length > 0, { what: 'a message', timeoutMs: 30_000 })
      await withClient(database.url, async (second) => {
        await second.query('begin; insert into written values (2)')
        expect(isOver).toBe(false)
        await first.query('commit')
        await waiting
        await second.query('rollback')
      })
    })
    expect(messages[0]).toMatch(
      /one of the transactions that write public\.written to end: pid \d+ \(user postgres/,
    )
  })

  it('give up at their deadline', async () => {
    const connection = await connect()
    await sql('create table stuck (id int primary key)')
    const { oid } = await readTableDefinition(connection, named('stuck'), field)
    await withClient(database.url, async (client) => {
      await client.query('begin; insert into stuck values (1)')
      const short = { signal, deadlineMilliseconds: 300 }
      await expect(waitForWriters(connection, { ...named('stuck'), oid }, short)).rejects.toMatchObject({
        code: 'DeadlineExceeded',
      })
      await expect(waitForOlderTransactions(connection, short)).rejects.toMatchObject({
        code: 'DeadlineExceeded',
      })
    })
  })

  it('say what of a table can be in the log unseen: what waits for a synchronous standby, not what has not committed', async () => {
    const server = await startPrimary({ dir: join(tempDir(), 'synchronous') })
    try {
      const connection = await connect(server.url)
      await query(server.url, 'create table seen (id int primary key)')
      const { oid } = await readTableDefinition(connection, named('seen'), field)
      const isAllVisible = () => waitForVisible(connection, { ...named('seen'), oid }, signal)
      await withClient(server.url, async (client) => {
        await client.query('begin; insert into seen values (1)')
        expect(await isAllVisible()).toBe(true)
        await client.query('rollback')
        await query(server.url, "alter system set synchronous_standby_names = 'nobody'")
        await query(server.url, 'select pg_reload_conf()')
        // The setting is shared by the checkpointer, which may come to it late: what was committed before does not wait.
        let id = 0
        let committing: Promise<unknown> | undefined
        const isWaiting = async () => {
          committing ??= client.query('insert into seen values ($1)', [++id]).finally(() => {
            committing = undefined
          })
          return (
            (await connection.query("select 1 from pg_stat_activity where wait_event = 'SyncRep'")).length > 0
          )
        }
        await until(isWaiting, { what: 'a commit that waits', timeoutMs: 30_000 })
        expect(await connection.query('select 1 from public.seen where id = $1', [String(id)])).toEqual([])
        expect(await isAllVisible()).toBe(false)
        await query(server.url, 'alter system reset synchronous_standby_names')
        await query(server.url, 'select pg_reload_conf()')
        await committing
        expect(await isAllVisible()).toBe(true)
      })
    } finally {
      await server.stop()
    }
  })

  it('refuse to hold a table that is not in the publication', async () => {
    const connection = await connect()
    await ensurePublication(connection, 'marks', 'me')
    await sql('create table outside (id int primary key)')
    const mark = { uid: 'u', name: 'n', action: 'Drop', table: named('outside') } as const
    await expect(writeHold(connection, names, mark)).rejects.toMatchObject({
      code: 'TableNotFound',
      retryable: true,
    })
    await joinTable(connection, names, named('outside'), 'spec.tables[0]')
    await writeHold(connection, names, mark)
    await writeRelease(connection, names, mark)
  })
})

describe('cleaning up', () => {
  const names = { slot: 'gone', publication: 'gone' }
  const me = { owner: ownerComment('n', 'me', 'uid-1'), reportedSlot: undefined }

  it('takes slot and publication away, also while somebody reads the slot; twice is no harm', async () => {
    const connection = await connect()
    await ensurePublication(connection, 'gone', me.owner)
    await connection.query(`select pg_create_logical_replication_slot('gone', 'pgoutput')`)
    const reader = await openConnection(targetOf(database.url), { purpose: 'replication', signal })
    reader.client
      .query(`START_REPLICATION SLOT gone LOGICAL 0/0 (proto_version '1', publication_names 'gone')`)
      .catch(() => {})
    await until(async () => (await readSlot(connection, 'gone'))?.activePid !== undefined, {
      what: 'a reader',
      timeoutMs: 30_000,
    })
    expect(await dropSlotAndPublication(connection, names, me, signal)).toBeUndefined()
    expect(await readSlot(connection, 'gone')).toBeUndefined()
    expect(await sql(`select 1 from pg_publication where pubname = 'gone'`)).toEqual([])
    expect(await dropSlotAndPublication(connection, names, me, signal)).toBeUndefined()
    await reader.close()
  })

  it('leaves the slot that another Pipeline reads alone, and says whose it is', async () => {
    const connection = await connect()
    const other = ownerComment('n', 'other', 'uid-2')
    await ensurePublication(connection, 'gone', other)
    await connection.query(`select pg_create_logical_replication_slot('gone', 'pgoutput')`)
    expect(await dropSlotAndPublication(connection, names, me, signal)).toContain(other)
    expect(await readSlot(connection, 'gone')).toBeDefined()
    await sql('drop publication gone')
    expect(await dropSlotAndPublication(connection, names, me, signal)).toContain('never reported')
    expect(await readSlot(connection, 'gone')).toBeDefined()
    const reported = { ...me, reportedSlot: 'gone' }
    expect(await dropSlotAndPublication(connection, names, reported, signal)).toBeUndefined()
    expect(await readSlot(connection, 'gone')).toBeUndefined()
  })

  it('does not touch a slot that is none of ours', async () => {
    const connection = await connect()
    const physical = { slot: 'physical_one', publication: 'none' }
    await connection.query(`select pg_create_physical_replication_slot('physical_one')`)
    await expect(
      dropSlotAndPublication(connection, physical, { ...me, reportedSlot: 'physical_one' }, signal),
    ).rejects.toMatchObject({ code: 'InvalidSpec', field: 'spec.source.postgres.slot' })
    await sql(`select pg_drop_replication_slot('physical_one')`)
  })
})
