import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query, startPrimary } from '../../hack/services/postgres.ts'
import type { MillraceError } from '../../lib/errors.ts'
import { readTableDefinition } from '../../workers/source/catalog.ts'
import { dropSlotAndPublication } from '../../workers/source/cleanup.ts'
import { openConnection, type PostgresTarget } from '../../workers/source/connect.ts'
import { readServerIdentity } from '../../workers/source/identity.ts'
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
import { targetOf } from './postgres-target.ts'
import { tempDir, withClient } from './services.ts'
import { field, named, signal, useDatabase, wait } from './source-fixture.ts'

const { connect, sql, url } = useDatabase('source_test')

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
    await withClient(url(), async (client) => {
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
    const connection = await connect(url(), { secrets })
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
    await withClient(url(), async (first) => {
      await first.query('begin; insert into written values (1)')
      let isOver = false
      const waiting = waitForWriters(connection, { ...named('written'), oid }, options).then(() => {
        isOver = true
      })
      await until(async () => messages.length > 0, { what: 'a message', timeoutMs: 30_000 })
      await withClient(url(), async (second) => {
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
    await withClient(url(), async (client) => {
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
    const reader = await openConnection(targetOf(url()), { purpose: 'replication', signal })
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
