import { MillraceError, toMillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import { sleep } from '../../lib/sleep.ts'
import { formatLSN, type LSN } from '../source/lsn.ts'
import { emitMessage } from '../source/messages.ts'
import { readSlot } from '../source/slot.ts'
import type { Report } from './report.ts'
import type { SqlSession } from './sql-session.ts'

export interface SlotWatchOptions {
  readonly sql: SqlSession
  readonly slot: string
  readonly heartbeatSeconds: () => number
  readonly recorded: () => LSN
  /** Transactions seen so far. */
  readonly commits: () => number
  /** Keeps capture's own topic short. */
  readonly compact: () => Promise<void>
  readonly report: Report
}

/** A segment of the log: a slot that holds back more than this in a silent database needs a push. */
const SEGMENT = 16n * 1024n * 1024n

/**
 * Looks after the slot as long as the stream runs: how much log it holds back, and the heartbeat. Ends with `SlotLost` when
 * the server has no such slot.
 *
 * A heartbeat is written only when nothing was seen since the last one and there is something that it would set free, so that
 * a database in which nothing happens really has nothing to write.
 */
export function keepSlot(options: SlotWatchOptions): {
  run(signal: AbortSignal): Promise<never>
  retainedBytes(): number
  /** Bytes of log that were not recorded when last asked. */
  lagBytes(): number
} {
  const { sql, report } = options
  let retained = 0n
  let lag = 0

  async function beat(silent: boolean): Promise<void> {
    const slot = await sql.use((connection) => readSlot(connection, options.slot))
    // The stream reads a slot that this server does not have: it may be another one, or about to end.
    if (!slot) {
      throw new MillraceError('SlotLost', `replication slot ${options.slot} is gone while it is read`, {
        field: 'spec.source.postgres.slot',
      })
    }
    retained = slot.retainedBytes
    report.facts({ retainedWALBytes: Number(retained) })
    await sql.use(async (connection) => {
      const [row] = await connection.query(
        'SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1::pg_lsn) AS lag',
        [formatLSN(options.recorded())],
      )
      lag = Number(row?.lag)
      if (!silent || (lag <= 0 && retained <= SEGMENT)) return
      const message = { kind: 'heartbeat', slot: options.slot } as const
      await around('capture.heartbeat', () => emitMessage(connection, message))
    })
  }

  return {
    async run(signal) {
      for (let commits = options.commits(); ; ) {
        await sleep(options.heartbeatSeconds() * 1000, signal)
        const now = options.commits()
        try {
          await beat(now === commits)
          await options.compact()
          report.trouble('slot', undefined)
        } catch (thrown) {
          signal.throwIfAborted()
          if (!toMillraceError(thrown).retryable) throw thrown
          report.trouble('slot', thrown)
        }
        commits = now
      }
    },
    retainedBytes: () => Number(retained),
    lagBytes: () => lag,
  }
}
