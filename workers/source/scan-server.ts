import { MillraceError } from '../../lib/errors.ts'
import type { Connection } from './connect.ts'
import { isSameServer, type ServerIdentity } from './identity.ts'
import { formatLSN, type LSN, parseLSN } from './lsn.ts'

/** A server that a spec names for reading, for messages. */
export interface ScanAddress {
  readonly host: string
  readonly port: number
  /** Spec path of the object that names it. */
  readonly field: string
}

/**
 * Whether a server may be scanned in the name of this primary: a replica of the same system on the same timeline.
 * Throws `ReplicaMismatch`, which is retryable, because a switch-over passes through such states.
 */
export function assertReplica(primary: ServerIdentity, found: ServerIdentity, address: ScanAddress): void {
  if (found.systemIdentifier !== primary.systemIdentifier) {
    throw mismatch(
      address,
      `is a server of another system (system identifier ${found.systemIdentifier}; the primary's is ${primary.systemIdentifier})`,
      'name a streaming replica of spec.source.postgres.host',
    )
  }
  if (isSameServer(primary, found)) {
    throw mismatch(address, 'is the primary itself', 'name a replica, or set readFrom to Primary')
  }
  if (!found.inRecovery) {
    throw mismatch(
      address,
      'is not a replica (any more): pg_is_in_recovery() is false',
      'remove it from the list; if it was promoted, set spec.source.postgres.host to it',
    )
  }
  if (found.timeline !== primary.timeline) {
    throw mismatch(
      address,
      `is on timeline ${found.timeline}, the primary on ${primary.timeline}`,
      'let it follow this primary (after a switch-over this passes by itself)',
    )
  }
}

/**
 * Throws `ReplicaMismatch` unless all connections, open at the same time, have reached one server. A name that is spread over
 * several servers would show each chunk another state.
 */
export function assertOneServer(found: readonly ServerIdentity[], address: ScanAddress): void {
  const [first, ...others] = found
  const other = first && others.find((each) => !isSameServer(first, each))
  if (first === undefined || other === undefined) return
  throw mismatch(
    address,
    `leads to different servers (${serverText(first)} and ${serverText(other)})`,
    'name one replica, not a load balancer',
  )
}

function serverText(server: ServerIdentity): string {
  return `${server.address || 'a local socket'}:${server.port} started ${server.startTime}`
}

function mismatch(address: ScanAddress, found: string, cure: string): MillraceError {
  const { host, port, field } = address
  return new MillraceError('ReplicaMismatch', `${field}.host: ${host}:${port} ${found}; ${cure}`, {
    field: `${field}.host`,
  })
}

/**
 * Throws `SourceChanged` when the primary's log ends before the hold. The hold was durable (rule R4), so this is not the log
 * that it was written to: whoever waited for it would wait until others have written as much again.
 */
export function assertHoldInLog(logEnd: LSN, holdLSN: LSN, address: ScanAddress): void {
  if (logEnd >= holdLSN) return
  const { host, port, field } = address
  throw new MillraceError(
    'SourceChanged',
    `${field}.host: ${host}:${port} has lost the log that the copy begins with: it ends at ${formatLSN(logEnd)}, the copy begins at ${formatLSN(holdLSN)}. A replica was promoted or a backup restored; the table needs a TableBackfill with destinationTable Truncate or Drop`,
    { field: `${field}.host` },
  )
}

/**
 * Throws `ReplicaMismatch` for a replica that has replayed more than its primary has: that primary was restored, and what the
 * replica shows is the history that was given up. It would pass for one that has everything up to the hold.
 *
 * @param flushed end of the primary's log, read after the replica was
 */
export function assertBehind(replayed: LSN, flushed: LSN, address: ScanAddress): void {
  if (replayed <= flushed) return
  throw mismatch(
    address,
    `has replayed to ${formatLSN(replayed)}, but the log of its primary ends at ${formatLSN(flushed)}`,
    'it follows a history that the primary does not have (any more): make it anew from the primary',
  )
}

/** How far a server has come, as one statement of its own (rule R10). */
export interface ReplayState {
  readonly inRecovery: boolean
  /** End of what was replayed; 0 on a primary. */
  readonly replayed: LSN
  readonly paused: boolean
  /** Connected to a server that sends it the log. */
  readonly receiving: boolean
}

export async function readReplayState(connection: Connection): Promise<ReplayState> {
  const [row] = await connection.query(`
    SELECT pg_is_in_recovery() AS in_recovery, coalesce(pg_last_wal_replay_lsn(), '0/0') AS replayed,
           CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS paused,
           EXISTS (SELECT FROM pg_stat_wal_receiver) AS receiving`)
  return {
    inRecovery: row?.in_recovery === 't',
    replayed: parseLSN(row?.replayed ?? '0/0'),
    paused: row?.paused === 't',
    receiving: row?.receiving === 't',
  }
}

/** Undefined when a replica has everything up to the hold, else what a person is told that is waited for. */
export function replayWait(state: ReplayState, holdLSN: LSN, address: ScanAddress): string | undefined {
  if (state.replayed >= holdLSN) return undefined
  const why = state.paused
    ? '; its replay is paused: run SELECT pg_wal_replay_resume() there'
    : state.receiving
      ? ''
      : '; it receives no log at present: check its connection to the primary'
  return `waiting for replica ${address.host}:${address.port} to replay to ${formatLSN(holdLSN)} (now ${formatLSN(state.replayed)}, ${megabytes(holdLSN - state.replayed)} behind${why})`
}

function megabytes(bytes: bigint): string {
  if (bytes < 1_000_000n) return `${Math.ceil(Number(bytes) / 1000)} kB`
  return `${Math.round(Number(bytes) / 1_000_000)} MB`
}
