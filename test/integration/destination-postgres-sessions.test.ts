import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { createSessions } from '../../workers/destination/postgres/sessions.ts'
import { chunkOf, define, hard, nameOf, never, openOn, prepare } from './destination-postgres-fixture.ts'
import { targetOf } from './postgres-target.ts'
import { createDatabase, onDatabase } from './services.ts'

const { url } = await createDatabase('destination_sessions', 'destination')
const one = openOn(url)

beforeAll(() => one.ledger.open(never))
afterAll(() => one.close())

const simple = (name: string) => define(name, ['id integer', 'v text'], ['id'])

describe('the first look at a destination', () => {
  async function as(user: string, sql: string, changes?: { schema?: string }) {
    await query(url, `drop role if exists ${user}; create role ${user} login password 'p'`)
    const { url: fresh } = await createDatabase(`destination_${user}`, 'destination')
    await query(fresh, `revoke create on schema public from public; ${sql}`)
    const login = new URL(fresh)
    login.username = user
    login.password = 'p'
    return openOn(login.href, 'pipeline-1', changes)
  }

  it('is content with the right to create', async () => {
    const destination = await as('creator', 'grant create on database destination_creator to creator')
    await destination.check(never)
    await destination.check(never)
    const definition = { ...simple('t'), schema: 'its_own' }
    await destination.ensureTable(nameOf(definition), definition, hard, never)
    await destination.close()
  })

  it('is content with schemas that were made for it', async () => {
    const destination = await as(
      'guest',
      'create schema millrace authorization guest; create schema raw; grant usage, create on schema raw to guest',
      { schema: 'raw' },
    )
    await destination.check(never)
    await destination.close()
  })

  it.each([
    ['no_ledger', '', {}, 'ledgerSchema', /CREATE on the database/],
    [
      'no_temporary',
      'revoke temporary on database destination_no_temporary from public',
      {},
      'database',
      /GRANT TEMPORARY ON DATABASE destination_no_temporary TO "no_temporary"/,
    ],
    ['half_ledger', 'create schema millrace', {}, 'ledgerSchema', /USAGE and CREATE/],
    [
      'no_schema',
      'create schema millrace authorization no_schema',
      { schema: 'raw' },
      'schema',
      /create schema "raw"/,
    ],
    [
      'half_schema',
      'create schema millrace authorization half_schema; create schema raw',
      { schema: 'raw' },
      'schema',
      /GRANT USAGE, CREATE ON SCHEMA "raw" TO "half_schema"/,
    ],
  ])('says what a user lacks: %s', async (user, sql, changes, field, cure) => {
    const destination = await as(user, sql, changes)
    await expect(destination.check(never)).rejects.toMatchObject({
      code: 'PermissionDenied',
      field: `spec.destination.postgres.${field}`,
      message: expect.stringMatching(cure),
    })
    await destination.close()
  })

  it.each([
    ['DatabaseNotFound', (given: URL) => onDatabase(given.href, 'nowhere')],
    ['AuthenticationFailed', (given: URL) => given.href.replace(/:\/\/[^@]*@/, '://postgres:wrong@')],
    ['HostUnreachable', (given: URL) => given.href.replace(/:\d+\//, ':1/')],
  ])('says %s', async (code, change) => {
    const destination = openOn(change(new URL(url)))
    await expect(destination.check(never)).rejects.toMatchObject({
      code,
      retryable: true,
      field: expect.stringContaining('spec.destination.postgres'),
    })
    await destination.close()
  })
})

describe('sessions', () => {
  const sessionsOf = (process: string) =>
    query<{ n: number }>(
      url,
      `select count(*)::int as n from pg_stat_activity where application_name = '${process}'`,
    )

  it('are ended with the destination, also those at work', async () => {
    await query(url, `select pg_sleep(0)`)
    const destination = openOn(url, 'pipeline-1', {})
    await destination.ledger.readTables(never)
    const definition = simple('closing')
    const { fence } = await prepare(destination, definition, { uid: 'closing', action: 'Truncate' })
    const started = Promise.withResolvers<void>()
    const chunk = chunkOf(fence, definition, [], {
      async *read() {
        yield Buffer.from('1\ta\n')
        started.resolve()
        await new Promise(() => {})
      },
    })
    const written = destination.writeChunk(chunk, never)
    await started.promise
    await Promise.all([destination.close(), expect(written).rejects.toThrow('closed')])
    await destination.close()
    await expect(destination.ledger.readTables(never)).rejects.toThrow('closed')
    expect(await query(url, 'select * from closing')).toEqual([])
  })

  function sessions(max: number, idleMilliseconds: number) {
    const target = targetOf(url, {
      field: 'spec.destination.postgres',
      credentials: { mount: 'destination', field: 'f' },
      process: 'pooled',
    })
    return createSessions(target, max, idleMilliseconds)
  }
  const settles = (n: number) =>
    until(async () => (await sessionsOf('millrace-pooled'))[0]?.n === n, {
      what: `${n} sessions`,
      timeoutMs: 30_000,
    })

  it('are few, are waited for in turn, and end when nobody needs them', async () => {
    const pool = sessions(2, 200)
    let most = 0
    let working = 0
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        pool.use(never, async (session) => {
          most = Math.max(most, ++working)
          const [row] = await session.query('select pg_sleep(0.005)::text || $1 as n', [String(n)])
          working--
          return Number(row?.n)
        }),
      ),
    )
    expect(results).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(most).toBe(2)
    await settles(0)
    await pool.use(never, (session) => session.query('select 1'))
    await settles(1)
    await settles(0)
    await pool.close()
  })

  it('that are waited for can be given up', async () => {
    const pool = sessions(1, 60_000)
    const busy = Promise.withResolvers<void>()
    const first = pool.use(never, () => busy.promise)
    const stop = new AbortController()
    const second = pool.use(stop.signal, (session) => session.query('select 1'))
    stop.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    busy.resolve()
    await first
    expect(await pool.use(never, (session) => session.query('select 1 as one'))).toEqual([{ one: '1' }])
    await pool.close()
  })

  it('keep what was committed, whatever the database’s default', async () => {
    const name = new URL(url).pathname.slice(1)
    await query(url, `alter database ${name} set synchronous_commit to off`)
    const pool = sessions(1, 60_000)
    const settings = await pool.use(never, (session) =>
      session.query(
        `select current_setting('synchronous_commit') as sync, current_setting('xmloption') as xml`,
      ),
    )
    expect(settings).toEqual([{ sync: 'on', xml: 'content' }])
    await query(url, `alter database ${name} reset synchronous_commit`)
    await pool.close()
  })

  it('that were killed while idle are replaced', async () => {
    await Promise.all([one.ledger.readTables(never), one.ledger.readTables(never)])
    await query(
      url,
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'millrace-test' and datname = current_database()`,
    )
    await until(async () => (await sessionsOf('millrace-test'))[0]?.n === 0, {
      what: 'the end of the sessions',
      timeoutMs: 30_000,
    })
    await one.ledger.readTables(never)
  })
})
