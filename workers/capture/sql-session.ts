import { toMillraceError } from '../../lib/errors.ts'
import { type Connection, openConnection, type PostgresTarget } from '../source/connect.ts'
import { assertSameSource, type SourceIdentity } from '../source/identity.ts'
import { sqlState } from '../source/postgres-errors.ts'

/** The one session that capture keeps for everything but the stream: one statement at a time, opened again when it breaks. */
export interface SqlSession {
  /** Runs `work` alone on the connection. */
  use<T>(work: (connection: Connection) => Promise<T>): Promise<T>
  /** Aborts when the server takes no new sessions: while one of ours goes on, that is because it is being shut down. */
  readonly refused: AbortSignal
  /**
   * From now on each new connection has to lead to this server. One that does not is refused with `SourceChanged`, and `moved`
   * aborts with that: joins and heartbeats would go into a log that the stream does not read.
   */
  pin(identity: SourceIdentity): void
  readonly moved: AbortSignal
  close(): Promise<void>
}

const CANNOT_CONNECT_NOW = '57P03'

export function createSqlSession(target: PostgresTarget, signal: AbortSignal): SqlSession {
  let connection: Connection | undefined
  let last: Promise<unknown> = Promise.resolve()
  const refused = new AbortController()
  const moved = new AbortController()
  let pinned: SourceIdentity | undefined

  async function open(): Promise<Connection> {
    let opened: Connection
    try {
      opened = await openConnection(target, { purpose: 'query', signal })
    } catch (error) {
      if (sqlState(error) === CANNOT_CONNECT_NOW) refused.abort(error)
      throw error
    }
    try {
      if (pinned) await assertSameSource(opened, pinned)
      return opened
    } catch (error) {
      await opened.close()
      if (toMillraceError(error).code === 'SourceChanged') moved.abort(error)
      throw error
    }
  }

  async function run<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    if (connection?.lost.aborted) await drop()
    connection ??= await open()
    try {
      return await work(connection)
    } catch (error) {
      // A statement that timed out or was refused leaves the session as it was; anything else does not.
      if (toMillraceError(error).code === 'ConnectionLost') await drop()
      throw error
    }
  }

  async function drop(): Promise<void> {
    const old = connection
    connection = undefined
    await old?.close()
  }

  return {
    refused: refused.signal,
    moved: moved.signal,
    pin(identity) {
      pinned = identity
    },
    use(work) {
      const result = last.then(() => run(work))
      last = result.catch(() => {})
      return result
    },
    async close() {
      await last
      await drop()
    },
  }
}
