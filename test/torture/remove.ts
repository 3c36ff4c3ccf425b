import { waitUntil } from '../../hack/demo/kube.ts'
import { pipelineManifest } from '../../hack/demo/manifests.ts'
import { asSuperuser, type Site } from '../../hack/demo/site.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import type { World } from '../cluster/world.ts'
import { auditSlot } from './history/audit-sql.ts'
import { PIPELINE } from './settle.ts'

/**
 * Deletes the Pipeline as a person would, and waits until it is gone. The namespace stays: the API server takes longest with
 * those, and goes with the world.
 */
export async function removePipeline({ local }: World, site: Site): Promise<void> {
  await local.cluster.remove(pipelineManifest(site.namespace, PIPELINE, site.spec as never))
  await waitUntil(
    `end of the Pipeline in ${site.namespace}`,
    120,
    async () => (await local.cluster.pipeline(site.namespace, PIPELINE)) === undefined,
  )
}

/** Drops the databases of a site whose Pipeline is gone; returns what that has left in the source, where nothing may be. */
export async function dropDatabases({ env }: World, site: Site): Promise<string[]> {
  const database = new URL(site.sourceUrl).pathname.slice(1)
  const left = await asSuperuser(site.sourceUrl, async (client) => {
    const { rows } = await client.query<{ what: string }>(
      `SELECT 'slot ' || slot_name AS what FROM pg_replication_slots WHERE database = current_database() AND plugin = 'pgoutput'
       UNION ALL SELECT 'publication ' || pubname FROM pg_publication`,
    )
    return rows.map(({ what }) => `${what} is left after the Pipeline was deleted`)
  })
  if (left.length > 0) return left
  await asSuperuser(env.SOURCE_ADMIN_URL, async (client) => {
    await client.query(
      'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1',
      [auditSlot(database)],
    )
    await client.query(`DROP DATABASE IF EXISTS ${quoteIdentifier(database)} WITH (FORCE)`)
  })
  await asSuperuser(env.DEST_ADMIN_URL, (client) =>
    client.query(`DROP DATABASE IF EXISTS ${quoteIdentifier(database)} WITH (FORCE)`),
  )
  return []
}
