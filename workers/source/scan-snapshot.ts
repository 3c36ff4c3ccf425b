import { sleep } from '../../lib/sleep.ts'
import type { Connection } from './connect.ts'

/** A snapshot that other sessions on the same server can read under, for as long as the session that exported it lives. */
export interface ExportedSnapshot {
  readonly id: string
  /** `pg_current_snapshot()` as text: which transactions it sees. Empty on a replica, which does not know all that run. */
  readonly visibility: string
  /** Aborts when the snapshot can no longer be imported. */
  readonly lost: AbortSignal
  /** Ends the transaction; sessions that have imported the snapshot keep it. Idempotent, does not throw. */
  release(): Promise<void>
}

// A session that says nothing is what firewalls forget, and what nobody notices to be gone.
const PING_MILLISECONDS = 15_000

// What runs on a busy server are short transactions, and one look in some falls between them.
const LOOKS = 20
const LOOK_MILLISECONDS = 100

/**
 * Takes and exports a snapshot. From here on the connection belongs to it. Undefined, the connection being as it was, where a
 * replica has none that may be shared.
 *
 * A replica's snapshot that is marked as overflowed (a transaction with more than 64 subtransactions is enough, or a restart of
 * the replica) is exported without the transactions that still run: pg_export_snapshot leaves the subtransactions out then, and in
 * recovery the list of those is the list of all. Whoever imports it takes what they have written for rolled back, and marks it so
 * on the page: it stays invisible on that replica, for everybody, after it was committed. So nothing may run but what the bounds of
 * the snapshot tell. (PostgreSQL 18, ExportSnapshot in snapmgr.c and XidInMVCCSnapshot; seen by `torture`, shown by
 * `backfill-faults`.)
 */
export async function exportSnapshot(
  connection: Connection,
  signal: AbortSignal,
): Promise<ExportedSnapshot | undefined> {
  for (let look = 1; ; look += 1) {
    await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    const [row] = await connection.query(
      `SELECT CASE WHEN replica AND pg_snapshot_xmin(seen) <> pg_snapshot_xmax(seen) THEN NULL ELSE pg_export_snapshot() END AS id,
              CASE WHEN replica THEN '' ELSE seen::text END AS visibility
       FROM (SELECT pg_is_in_recovery() AS replica, pg_current_snapshot() AS seen) AS here`,
    )
    if (row?.id) return held(connection, row.id, row.visibility ?? '')
    await connection.query('ROLLBACK')
    if (look === LOOKS) return undefined
    await sleep(LOOK_MILLISECONDS, signal)
  }
}

function held(connection: Connection, id: string, visibility: string): ExportedSnapshot {
  const lost = new AbortController()
  const lose = (reason: unknown) => lost.abort(reason)
  const onLost = () => lose(connection.lost.reason)
  connection.lost.addEventListener('abort', onLost, { once: true })
  const ping = setInterval(() => connection.query('SELECT 1').catch(lose), PING_MILLISECONDS)
  ping.unref()
  return {
    id,
    visibility,
    lost: lost.signal,
    async release() {
      clearInterval(ping)
      connection.lost.removeEventListener('abort', onLost)
      await connection.close()
    },
  }
}
