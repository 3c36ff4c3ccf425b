import { MillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Connection } from './connect.ts'
import { formatLSN, type LSN, parseLSN } from './lsn.ts'

/** A replication slot as the server shows it. */
export interface Slot {
  readonly database: string
  readonly plugin: string
  /** Process id of the walsender that uses it now. */
  readonly activePid: number | undefined
  /** What the server was told is safe elsewhere; it may forget everything before. */
  readonly confirmed: LSN
  /** Where decoding has to begin again; the log is kept from here. */
  readonly restart: LSN | undefined
  /** `reserved`, `extended`, `unreserved`, or `lost`. */
  readonly walStatus: string
  /** Why the slot can never be used again; undefined when it can. */
  readonly invalidated: string | undefined
  /** Bytes of log that the server keeps for the slot. */
  readonly retainedBytes: bigint
}

const FIELD = 'spec.source.postgres.slot'

/** Reads a slot; undefined when there is none of that name. Only on the primary. */
export async function readSlot(connection: Connection, name: string): Promise<Slot | undefined> {
  // The reason of an invalidation can be seen since PostgreSQL 17; before, a lost slot has no restart position.
  const reason = connection.serverVersion >= 170_000 ? 's.invalidation_reason' : 'NULL'
  const [row] = await connection.query(
    `SELECT s.slot_type, s.database, s.plugin, s.active_pid, s.confirmed_flush_lsn, s.restart_lsn, s.wal_status,
            ${reason} AS invalidation_reason,
            greatest(0, pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn))::bigint AS retained
     FROM pg_replication_slots s WHERE s.slot_name = $1`,
    [name],
  )
  if (!row) return undefined
  if (
    row.slot_type !== 'logical' ||
    row.plugin !== 'pgoutput' ||
    row.database !== connection.place.database
  ) {
    throw new MillraceError(
      'InvalidSpec',
      `${FIELD}: replication slot ${JSON.stringify(name)} exists and is not ours (${row.slot_type}, plugin ${row.plugin ?? 'none'}, database ${row.database ?? 'none'}): name another one, or drop it`,
      { field: FIELD, retryable: true },
    )
  }
  const restart = row.restart_lsn ? parseLSN(row.restart_lsn) : undefined
  const walStatus = row.wal_status ?? 'lost'
  return {
    database: row.database,
    plugin: row.plugin,
    activePid: row.active_pid ? Number(row.active_pid) : undefined,
    confirmed: parseLSN(row.confirmed_flush_lsn ?? '0/0'),
    restart,
    walStatus,
    invalidated:
      row.invalidation_reason ??
      (walStatus === 'lost' || restart === undefined ? 'the log it needs was removed' : undefined),
    retainedBytes: BigInt(row.retained ?? 0),
  }
}

/** Drops a slot if it exists. Throws `SlotInUse` while somebody reads it. */
export async function dropSlot(connection: Connection, name: string): Promise<void> {
  if ((await readSlot(connection, name)) === undefined) return
  await connection.query(
    'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1',
    [name],
  )
}

/** The `SlotInUse` of a slot that another process reads. */
export function slotInUse(name: string, pid: number | undefined): MillraceError {
  return new MillraceError(
    'SlotInUse',
    `${FIELD}: replication slot ${JSON.stringify(name)} is read by another process${pid === undefined ? '' : ` (pid ${pid} on the source)`}: waiting until it ends; if it is no capture of this Pipeline, end it (SELECT pg_terminate_backend(${pid ?? '<pid>'}))`,
    { field: FIELD },
  )
}

const POLL_MILLISECONDS = 100
const TRIES = 50

/**
 * Makes sure that a slot still stood where it was when it was looked at, now that process `pid` reads it and nobody else can move
 * it: asked for a place that a slot is ahead of, the server begins where the slot is, and says nothing. Throws `SlotLost`
 * (retryable) when it was moved; returns when nobody reads it, which the stream itself will tell of.
 */
export async function assertNotMoved(
  connection: Connection,
  name: string,
  pid: number,
  from: LSN,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    const slot = await readSlot(connection, name)
    if (slot?.activePid === pid) {
      if (slot.confirmed <= from) return
      throw new MillraceError(
        'SlotLost',
        `${FIELD}: replication slot ${JSON.stringify(name)} was moved to ${formatLSN(slot.confirmed)} just before it was read from ${formatLSN(from)}`,
        { field: FIELD, retryable: true },
      )
    }
    await sleep(POLL_MILLISECONDS, signal)
  }
}

/**
 * Ends a session that still reads a slot though its client has gone: one whose network broke would keep the slot until the
 * server's `wal_sender_timeout`. Only for a process id that the caller knows to be its own; the role needs no right for
 * that; undefined: it has none. Returns the slot as `readSlot` does. Throws `SlotInUse` when it does not let go within about 5 s.
 */
export async function endReader(
  connection: Connection,
  name: string,
  pid: number | undefined,
  signal: AbortSignal,
): Promise<Slot | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const slot = await readSlot(connection, name)
    if (pid === undefined || slot?.activePid !== pid) return slot
    if (attempt > TRIES) throw slotInUse(name, pid)
    if (attempt === 1) await connection.query('SELECT pg_terminate_backend($1::int)', [String(pid)])
    await sleep(POLL_MILLISECONDS, signal)
  }
}
