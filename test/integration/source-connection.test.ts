import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../hack/process/ports.ts'
import { run } from '../../hack/process/run.ts'
import { until } from '../../hack/process/wait.ts'
import { type PostgresHandle, query, startPrimary } from '../../hack/services/postgres.ts'
import { MillraceError } from '../../lib/errors.ts'
import { inTransaction, openConnection, type PostgresTarget } from '../../workers/source/connect.ts'
import { hostileSettings } from './hostile-settings.ts'
import { targetOf } from './postgres-target.ts'
import { createDatabase, tempDir, withClient } from './services.ts'
import { useDatabase } from './source-fixture.ts'

const { connect, sql, url } = useDatabase('source_connection')

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
    const error = await connect(url(), change()).catch((thrown: unknown) => thrown as MillraceError)
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
    await connect(url(), { secrets })
    await sql(`alter role rotating password 'second'`)
    await expect(connect(url(), { secrets })).rejects.toMatchObject({ code: 'AuthenticationFailed' })
    password = 'second'
    await connect(url(), { secrets })
  })

  it('breaks off in the middle of a statement when its signal aborts', async () => {
    const stop = new AbortController()
    const connection = await openConnection(targetOf(url()), { purpose: 'scan', signal: stop.signal })
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
    await withClient(url(), async (client) => {
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
