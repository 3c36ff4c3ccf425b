import { rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Settings } from '../../hack/services/postgres/config.ts'
import { type PostgresHandle, query, startPrimary, startReplica } from '../../hack/services/postgres.ts'

/**
 * The replica takes the primary's place, with its address; the primary is gone, with its replication slots, and a new replica
 * follows.
 *
 * @param behind milliseconds for which the replica gets nothing any more before the primary dies: what is committed then is
 * lost. Undefined: the primary ends in order, and everything comes through.
 */
export async function failOver(
  primary: PostgresHandle,
  replica: PostgresHandle,
  settings: { readonly primary: Settings; readonly replica: Settings },
  behind: number | undefined,
): Promise<void> {
  if (behind === undefined) await primary.stop('fast')
  else {
    await query(replica.url, `ALTER SYSTEM SET primary_conninfo = ''`)
    await query(replica.url, 'SELECT pg_reload_conf()')
    await sleep(behind)
    await primary.kill9()
  }
  await query(replica.url, 'SELECT pg_promote(true, 30)')
  await query(replica.url, 'ALTER SYSTEM RESET primary_conninfo')
  await replica.stop('fast')
  await rm(primary.dataDir, { recursive: true })
  await rename(replica.dataDir, primary.dataDir)
  const { port, password } = primary
  const promoted = await startPrimary({
    dir: dirname(primary.dataDir),
    port,
    password,
    settings: settings.primary,
  })
  await startReplica(promoted, {
    dir: dirname(replica.dataDir),
    port: replica.port,
    settings: settings.replica,
  })
}
