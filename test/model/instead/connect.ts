import type { Connection, OpenOptions, PostgresTarget, TextRow } from '../../../workers/source/connect.ts'
import { postgresError } from '../../../workers/source/postgres-errors.ts'
import { call, currentProcess } from '../process.ts'
import { findStatement, rollBack, rowsInRange, type ServerSession, SqlError } from '../sql.ts'
import { world } from '../world.ts'

// Stands in for workers/source/connect.ts: sessions on the simulated servers. The rest of that file is the real one.
const real: typeof import('../../../workers/source/connect.ts') = await import(
  new URL('../../../workers/source/connect.ts?real', import.meta.url).href
)
export const inTransaction = real.inTransaction

export async function openConnection(target: PostgresTarget, options: OpenOptions): Promise<Connection> {
  const { signal } = options
  const session = await call(
    `connect to ${target.host}`,
    (): ServerSession => {
      const { state } = world().source
      const server = target.host === 'primary' ? 'primary' : state.address
      const made: ServerSession = {
        server,
        generation: server === 'primary' ? state.generation : state.replicas[server].generation,
        broken: false,
        conflict: false,
        open: false,
        transaction: undefined,
        durable: undefined,
        lockTimeout: 30_000,
        reads: false,
        snapshot: undefined,
        exported: undefined,
        settings: new Map(),
        used: 0,
        patient: options.purpose !== 'query',
      }
      return made
    },
    { signal },
  )
  return connectionOf(session, target, signal)
}

function connectionOf(session: ServerSession, target: PostgresTarget, signal: AbortSignal): Connection {
  const place = {
    field: target.field,
    credentialsField: target.credentials.field,
    host: target.host,
    port: target.port,
    database: target.database,
    user: 'millrace',
    connecting: false,
  }
  const lost = new AbortController()
  const alive = AbortSignal.any([signal, lost.signal])
  let committing = false

  function breakOff(): void {
    if (session.broken) return
    session.broken = true
    world().sessions.delete(session)
    world().source.state.breakers.delete(breaker)
    signal.removeEventListener('abort', breakOff)
    // A COMMIT that is on its way may still arrive.
    if (!committing) rollBack(session)
    lost.abort(new Error('Connection terminated unexpectedly'))
  }
  const breaker = { server: session.server, session, cut: breakOff }
  world().sessions.add(session)
  world().source.state.breakers.add(breaker)
  signal.addEventListener('abort', breakOff, { once: true })
  currentProcess()?.onDeath.push(breakOff)

  const failure = (thrown: unknown) => (signal.aborted ? signal.reason : postgresError(thrown, place))
  const gone = () =>
    failure(Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' }))

  function check(): void {
    session.used = world().clock.now()
    if (session.broken) throw gone()
    if (!session.conflict) return
    rollBack(session)
    throw failure(new SqlError('40001', 'canceling statement due to conflict with recovery'))
  }

  async function query(text: string, values: readonly (string | null)[] = []): Promise<TextRow[]> {
    signal.throwIfAborted()
    const trimmed = text.trim()
    const statement = findStatement(trimmed)
    if (statement.still) {
      check()
      return (statement.run(session, values, trimmed) ?? []) as TextRow[]
    }
    const isCommit = trimmed === 'COMMIT'
    committing = isCommit
    try {
      const answer = await call<unknown>(
        `${target.host}: ${trimmed.replaceAll(/\s+/g, ' ').slice(0, 70)}${values.length > 0 ? ` ${values.join(' ').slice(0, 80)}` : ''}`,
        () => {
          if (!isCommit || !session.broken) check()
          return statement.run(session, values, trimmed)
        },
        {
          signal: alive,
          lingers: isCommit,
          abandoned: (sent) => world().late.push(sent),
          onDrop: () => rollBack(session),
        },
      )
      return (answer ?? []) as TextRow[]
    } catch (error) {
      throw session.broken ? gone() : failure(error)
    } finally {
      committing = false
    }
  }

  const copy = (statement: { readonly text: string }): AsyncIterable<Buffer> => ({
    async *[Symbol.asyncIterator]() {
      const first = await call(
        `${target.host}: ${statement.text.replaceAll(/\s+/g, ' ').slice(0, 60)}`,
        (random) => {
          check()
          const rows = read(session, statement.text)
          session.reads = true
          return random % 3 === 0 ? [rows.slice(0, 1), rows.slice(1)] : [rows]
        },
        { signal: alive, ready: free(session) },
      ).catch((error) => {
        throw session.broken ? gone() : failure(error)
      })
      for (const [index, lines] of first.entries()) {
        if (index > 0) await call(`${target.host}: more rows`, check, { signal: alive })
        yield Buffer.from(lines.join(''))
      }
    },
  })

  return {
    client: { query: copy } as unknown as Connection['client'],
    processId: 1,
    serverVersion: 180_004,
    place,
    query,
    failure: (thrown) => (session.broken ? gone() : failure(thrown)),
    lost: lost.signal,
    async close() {
      breakOff()
    },
  }
}

/** A table that is being emptied is read by nobody else. */
function free(session: ServerSession): () => boolean {
  return () =>
    session.broken ||
    session.server !== 'primary' ||
    !world()
      .source.unended()
      .some((each) => each.emptied)
}

function read(session: ServerSession, text: string): string[] {
  const list = /^COPY \(SELECT (.*?) FROM /s.exec(text)?.[1] ?? ''
  const names = [...list.matchAll(/"(\w+)"/g)].map(([, name]) => name as 'k')
  const { state, catalogAt } = world().source
  const catalog =
    session.server === 'primary'
      ? world().source.catalog()
      : catalogAt(state.replicas[session.server].replayed)
  if (names.includes('d' as never) && !catalog.wide) throw new SqlError('42703', 'column "d" does not exist')
  return rowsInRange(session, text).map((row) => `${names.map((name) => row[name] ?? '\\N').join('\t')}\n`)
}

export async function withConnection<T>(
  target: PostgresTarget,
  options: OpenOptions,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await openConnection(target, options)
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}
