import { toMillraceError } from '../../lib/errors.ts'
import { type Connection, openConnection, type PostgresTarget } from '../source/connect.ts'

/** The one session that capture keeps for everything but the stream: one statement at a time, opened again when it breaks. */
export interface SqlSession {
  /** Runs `work` alone on the connection. */
  use<T>(work: (connection: Connection) => Promise<T>): Promise<T>
  close(): Promise<void>
}

export function createSqlSession(target: PostgresTarget, signal: AbortSignal): SqlSession {
  let connection: Connection | undefined
  let last: Promise<unknown> = Promise.resolve()

  async function run<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    if (connection?.lost.aborted) await drop()
    connection ??= await openConnection(target, { purpose: 'query', signal })
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
