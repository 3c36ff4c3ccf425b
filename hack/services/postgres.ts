import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Lifetime } from '../process/daemon.ts'
import { freePort } from '../process/ports.ts'
import { until } from '../process/wait.ts'
import { baseBackup } from './postgres/base-backup.ts'
import { primarySettings, quoteConnInfo, type Settings } from './postgres/config.ts'
import {
  configure,
  dataDirOf,
  hasData,
  initData,
  makeServerDir,
  type PostgresHandle,
  query,
  type ServerOptions,
  serverHandle,
} from './postgres/server.ts'

export { databaseUrl, onDatabase, type PostgresHandle, query } from './postgres/server.ts'

export interface PostgresOptions {
  /** Folder for data, pid file and log. Data already there is used again. */
  dir: string
  /** Default: a free port. */
  port?: number
  /** Addresses to listen on beside the loopback one. */
  listen?: readonly string[]
  /** Networks, as CIDR, that clients may come from beside the loopback. */
  networks?: readonly string[]
  /** PostgreSQL settings that are added or that replace the defaults. */
  settings?: Settings
  /** Password of the superuser `postgres`. */
  password?: string
  /** Keeps fsync on; off by default, which a killed server does not notice but a machine that loses power does. */
  durable?: boolean
  /** Default: ends with this process. */
  lifetime?: Lifetime
  /** Default: the server's name with `.log`, in `dir`. */
  logFile?: string
  /** Name in file names and messages. */
  name?: string
}

const DEFAULT_PASSWORD = 'postgres'

/**
 * Describes a server that one of the functions below has set up before, without starting it: how another process
 * takes over a detached one.
 */
export function existingPostgres(
  options: PostgresOptions & { port: number; name: string; password: string },
): PostgresHandle {
  return serverHandle(options)
}

async function resolve(options: PostgresOptions, name: string): Promise<ServerOptions> {
  return {
    ...options,
    name: options.name ?? name,
    port: options.port ?? (await freePort()),
    password: options.password ?? DEFAULT_PASSWORD,
  }
}

async function startServer(server: ServerOptions, ...layers: Settings[]): Promise<PostgresHandle> {
  makeServerDir(server.dir)
  if (!hasData(server.dir)) await initData(server)
  configure(server, ...layers)
  return startedHandle(server)
}

/** Starts a plain server, for example a destination, and waits until it answers: about 2 s. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresHandle> {
  return startServer(await resolve(options, 'postgres'))
}

/** Starts a server that logical and physical replication can read from, and waits until it answers: about 2 s. */
export async function startPrimary(options: PostgresOptions): Promise<PostgresHandle> {
  return startServer(await resolve(options, 'primary'), primarySettings)
}

/**
 * Starts a streaming replica of a running primary and waits until it answers queries. The primary need not stop: the
 * replica begins with a copy made while it runs, and follows it through a physical replication slot named after
 * the replica. Password and settings of the primary that a replica must share are taken from it.
 */
export async function startReplica(
  primary: PostgresHandle,
  options: Omit<PostgresOptions, 'password'>,
): Promise<PostgresHandle> {
  const server = await resolve({ ...options, password: primary.password }, 'replica')
  const slot = server.name.replaceAll(/[^a-z0-9_]/g, '_')
  makeServerDir(server.dir)
  if (!hasData(server.dir)) {
    await makeSlot(primary.url, slot)
    await baseBackup(primary.url, primary.dataDir, dataDirOf(server.dir))
  }
  writeFileSync(join(dataDirOf(server.dir), 'standby.signal'), '')
  configure(server, primarySettings, {
    primary_slot_name: slot,
    primary_conninfo: connInfo(primary, server.name),
    // A copy of a primary that checks nothing would wait for ever for a log that never comes.
    wal_receiver_timeout: '10s',
    wal_retrieve_retry_interval: '500ms',
  })
  return startedHandle(server)
}

/** Waits until a replica has replayed all that its primary has written until now. Fails after 30 s. */
export async function waitForReplay(primaryUrl: string, replicaUrl: string): Promise<void> {
  const [{ lsn } = { lsn: '' }] = await query<{ lsn: string }>(
    primaryUrl,
    'select pg_current_wal_flush_lsn()::text as lsn',
  )
  const sql = `select pg_last_wal_replay_lsn() >= '${lsn}'::pg_lsn as there`
  await until(async () => (await query<{ there: boolean }>(replicaUrl, sql))[0]?.there, {
    what: `replay of ${lsn} on the replica`,
    timeoutMs: 30_000,
  })
}

async function startedHandle(server: ServerOptions): Promise<PostgresHandle> {
  const handle = serverHandle(server)
  await handle.start()
  return handle
}

async function makeSlot(url: string, slot: string) {
  await query(
    url,
    `select pg_create_physical_replication_slot('${slot}', true)
     where not exists (select from pg_replication_slots where slot_name = '${slot}')`,
  )
}

function connInfo(primary: PostgresHandle, name: string): string {
  const parts: Record<string, string> = {
    host: primary.host,
    port: String(primary.port),
    user: 'postgres',
    password: primary.password,
    application_name: name,
  }
  return Object.entries(parts)
    .map(([key, value]) => `${key}=${quoteConnInfo(value)}`)
    .join(' ')
}
