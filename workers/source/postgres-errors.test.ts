import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import { type ErrorPlace, postgresError, sqlState } from './postgres-errors.ts'

const place: ErrorPlace = {
  field: 'spec.source.postgres',
  credentialsField: 'spec.source.postgres.credentialsSecretRef',
  host: 'db',
  port: 5432,
  database: 'app',
  user: 'me',
  connecting: true,
}
const server = (code: string, message: string) =>
  Object.assign(new Error(message), { code, severity: 'ERROR' })
const system = (code: string, message = code) => Object.assign(new Error(message), { code })

describe('postgresError', () => {
  it.each<[Error, string, string | undefined]>([
    [server('28P01', 'password authentication failed'), 'AuthenticationFailed', 'credentialsSecretRef'],
    [server('28000', 'no pg_hba.conf entry'), 'AuthenticationFailed', 'credentialsSecretRef'],
    [server('3D000', 'database does not exist'), 'DatabaseNotFound', 'database'],
    [server('53300', 'too many clients'), 'TooManyConnections', ''],
    [server('42501', 'permission denied'), 'PermissionDenied', 'credentialsSecretRef'],
    [server('57P03', 'the database system is starting up'), 'ConnectionLost', 'host'],
    [server('57P01', 'terminating connection due to administrator command'), 'ConnectionLost', 'host'],
    [server('25P03', 'idle-in-transaction timeout'), 'ConnectionLost', 'host'],
    [server('55P03', 'canceling statement due to lock timeout'), 'LockTimeout', undefined],
    [server('40P01', 'deadlock detected'), 'LockTimeout', undefined],
    [server('57014', 'canceling statement due to statement timeout'), 'DeadlineExceeded', undefined],
    [server('40001', 'canceling statement due to conflict with recovery'), 'ReplicaConflict', undefined],
    [server('57P01', 'terminating connection due to conflict with recovery'), 'ReplicaConflict', undefined],
    [server('22023', 'invalid snapshot identifier: "0-1"'), 'SnapshotLost', undefined],
    [server('42704', 'snapshot "00000004-1" does not exist'), 'SnapshotLost', undefined],
    [server('42P01', 'relation "t" does not exist'), 'TableNotFound', undefined],
    [server('55006', 'replication slot "s" is active for PID 7'), 'SlotInUse', 'slot'],
    [system('ECONNREFUSED'), 'HostUnreachable', 'host'],
    [system('ENOTFOUND'), 'HostUnreachable', 'host'],
    [new Error('timeout expired'), 'HostUnreachable', 'host'],
    [system('SELF_SIGNED_CERT_IN_CHAIN'), 'TLSFailed', 'sslMode'],
    [system('ERR_TLS_CERT_ALTNAME_INVALID'), 'TLSFailed', 'sslMode'],
    [new Error('The server does not support SSL connections'), 'TLSFailed', 'sslMode'],
    [
      server('42704', 'unrecognized configuration parameter "idle_session_timeout"'),
      'UnsupportedServer',
      'host',
    ],
    [new AggregateError([system('ECONNREFUSED'), system('EHOSTUNREACH')]), 'HostUnreachable', 'host'],
    [server('XX000', 'cache lookup failed'), 'Internal', undefined],
  ])('%s is %s', (thrown, code, field) => {
    const error = postgresError(thrown, place)
    const expected =
      field === undefined ? undefined : [place.field, field].filter((part) => part !== '').join('.')
    expect(error).toMatchObject({ code, field: expected, cause: thrown })
    if (expected !== undefined) expect(error.message).toContain(expected)
  })

  it('calls a network error within a session a lost connection', () => {
    expect(postgresError(system('ETIMEDOUT'), { ...place, connecting: false }).code).toBe('ConnectionLost')
    expect(
      postgresError(new Error('Connection terminated unexpectedly'), { ...place, connecting: false }).code,
    ).toBe('ConnectionLost')
  })

  it('leaves out what the server says of values', () => {
    const error = postgresError(server('23505', 'Key (card)=(4711) already exists'), place)
    expect(error.message).toContain('SQLSTATE 23505')
    expect(error.message).not.toContain('4711')
  })

  it('passes its own errors through', () => {
    const error = new MillraceError('SecretMissing', 'm')
    expect(postgresError(error, place)).toBe(error)
  })
})

describe('sqlState', () => {
  it('is found behind an error, and not taken from the system', () => {
    expect(sqlState(postgresError(server('55006', 'x'), place))).toBe('55006')
    expect(sqlState(system('EPIPE'))).toBeUndefined()
    expect(sqlState('text')).toBeUndefined()
  })
})
