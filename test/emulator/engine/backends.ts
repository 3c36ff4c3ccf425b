import pg from 'pg'

/** One connection to PostgreSQL. All values come back as text, rows as arrays. */
export interface Backend {
  readonly pid: number
  query(sql: string, values?: readonly unknown[]): Promise<pg.QueryArrayResult<(string | null)[]>>
  /** For COPY. */
  readonly client: pg.Client
  /** True once the connection has ended, whoever ended it. */
  readonly lost: () => boolean
}

/** Connections that statements borrow. */
export interface Backends {
  borrow(): Promise<Backend>
  /** Gives a connection back; one that is left in a transaction, or broken, is closed. */
  giveBack(backend: Backend, reusable: boolean): Promise<void>
  /** Asks PostgreSQL to end what the process is doing, or the process itself. */
  signal(pid: number, how: 'cancel' | 'terminate'): Promise<void>
  /** Runs a statement of the emulator's own in its own transaction. */
  admin(sql: string, values?: readonly unknown[]): Promise<(string | null)[][]>
  /** True once the connection for that was cut. */
  readonly lost: () => boolean
  close(): Promise<void>
}

const asText = { getTypeParser: () => (value: unknown) => value }

// Redshift's output formats, and plain strings: the emulator has taken the backslashes out.
const SETTINGS = [
  'search_path=public',
  'timezone=UTC',
  'datestyle=ISO,MDY',
  'intervalstyle=postgres',
  'bytea_output=hex',
  'standard_conforming_strings=on',
  'client_min_messages=warning',
  'jit=off',
  'deadlock_timeout=200ms',
]

export function createBackends(url: string): Backends {
  const idle: Backend[] = []
  const all = new Set<pg.Client>()
  let admin: Promise<Backend> | undefined
  let adminNow: Backend | undefined

  const connect = async (): Promise<Backend> => {
    const client = new pg.Client({
      connectionString: url,
      application_name: 'redshift-emulator',
      options: SETTINGS.map((setting) => `-c ${setting}`).join(' '),
      types: asText as unknown as pg.CustomTypesConfig,
      keepAlive: true,
    })
    let lost = false
    const gone = () => {
      lost = true
      all.delete(client)
    }
    client.on('error', gone)
    client.on('end', gone)
    await client.connect()
    all.add(client)
    const query: Backend['query'] = (sql, values = []) =>
      client.query<(string | null)[]>({ text: sql, values: [...values], rowMode: 'array' })
    const { rows } = await query('select pg_backend_pid()')
    return { pid: Number(rows[0]?.[0]), query, client, lost: () => lost }
  }

  let last: Promise<unknown> = Promise.resolve()
  const attempt = async (sql: string, values: readonly unknown[] | undefined) => {
    admin ??= connect()
    let backend = await admin
    if (backend.lost()) {
      admin = connect()
      backend = await admin
    }
    adminNow = backend
    return (await backend.query(sql, values)).rows
  }
  // One after the other: a connection does one thing at a time.
  const run: Backends['admin'] = (sql, values) => {
    const next = last.then(() => attempt(sql, values))
    last = next.catch(() => {})
    return next
  }

  return {
    borrow: async () => {
      for (let backend = idle.pop(); backend; backend = idle.pop()) if (!backend.lost()) return backend
      return connect()
    },
    giveBack: async (backend, reusable) => {
      if (reusable && !backend.lost()) {
        try {
          await backend.query('DISCARD ALL')
          idle.push(backend)
          return
        } catch {
          // Broken after all.
        }
      }
      await backend.client.end().catch(() => {})
    },
    signal: async (pid, how) => {
      await run(`select pg_${how}_backend($1)`, [pid])
    },
    admin: run,
    lost: () => adminNow?.lost() ?? false,
    close: async () => {
      await Promise.allSettled([...all].map((client) => client.end()))
    },
  }
}
