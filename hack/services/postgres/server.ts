import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { daemon, type Lifetime } from '../../process/daemon.ts'
import { identify } from '../../process/procfs.ts'
import { run } from '../../process/run.ts'
import { unprivilegedUser, userOptions, withPrivileges } from '../../process/user.ts'
import { until } from '../../process/wait.ts'
import { postgresBinaries } from './binaries.ts'
import { baseSettings, renderHba, renderSettings, type Settings, unsafeSettings } from './config.ts'

export interface ServerOptions {
  /** Folder for data, pid file and log. Data already there is used again. */
  dir: string
  port: number
  name: string
  /** Addresses to listen on beside the loopback one. */
  listen?: readonly string[] | undefined
  /** Networks, as CIDR, that clients may come from beside the loopback. */
  networks?: readonly string[] | undefined
  settings?: Settings | undefined
  /** Superuser `postgres`. */
  password: string
  /** Keeps fsync on. */
  durable?: boolean | undefined
  lifetime?: Lifetime | undefined
  logFile?: string | undefined
}

/** How a server is told to end: what pg_ctl calls smart, fast and immediate. */
export type StopMode = 'smart' | 'fast' | 'immediate'

/** A PostgreSQL server. Its address stays the same over restarts. */
export interface PostgresHandle {
  /** Superuser, database `postgres`, by the loopback. */
  url: string
  host: string
  port: number
  password: string
  dataDir: string
  logFile: string
  pid(): number | undefined
  /** Ends it; by default without waiting for clients, but in order. */
  stop(mode?: StopMode): Promise<void>
  /** Kills the server and every process of it as a power cut would. */
  kill9(): Promise<void>
  /** Starts it again and waits until it answers queries. */
  start(): Promise<void>
  /** `stop` and `start`. */
  restart(mode?: StopMode): Promise<void>
}

const stopSignals: Record<StopMode, NodeJS.Signals> = {
  smart: 'SIGTERM',
  fast: 'SIGINT',
  immediate: 'SIGQUIT',
}

/** URL of a database on this machine. */
export function databaseUrl(user: string, password: string, port: number, database: string): string {
  return `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`
}

/** The same server and user, another database. */
export function onDatabase(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

export const dataDirOf = (dir: string) => join(dir, 'data')

/** Makes the folder of a server, writable by the user it runs as. */
export function makeServerDir(dir: string) {
  const user = unprivilegedUser()
  for (const folder of [dir, dataDirOf(dir)]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (user) chownSync(folder, user.uid, user.gid)
  }
}

/** Fills an empty data folder. Text is UTF-8 and sorted by code point, whatever locales the machine has. */
export async function initData(options: ServerOptions) {
  const dataDir = dataDirOf(options.dir)
  const user = unprivilegedUser()
  const passwordFile = join(options.dir, 'password')
  writeFileSync(passwordFile, options.password, { mode: 0o600 })
  if (user) chownSync(passwordFile, user.uid, user.gid)
  const command = [
    postgresBinaries().initdb,
    `--pgdata=${dataDir}`,
    '--username=postgres',
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-sync',
  ]
  await run(withPrivileges(user ? userOptions(user) : [], command) as [string, ...string[]], { cwd: '/' })
  rmSync(passwordFile)
}

export const hasData = (dir: string) => existsSync(join(dataDirOf(dir), 'PG_VERSION'))

/** Writes the configuration into a filled data folder. `layers` come between the common settings and the caller's. */
export function configure(options: ServerOptions, ...layers: Settings[]) {
  const own: Settings = {
    port: options.port,
    listen_addresses: ['127.0.0.1', ...(options.listen ?? [])].join(','),
  }
  const safety = options.durable ? {} : unsafeSettings
  const settings = renderSettings(baseSettings, safety, ...layers, own, options.settings)
  writeFileSync(join(dataDirOf(options.dir), 'postgresql.conf'), settings)
  writeFileSync(join(dataDirOf(options.dir), 'pg_hba.conf'), renderHba(options.networks ?? []))
}

/** Describes a server with a filled, configured folder. It is not started, and may run already. */
export function serverHandle(options: ServerOptions): PostgresHandle {
  const url = databaseUrl('postgres', options.password, options.port, 'postgres')
  const server = daemon({
    name: options.name,
    command: [postgresBinaries().postgres, '-D', dataDirOf(options.dir)],
    dir: options.dir,
    logFile: options.logFile ?? join(options.dir, `${options.name}.log`),
    lifetime: options.lifetime ?? 'bound',
    user: unprivilegedUser(),
    stopSignal: stopSignals.fast,
    // An orderless end by which it still frees its shared memory.
    orphanSignal: stopSignals.immediate,
    stopTimeoutMs: 30_000,
  })
  const start = async () => {
    if (!server.running()) {
      removeStaleLock(dataDirOf(options.dir))
      server.start()
    }
    await until(() => answers(url), {
      what: `PostgreSQL (${options.name}) on port ${options.port}`,
      timeoutMs: 60_000,
      assertPossible: server.assertRunning,
    })
  }
  const stop = (mode: StopMode = 'fast') => server.stop(stopSignals[mode])
  return {
    url,
    host: '127.0.0.1',
    port: options.port,
    password: options.password,
    dataDir: dataDirOf(options.dir),
    logFile: server.logFile,
    pid: () => server.running()?.pid,
    stop,
    kill9: server.kill9,
    start,
    restart: async (mode) => {
      await stop(mode)
      await start()
    },
  }
}

/**
 * Removes the lock file of a killed server. PostgreSQL sees by itself that its owner is dead, unless the owner's parent
 * has not taken note of its death yet, which can take minutes where process 1 is no real init.
 */
function removeStaleLock(dataDir: string) {
  const lock = join(dataDir, 'postmaster.pid')
  if (!existsSync(lock)) return
  const pid = Number.parseInt(readFileSync(lock, 'utf8'), 10)
  if (identify(pid) === undefined) rmSync(lock)
}

async function answers(url: string): Promise<boolean> {
  await query(url, 'select 1')
  return true
}

/** Runs one statement in a session of its own. */
export async function query<Row extends object>(url: string, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: url, application_name: 'millrace-stack' })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end()
  }
}
