import { type Connection, openConnection, type PostgresTarget } from '../source/connect.ts'

/** Sessions on servers of the source, one per server, kept for as long as they are in use every now and then. */
export interface SourceSessions {
  /** Runs work on the server's session, one at a time; a session that broke is made anew. */
  use<T>(
    target: PostgresTarget,
    signal: AbortSignal,
    work: (connection: Connection) => Promise<T>,
  ): Promise<T>
  close(): void
}

/** An idle apply holds no connection of the source. */
const IDLE_MILLISECONDS = 60_000

interface Kept {
  connection: Connection | undefined
  last: Promise<unknown>
  timer: NodeJS.Timeout | undefined
}

export function createSourceSessions(): SourceSessions {
  const kept = new Map<string, Kept>()
  const closing = new AbortController()

  async function run<T>(
    entry: Kept,
    target: PostgresTarget,
    signal: AbortSignal,
    work: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted()
    closing.signal.throwIfAborted()
    clearTimeout(entry.timer)
    if (entry.connection?.lost.aborted) entry.connection = undefined
    entry.connection ??= await openConnection(target, { purpose: 'query', signal: closing.signal })
    const { connection } = entry
    // A statement cannot be taken back, so who does not want to wait for it ends the session.
    const abort = () => void connection.close()
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await work(connection)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
      entry.timer = setTimeout(() => {
        entry.connection = undefined
        void connection.close()
      }, IDLE_MILLISECONDS)
      entry.timer.unref()
    }
  }

  return {
    use(target, signal, work) {
      const key = `${target.host}:${target.port}`
      const entry = kept.get(key) ?? { connection: undefined, last: Promise.resolve(), timer: undefined }
      kept.set(key, entry)
      const running = entry.last.then(() => run(entry, target, signal, work))
      entry.last = running.catch(() => {})
      return running
    },
    close() {
      closing.abort(new Error('the source sessions were closed'))
      for (const { timer } of kept.values()) clearTimeout(timer)
    },
  }
}
