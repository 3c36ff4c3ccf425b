import { until } from '../../../hack/process/wait.ts'
import { onDatabase, query } from '../../../hack/services/postgres.ts'
import type { FuzzServers } from './servers.ts'

/** A source and a destination database of one run. */
export interface Databases {
  readonly name: string
  readonly source: string
  readonly replica: string
  readonly destination: string
  /** Removes both, with the slot of the source; nobody may be at work in them any more. */
  drop(): Promise<void>
}

/** Makes them anew; returns when the replica has the source's too. */
export async function createDatabases(servers: FuzzServers, name: string): Promise<Databases> {
  const remove = async () => {
    for (const server of [servers.source, servers.destination]) await dropDatabase(server, name)
  }
  await remove()
  for (const server of [servers.source, servers.destination]) await query(server, `create database ${name}`)
  const replica = onDatabase(servers.replica, name)
  await until(async () => (await query(replica, 'select 1')).length === 1, {
    what: `database ${name} on the replica`,
    timeoutMs: 30_000,
  })
  return {
    name,
    source: onDatabase(servers.source, name),
    replica,
    destination: onDatabase(servers.destination, name),
    drop: remove,
  }
}

/** Drops a database with its slots; one that was just let go of may be active for a moment more. */
async function dropDatabase(server: string, name: string): Promise<void> {
  await until(
    async () => {
      await query(
        server,
        `select pg_terminate_backend(active_pid) from pg_replication_slots where database = '${name}' and active`,
      )
      await query(server, `drop database if exists ${name} with (force)`)
      return true
    },
    { what: `end of database ${name}`, timeoutMs: 30_000, intervalMs: 500 },
  )
}
