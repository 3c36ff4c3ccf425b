import { MillraceError } from '../../lib/errors.ts'
import type { Connection } from './connect.ts'
import { type LSN, parseLSN } from './lsn.ts'

/** Which server is at the other end of a connection. */
export interface ServerIdentity {
  /** Identity of the database cluster, the same on primary and replicas; a decimal number as text. */
  readonly systemIdentifier: string
  readonly timeline: number
  /** Address of the server as it sees it itself; empty for a Unix socket. */
  readonly address: string
  readonly port: number
  /** ISO-like text; with the address it tells one server from another behind the same name. */
  readonly startTime: string
  /** True on a replica. */
  readonly inRecovery: boolean
}

/** Asks the server who it is. */
export async function readServerIdentity(connection: Connection): Promise<ServerIdentity> {
  // A replica's control file learns of a new timeline late, and what was received is shown to privileged users only: the
  // highest that can be seen is the best there is.
  const [row] = await connection.query(`
    SELECT s.system_identifier,
           CASE WHEN pg_is_in_recovery()
                THEN greatest((SELECT received_tli FROM pg_stat_wal_receiver),
                              (SELECT min_recovery_end_timeline FROM pg_control_recovery()), c.timeline_id)
                ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
           coalesce(host(inet_server_addr()), '') AS address, coalesce(inet_server_port(), 0) AS port,
           pg_postmaster_start_time() AS start_time, pg_is_in_recovery() AS in_recovery
    FROM pg_control_system() s, pg_control_checkpoint() c`)
  return {
    systemIdentifier: row?.system_identifier ?? '',
    timeline: Number(row?.timeline),
    address: row?.address ?? '',
    port: Number(row?.port),
    startTime: row?.start_time ?? '',
    inRecovery: row?.in_recovery === 't',
  }
}

/** What a log, and a place in it, belong to. */
export type SourceIdentity = Pick<ServerIdentity, 'systemIdentifier' | 'timeline'>

/** Why a server does not write the log that was begun with, in words for a person; undefined when it does. */
export function whyNotSameSource(found: ServerIdentity, expected: SourceIdentity): string | undefined {
  if (found.systemIdentifier !== expected.systemIdentifier) {
    return `leads to another database cluster now (system identifier ${found.systemIdentifier}, before ${expected.systemIdentifier})`
  }
  if (found.timeline !== expected.timeline) {
    return `leads to a server on timeline ${found.timeline} now, before ${expected.timeline}: a replica was promoted or a backup restored`
  }
  return found.inRecovery ? 'leads to a replica now' : undefined
}

/**
 * Makes sure that a connection leads to the primary that was examined: an address may come to lead elsewhere while older
 * connections go on. Throws `SourceChanged`, retryable: who begins anew finds out what that means.
 */
export async function assertSameSource(connection: Connection, expected: SourceIdentity): Promise<void> {
  const why = whyNotSameSource(await readServerIdentity(connection), expected)
  if (why === undefined) return
  const field = `${connection.place.field}.host`
  throw new MillraceError('SourceChanged', `${field}: it ${why}`, { field, retryable: true })
}

/** What the database's text is in, such as `UTF8`. */
export async function readEncoding(connection: Connection): Promise<string> {
  const [row] = await connection.query("SELECT current_setting('server_encoding') AS encoding")
  return row?.encoding ?? ''
}

/** Whether two connections reach the same running server. */
export function isSameServer(a: ServerIdentity, b: ServerIdentity): boolean {
  return (
    a.systemIdentifier === b.systemIdentifier &&
    a.address === b.address &&
    a.port === b.port &&
    a.startTime === b.startTime
  )
}

/**
 * How far a replica has replayed the log, and whether it still is one (rule R10). A statement of its own: it must be
 * finished before the transaction that takes the snapshot begins.
 */
export async function readReplayPosition(
  connection: Pick<Connection, 'query'>,
): Promise<{ readonly inRecovery: boolean; readonly replayed: LSN }> {
  const [row] = await connection.query(
    "SELECT pg_is_in_recovery() AS in_recovery, coalesce(pg_last_wal_replay_lsn(), '0/0') AS replayed",
  )
  return { inRecovery: row?.in_recovery === 't', replayed: parseLSN(row?.replayed ?? '0/0') }
}

/** End of the log on the primary: what is written, and what is safe on disk (rule R13). */
export async function readLogEnd(
  connection: Connection,
): Promise<{ readonly inserted: LSN; readonly flushed: LSN }> {
  const [row] = await connection.query(
    'SELECT pg_current_wal_insert_lsn() AS inserted, pg_current_wal_flush_lsn() AS flushed',
  )
  return { inserted: parseLSN(row?.inserted ?? ''), flushed: parseLSN(row?.flushed ?? '') }
}
