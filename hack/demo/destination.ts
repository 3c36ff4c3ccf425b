import type { PipelineManifestSpec } from '../../crds/pipeline.ts'
import { type ComparedTable, type Comparison, compareTable } from './compare.ts'
import { compareWithWarehouse } from './compare-redshift.ts'
import { requireRedshift, type StackEnv } from './stack-env.ts'
import { openWarehouseClient } from './warehouse.ts'

/** Compares a table of a site with its copy in the site's destination, whatever that is. */
export async function compareWithDestination(
  env: StackEnv,
  site: {
    readonly sourceUrl: string
    readonly destinationUrl: string
    readonly spec: Pick<PipelineManifestSpec, 'destination'>
  },
  table: ComparedTable,
): Promise<Comparison> {
  const { redshift } = site.spec.destination
  if (!redshift) return compareTable(site.sourceUrl, site.destinationUrl, table)
  const { accessKeyId, secretAccessKey, dataUrl } = requireRedshift(env)
  const client = openWarehouseClient({
    region: redshift.region,
    database: redshift.database,
    ...(redshift.clusterIdentifier !== undefined && { clusterIdentifier: redshift.clusterIdentifier }),
    endpoint: dataUrl,
    credentials: { accessKeyId, secretAccessKey },
  })
  try {
    return await compareWithWarehouse(site.sourceUrl, client, table)
  } finally {
    client.close()
  }
}
