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

/** Takes and exports a snapshot. From here on the connection belongs to it. */
export async function exportSnapshot(connection: Connection): Promise<ExportedSnapshot> {
  await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
  const [row] = await connection.query(
    `SELECT pg_export_snapshot() AS id,
            CASE WHEN pg_is_in_recovery() THEN '' ELSE pg_current_snapshot()::text END AS visibility`,
  )
  const lost = new AbortController()
  const lose = (reason: unknown) => lost.abort(reason)
  const onLost = () => lose(connection.lost.reason)
  connection.lost.addEventListener('abort', onLost, { once: true })
  const ping = setInterval(() => connection.query('SELECT 1').catch(lose), PING_MILLISECONDS)
  ping.unref()
  return {
    id: row?.id ?? '',
    visibility: row?.visibility ?? '',
    lost: lost.signal,
    async release() {
      clearInterval(ping)
      connection.lost.removeEventListener('abort', onLost)
      await connection.close()
    },
  }
}
