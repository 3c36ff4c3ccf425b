import { MillraceError } from '../../../lib/errors.ts'
import { around } from '../../../lib/failpoints.ts'
import { type Connection, openConnection, type PostgresTarget } from '../../source/connect.ts'

/** A few sessions that are shared by all calls and closed when nobody needs them. */
export interface Sessions {
  /**
   * Lends a session to `work`. When `signal` aborts, the session is broken off, which rolls back whatever it was doing.
   */
  use<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T>
  /** The same inside a transaction: committed when `work` returns, rolled back when it throws. */
  transaction<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T>
  /** The same for reading only: everything that is read is of one moment. */
  snapshot<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T>
  /** Ends all sessions; those at work are broken off. Idempotent. */
  close(): Promise<void>
}

export interface Session {
  readonly query: Connection['query']
  readonly connection: Connection
  /** Ends the session at once, in the middle of whatever it is doing; the server rolls back. */
  breakOff(): void
}

interface Pooled {
  readonly connection: Connection
  readonly abort: AbortController
  timer?: NodeJS.Timeout
}

const IDLE_MILLISECONDS = 30_000

// - The destination's rows and the ledger must not vanish after they were reported, since apply then deletes the queue's
//   records; a stronger setting than `on` is left as it is.
// - A pod that is stopped in the middle of a transaction holds locks that others wait for.
const SETTINGS = `
  SELECT set_config('synchronous_commit', 'on', false)
  WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
  SET idle_in_transaction_session_timeout = '10min'`

// A statement whose client is gone ends instead of holding its locks to its end. Not every server's system can do it.
const WATCH_CLIENT = `SET client_connection_check_interval = '10s'`

/**
 * @param max sessions at most; a call that finds all of them busy waits
 * @param idleMilliseconds how long a session is kept that nobody needs
 */
export function createSessions(
  target: PostgresTarget,
  max: number,
  idleMilliseconds = IDLE_MILLISECONDS,
): Sessions {
  const idle: Pooled[] = []
  const all = new Set<Pooled>()
  const closing = new AbortController()
  let opened = 0
  let waiting: (() => void)[] = []

  async function acquire(signal: AbortSignal): Promise<Pooled> {
    for (;;) {
      signal.throwIfAborted()
      closing.signal.throwIfAborted()
      const kept = idle.pop()
      if (kept) {
        clearTimeout(kept.timer)
        if (!kept.connection.lost.aborted) return kept
        discard(kept)
      } else if (opened < max) {
        opened++
        try {
          return await open(signal)
        } catch (error) {
          opened--
          wakeOne()
          throw error
        }
      } else {
        await nextFree(signal)
      }
    }
  }

  async function open(signal: AbortSignal): Promise<Pooled> {
    const abort = new AbortController()
    return linked(abort, [signal, closing.signal], async () => {
      const connection = await openConnection(target, { purpose: 'load', signal: abort.signal })
      const pooled = { connection, abort }
      all.add(pooled)
      try {
        await connection.query(SETTINGS)
        await connection.query(WATCH_CLIENT).catch(() => {})
        return pooled
      } catch (error) {
        all.delete(pooled)
        abort.abort(error)
        throw error
      }
    })
  }

  function nextFree(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        signal.removeEventListener('abort', go)
        closing.signal.removeEventListener('abort', go)
        waiting = waiting.filter((each) => each !== go)
        resolve()
      }
      waiting.push(go)
      signal.addEventListener('abort', go)
      closing.signal.addEventListener('abort', go)
    })
  }

  function wakeOne(): void {
    waiting[0]?.()
  }

  function release(pooled: Pooled): void {
    if (pooled.abort.signal.aborted || pooled.connection.lost.aborted || closing.signal.aborted) {
      discard(pooled)
    } else {
      idle.push(pooled)
      pooled.timer = setTimeout(() => {
        idle.splice(idle.indexOf(pooled), 1)
        discard(pooled)
      }, idleMilliseconds)
      pooled.timer.unref()
    }
    wakeOne()
  }

  function discard(pooled: Pooled): void {
    clearTimeout(pooled.timer)
    if (!all.delete(pooled)) return
    opened--
    void pooled.connection.close()
  }

  async function use<T>(signal: AbortSignal, work: (session: Session) => Promise<T>): Promise<T> {
    const pooled = await acquire(signal)
    const session: Session = {
      query: pooled.connection.query,
      connection: pooled.connection,
      breakOff: () =>
        pooled.abort.abort(new MillraceError('DestinationUnavailable', 'the session was broken off')),
    }
    try {
      return await linked(pooled.abort, [signal, closing.signal], () => work(session))
    } finally {
      release(pooled)
    }
  }

  return {
    use,
    transaction: (signal, work) =>
      use(signal, async (session) => {
        await session.query('BEGIN')
        try {
          const result = await work(session)
          await around('destination.commit', () => session.query('COMMIT'), session.breakOff)
          return result
        } catch (error) {
          // A transaction that cannot be rolled back in words is rolled back by ending its session.
          await session.query('ROLLBACK').catch(() => session.breakOff())
          throw error
        }
      }),
    snapshot: (signal, work) =>
      use(signal, async (session) => {
        await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
        try {
          return await work(session)
        } finally {
          await session.query('ROLLBACK').catch(() => session.breakOff())
        }
      }),
    async close() {
      closing.abort(new Error('the destination was closed'))
      for (const pooled of idle.splice(0)) discard(pooled)
      await Promise.allSettled([...all].map((pooled) => pooled.connection.close()))
    },
  }
}

/** Lets any of `signals` abort `abort` for as long as `work` takes. */
async function linked<T>(
  abort: AbortController,
  signals: readonly AbortSignal[],
  work: () => Promise<T>,
): Promise<T> {
  const breaks = signals.map((signal) => ({ signal, go: () => abort.abort(signal.reason) }))
  for (const { signal, go } of breaks) {
    if (signal.aborted) go()
    signal.addEventListener('abort', go)
  }
  try {
    return await work()
  } finally {
    for (const { signal, go } of breaks) signal.removeEventListener('abort', go)
  }
}
