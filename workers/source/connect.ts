import type { ConnectionOptions } from 'node:tls'
import { type PeerCertificate, rootCertificates } from 'node:tls'
import pg, { type ClientConfig, type CustomTypesConfig } from 'pg'
import type { SslMode } from '../../crds/api.ts'
import { MillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import type { SecretMount, Secrets } from '../runtime/context.ts'
import { type ErrorPlace, postgresError } from './postgres-errors.ts'
import { type SessionPurpose, sessionOptions } from './session.ts'

/** One PostgreSQL database and how to get into it: a source, a replica of it, or a destination. */
export interface PostgresTarget {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly sslMode: SslMode
  /** Spec path of the object that names the host, such as `spec.source.postgres` or `….replicas[0]`. */
  readonly field: string
  readonly credentials: { readonly mount: SecretMount; readonly field: string }
  /** Undefined: the authorities that Node.js ships with. */
  readonly ca: { readonly mount: SecretMount; readonly field: string } | undefined
  readonly secrets: Secrets
  /** Name of the process; sessions show as `millrace-<process>` in pg_stat_activity. */
  readonly process: string
}

export interface OpenOptions {
  readonly purpose: SessionPurpose
  /** For as long as the session lives: aborting it breaks the connection, also in the middle of a statement. */
  readonly signal: AbortSignal
  /** Milliseconds for resolving, connecting, TLS and login together. */
  readonly timeoutMilliseconds?: number
}

/** A row of a result: every value is PostgreSQL's text, or null. */
export type TextRow = Readonly<Record<string, string | null>>

/** One session. */
export interface Connection {
  /** The driver's own client, for COPY streams only; its errors go through `failure`. */
  readonly client: pg.Client
  /** Process id of the backend. */
  readonly processId: number
  /** Such as 180004. */
  readonly serverVersion: number
  readonly place: ErrorPlace
  /**
   * Runs one statement; values go as parameters. Without values several statements may be given, the rows are then those
   * of the last. Throws MillraceErrors, and the signal's reason once that has aborted.
   */
  query(text: string, values?: readonly (string | null)[]): Promise<TextRow[]>
  /** Turns what the driver threw into the error to throw on. */
  failure(thrown: unknown): unknown
  /** Aborts when the connection is gone, for whatever reason. */
  readonly lost: AbortSignal
  /** Ends the session. Idempotent, does not throw. */
  close(): Promise<void>
}

const CONNECT_MILLISECONDS = 10_000
/** A little longer than the server's own limit: without an answer by then, the server is not there any more. */
const ANSWER_MILLISECONDS = 75_000
const CLOSE_MILLISECONDS = 2_000
const MIN_SERVER = 140_000

// PostgreSQL's text is what travels through the whole system, so nothing is ever parsed into JavaScript values.
const RAW_TEXT: CustomTypesConfig = { getTypeParser: () => (value: string | Buffer) => value }

/**
 * Opens a session with the settings of `sessionSettings`, reading credentials and CA from their files anew.
 *
 * Throws MillraceErrors that name the spec field: `SecretMissing`, `HostUnreachable`, `AuthenticationFailed`, `TLSFailed`,
 * `DatabaseNotFound`, `TooManyConnections`, `PermissionDenied`, `UnsupportedServer`, `ConnectionLost` (starting up).
 */
export async function openConnection(target: PostgresTarget, options: OpenOptions): Promise<Connection> {
  const { signal, purpose } = options
  signal.throwIfAborted()
  const { mount, field: credentialsField } = target.credentials
  const [user, password, ssl] = await Promise.all([
    target.secrets.read(mount, 'username', credentialsField),
    target.secrets.read(mount, 'password', credentialsField),
    tlsOptions(target),
  ])
  const place = (connecting: boolean): ErrorPlace => ({
    field: target.field,
    credentialsField,
    host: target.host,
    port: target.port,
    database: target.database,
    user,
    connecting,
  })
  const client = new pg.Client({
    host: target.host,
    port: target.port,
    database: target.database,
    user,
    password,
    ssl,
    options: sessionOptions(purpose),
    application_name: `millrace-${target.process}`,
    connectionTimeoutMillis: options.timeoutMilliseconds ?? CONNECT_MILLISECONDS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
    types: RAW_TEXT,
    ...(purpose === 'replication' ? { replication: 'database' } : {}),
    ...(purpose === 'query' ? { query_timeout: ANSWER_MILLISECONDS } : {}),
  } as ClientConfig)

  // An error between two statements reaches the driver's client only as an event, which would end the process.
  let broken: unknown
  client.on('error', (error: unknown) => {
    broken ??= error
  })
  const lost = new AbortController()
  client.once('end', () => lost.abort(broken ?? new Error('Connection terminated')))
  const breakOff = () => socketOf(client).destroy()
  signal.addEventListener('abort', breakOff, { once: true })
  const failure = (thrown: unknown, connecting: boolean) =>
    signal.aborted ? signal.reason : postgresError(thrown, place(connecting))

  try {
    await client.connect()
    const serverVersion = await prepare(client)
    if (serverVersion < MIN_SERVER) throw tooOld(serverVersion, target)
    return {
      client,
      processId: (client as unknown as { processID: number }).processID,
      serverVersion,
      place: place(false),
      async query(text, values) {
        signal.throwIfAborted()
        try {
          const result = await client.query<Record<string, string | null>>(
            values === undefined ? { text } : { text, values: [...values] },
          )
          return (Array.isArray(result) ? result.at(-1) : result).rows
        } catch (error) {
          if (isUnanswered(error)) breakOff()
          throw failure(broken ?? error, false)
        }
      },
      failure: (thrown) => failure(broken ?? thrown, false),
      lost: lost.signal,
      close: () => close(client, lost.signal, () => signal.removeEventListener('abort', breakOff)),
    }
  } catch (error) {
    signal.removeEventListener('abort', breakOff)
    breakOff()
    throw error instanceof MillraceError ? error : failure(error, true)
  }
}

/**
 * Opens a session, passes it to `work` and closes it whatever happens.
 */
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

/** Runs `work` in a transaction: commits when it returns, rolls back when it throws. `begin` may carry a mode. */
export async function inTransaction<T>(
  connection: Connection,
  work: () => Promise<T>,
  begin = 'BEGIN',
): Promise<T> {
  await connection.query(begin)
  try {
    const result = await work()
    const cut = () => socketOf(connection.client).destroy()
    await around('source.commit', () => connection.query('COMMIT'), cut)
    return result
  } catch (error) {
    // Fails only when the connection is gone, and then the server has rolled back.
    await connection.query('ROLLBACK').catch(() => {})
    throw error
  }
}

// A role or database may carry a limit on whole transactions, which only exists since PostgreSQL 17 and so cannot be part
// of the startup packet.
async function prepare(client: pg.Client): Promise<number> {
  const shown = await client.query<{ server_version_num: string }>('SHOW server_version_num')
  const version = Number(shown.rows[0]?.server_version_num)
  if (version >= 170_000) await client.query('SET transaction_timeout = 0')
  return version
}

async function tlsOptions(target: PostgresTarget): Promise<ConnectionOptions | false> {
  if (target.sslMode === 'Disable') return false
  if (target.sslMode === 'Require') return { rejectUnauthorized: false }
  const ca = target.ca
    ? await target.secrets.read(target.ca.mount, 'ca.crt', target.ca.field)
    : [...rootCertificates]
  return {
    ca,
    rejectUnauthorized: true,
    ...(target.sslMode === 'VerifyCA'
      ? { checkServerIdentity: (_host: string, _certificate: PeerCertificate) => undefined }
      : {}),
  }
}

function tooOld(version: number, target: PostgresTarget): MillraceError {
  return new MillraceError(
    'UnsupportedServer',
    `${target.field}.host: the server is PostgreSQL ${Math.floor(version / 10_000)}; 14 or later is needed`,
    { field: `${target.field}.host` },
  )
}

async function close(client: pg.Client, lost: AbortSignal, after: () => void): Promise<void> {
  if (!lost.aborted) {
    // A session in the middle of a COPY does not read the farewell, so it gets a time limit.
    const forced = setTimeout(() => socketOf(client).destroy(), CLOSE_MILLISECONDS)
    await client.end().catch(() => {})
    clearTimeout(forced)
  }
  after()
}

function isUnanswered(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.message === 'Query read timeout'
}

function socketOf(client: pg.Client): { destroy(): void } {
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream
}
