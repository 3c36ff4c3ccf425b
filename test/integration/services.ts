import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { inject } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { onDatabase, query, waitForReplay } from '../../hack/services/postgres.ts'
import './global-setup.ts'

export { onDatabase } from '../../hack/services/postgres.ts'

// The servers below are shared by all test files and stay up. A test that kills, restarts or reconfigures a server
// starts one of its own in `tempDir()`, by the functions of hack/services, and stops it afterwards.

/** Superuser's URL of the source's primary, database `postgres`. */
export const sourceUrl = () => inject('sourceUrl')
/** Superuser's URL of the source's streaming replica, database `postgres`. */
export const replicaUrl = () => inject('replicaUrl')
/** Superuser's URL of the destination, database `postgres`. */
export const destUrl = () => inject('destUrl')
/** `host:port` of the Kafka broker. */
export const kafkaBrokers = () => inject('kafkaBrokers')
/** Path of the administrator's kubeconfig. The API server has no controllers beside it. */
export const kubeconfig = () => inject('kubeconfig')

/** A new empty folder that is removed when the run ends. */
export const tempDir = (prefix = 'test') => mkdtempSync(join(inject('runDir'), `${prefix}-`))

/** A database of one test file. */
export interface TestDatabase {
  name: string
  /** Superuser's URL on the primary, or on the destination. */
  url: string
  /** The same database on the replica; only for one on the source. */
  replicaUrl: string
}

/**
 * Makes a fresh database, after dropping one of that name together with its replication slots. On the source it
 * returns when the replica has it too. `template0` clauses such as `locale_provider icu icu_locale 'en-US'` go
 * into `clauses`.
 */
export async function createDatabase(
  name: string,
  server: 'source' | 'destination' = 'source',
  clauses = '',
): Promise<TestDatabase> {
  if (!/^[a-z][a-z0-9_]*$/.test(name)) throw new Error(`not a plain database name: ${name}`)
  const admin = server === 'source' ? sourceUrl() : destUrl()
  await dropDatabase(admin, name)
  await query(admin, `create database ${name} ${clauses && `template template0 ${clauses}`}`)
  const made = { name, url: onDatabase(admin, name), replicaUrl: '' }
  if (server === 'destination') return made
  await waitForReplica()
  return { ...made, replicaUrl: onDatabase(replicaUrl(), name) }
}

/** Waits until the replica has replayed all that the primary has written until now. Fails after 30 s. */
export const waitForReplica = (primary = sourceUrl(), replica = replicaUrl()) =>
  waitForReplay(primary, replica)

/** Runs `work` with a connected client and closes it afterwards. */
export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

async function dropDatabase(admin: string, name: string) {
  // Dropping a database drops its replication slots, but not while one is in use.
  const active = `from pg_replication_slots where database = '${name}' and active`
  await query(admin, `select pg_terminate_backend(active_pid) ${active}`)
  await until(async () => (await query(admin, `select 1 ${active}`)).length === 0, {
    what: `end of the slots' use in ${name}`,
    timeoutMs: 30_000,
  })
  await query(admin, `drop database if exists ${name} with (force)`)
}
