import { MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import { type Connection, openConnection, type PostgresTarget } from '../source/connect.ts'
import { isSameServer, readLogEnd, readServerIdentity, type ServerIdentity } from '../source/identity.ts'
import type { LSN } from '../source/lsn.ts'
import {
  assertBehind,
  assertHoldInLog,
  assertOneServer,
  assertReplica,
  type ReplayState,
  readReplayState,
  replayWait,
} from '../source/scan-server.ts'
import { waitForOlderTransactions } from '../source/watermark.ts'
import type { Attempt } from './context.ts'

/** A server that has everything up to the hold, and was proven to be what the spec says it is. */
export interface ScanServer {
  readonly target: PostgresTarget
  readonly identity: ServerIdentity
  readonly isPrimary: boolean
  /**
   * Opens another session on it, which `signal` breaks off. Throws `SnapshotLost` when another server, or the same one
   * after a restart, answers: what was proven does not hold for that one.
   */
  connect(signal: AbortSignal): Promise<Connection>
  /**
   * Throws `ReplicaBehind` unless the server at the other end of this session still has everything up to the hold. To be called
   * before each transaction that takes a snapshot (rule R10).
   */
  assertCurrent(connection: Connection): Promise<void>
}

/** Connections that are opened at once to see whether an address leads to one server. */
const PROBES = 3
const POLL_MILLISECONDS = 500
/** How long one replica is waited for before the others are looked at again. */
const LOOK_AROUND_MILLISECONDS = 15_000
const TRANSACTIONS_DEADLINE_MILLISECONDS = 60 * 60 * 1000

/** Waits until a server can be scanned for this hold (invariant I2), saying what it waits for. */
export async function proveServer(attempt: Attempt, holdLSN: LSN): Promise<ScanServer> {
  const { control, signal, report } = attempt
  const primary = await readServerIdentity(control)
  if (!primary.inRecovery) assertHoldInLog((await readLogEnd(control)).inserted, holdLSN, attempt.primary)
  report.stage('WaitingForReplay')
  if (attempt.readFrom === 'Primary') {
    report.facts({ server: `${attempt.primary.host}:${attempt.primary.port}` })
    // There a transaction can be in the log, and so in the queue before the hold, and not be visible yet.
    await waitForOlderTransactions(control, {
      signal,
      deadlineMilliseconds: TRANSACTIONS_DEADLINE_MILLISECONDS,
      onWait: (_transactions, message) => report.waiting(message),
    })
    return scanServer(attempt.primary, primary, true, holdLSN)
  }
  for (;;) {
    const candidates = await lookAround(attempt, primary)
    const best = candidates.reduce((a, b) => (b.state.replayed > a.state.replayed ? b : a))
    try {
      if (await waitForReplay(attempt, best, holdLSN)) {
        return scanServer(best.target, best.identity, false, holdLSN)
      }
    } finally {
      await Promise.all(candidates.map((candidate) => candidate.connection.close()))
    }
  }
}

/** Throws what is wrong with every server that could be read, unless one of them is well. Does not wait for its replay. */
export async function assertServers(attempt: Attempt): Promise<void> {
  if (attempt.readFrom === 'Primary') return
  const candidates = await lookAround(attempt, await readServerIdentity(attempt.control))
  await Promise.all(candidates.map((candidate) => candidate.connection.close()))
}

interface Candidate {
  readonly target: PostgresTarget
  readonly identity: ServerIdentity
  readonly connection: Connection
  readonly state: ReplayState
}

/** The replicas that can be used at present, at least one. Throws what is wrong with the first when there is none. */
async function lookAround(attempt: Attempt, primary: ServerIdentity): Promise<Candidate[]> {
  const results = await Promise.allSettled(
    inTurn(attempt.replicas, attempt.uid).map((target) => probe(attempt, target, primary)),
  )
  const candidates = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
  if (candidates.length === 0) throw failures[0]
  for (const failure of failures) {
    attempt.log.warn({ reason: toMillraceError(failure).message }, 'A replica cannot be used')
  }
  return candidates
}

async function probe(attempt: Attempt, target: PostgresTarget, primary: ServerIdentity): Promise<Candidate> {
  const open = () => openConnection(target, { purpose: 'scan', signal: attempt.signal })
  const results = await Promise.allSettled(Array.from({ length: PROBES }, open))
  const connections = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const [connection, ...others] = connections
  try {
    const failed = results.find((result) => result.status === 'rejected')
    if (failed) throw failed.reason
    if (connection === undefined) throw new MillraceError('Internal', 'no connection was opened')
    const identities = await Promise.all(connections.map(readServerIdentity))
    assertOneServer(identities, target)
    const identity = identities[0] as ServerIdentity
    assertReplica(primary, identity, target)
    const state = await readReplayState(connection)
    assertBehind(state.replayed, (await readLogEnd(attempt.control)).flushed, target)
    return { target, identity, connection, state }
  } catch (error) {
    await connection?.close()
    throw error
  } finally {
    await Promise.all(others.map((other) => other.close()))
  }
}

/** False when the others should be looked at again. */
async function waitForReplay(attempt: Attempt, candidate: Candidate, holdLSN: LSN): Promise<boolean> {
  const { report, signal } = attempt
  const { target, connection } = candidate
  report.facts({ server: `${target.host}:${target.port}` })
  const deadline = performance.now() + LOOK_AROUND_MILLISECONDS
  for (;;) {
    const state = await readReplayState(connection)
    if (!state.inRecovery) return false
    const wait = replayWait(state, holdLSN, target)
    report.waiting(wait)
    if (wait === undefined) return true
    if (performance.now() >= deadline) return false
    await sleep(POLL_MILLISECONDS, signal)
  }
}

function scanServer(
  target: PostgresTarget,
  identity: ServerIdentity,
  isPrimary: boolean,
  holdLSN: LSN,
): ScanServer {
  return {
    target,
    identity,
    isPrimary,
    async connect(signal) {
      const connection = await openConnection(target, { purpose: 'scan', signal })
      try {
        if (isSameServer(identity, await readServerIdentity(connection))) return connection
        throw new MillraceError(
          'SnapshotLost',
          `${target.field}.host: ${target.host}:${target.port} was restarted or leads to another server now`,
        )
      } catch (error) {
        await connection.close()
        throw error
      }
    },
    async assertCurrent(connection) {
      if (isPrimary) return
      const state = await readReplayState(connection)
      const wait = replayWait(state, holdLSN, target)
      if (!state.inRecovery) {
        throw new MillraceError(
          'ReplicaBehind',
          `${target.field}.host: ${target.host}:${target.port} is not a replica any more`,
        )
      }
      if (wait !== undefined) throw new MillraceError('ReplicaBehind', wait)
    },
  }
}

/** The replicas beginning with another one for each backfill, so that the first does not have to serve all. */
export function inTurn<T>(replicas: readonly T[], uid: string): T[] {
  let sum = 0
  for (const char of uid) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 1_000_003
  const start = replicas.length === 0 ? 0 : sum % replicas.length
  return [...replicas.slice(start), ...replicas.slice(0, start)]
}
