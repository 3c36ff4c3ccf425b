import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import type { PipelineManifestSpec } from '../../crds/pipeline.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import { type Cluster, type Manifest, waitUntil } from './kube.ts'
import { localPipelineSpec, localRedshiftSpec, namespaceManifest, secretManifest } from './manifests.ts'
import { type DestinationKind, destinationKind, requireRedshift, type StackEnv } from './stack-env.ts'

/** One team's corner of the local stack: a source database, a destination database, a namespace with the two Secrets. */
export interface Site {
  readonly namespace: string
  /**
   * Superuser URLs of its two databases, and of the source's on the replica. The destination's is that of the database behind
   * the emulator where the destination is Redshift.
   */
  readonly sourceUrl: string
  readonly replicaUrl: string
  readonly destinationUrl: string
  /** Password of its roles in PostgreSQL; in the Secrets `source` and `destination`. */
  readonly password: string
  readonly spec: Pick<PipelineManifestSpec, 'source' | 'queue' | 'destination'>
  /** Removes all of it, slots included. Idempotent. */
  remove(): Promise<void>
}

/** The role that owns a site's tables; Millrace's own role is a member, because only owners may publish. */
export const OWNER = 'owner'

/** Makes a site anew; what an earlier run left under the same name goes first. */
export async function createSite(
  env: StackEnv,
  cluster: Cluster,
  name: string,
  kind: DestinationKind = destinationKind(),
): Promise<Site> {
  const redshift = kind === 'redshift' ? requireRedshift(env) : undefined
  const namespace = `site-${name}`
  const database = name.replaceAll('-', '_')
  const role = `millrace_${database}`
  const password = randomBytes(12).toString('hex')
  const namespaceObject = namespaceManifest(namespace)
  const remove = async () => {
    await removeNamespace(cluster, namespaceObject, namespace)
    await asSuperuser(env.SOURCE_ADMIN_URL, (client) => dropDatabase(client, database))
    await asSuperuser(env.DEST_ADMIN_URL, (client) => dropDatabase(client, database))
  }
  await remove()
  await asSuperuser(env.SOURCE_ADMIN_URL, async (client) => {
    await makeRole(client, role, password, 'LOGIN REPLICATION')
    await makeRole(client, OWNER, password, 'NOLOGIN')
    await client.query(`GRANT ${OWNER}, pg_monitor TO ${quoteIdentifier(role)}`)
    await client.query(`CREATE DATABASE ${quoteIdentifier(database)} OWNER ${OWNER}`)
    await client.query(`GRANT CREATE ON DATABASE ${quoteIdentifier(database)} TO ${quoteIdentifier(role)}`)
  })
  await asSuperuser(env.DEST_ADMIN_URL, async (client) => {
    await makeRole(client, role, password, 'LOGIN')
    await client.query(`CREATE DATABASE ${quoteIdentifier(database)} OWNER ${quoteIdentifier(role)}`)
  })
  const inDatabase = (url: string) => Object.assign(new URL(url), { pathname: `/${database}` }).toString()
  const sourceUrl = inDatabase(env.SOURCE_ADMIN_URL)
  const replicaUrl = inDatabase(env.REPLICA_ADMIN_URL)
  await waitUntil(`database ${database} on the replica`, 60, () => answers(replicaUrl))
  await cluster.apply(
    namespaceObject,
    secretManifest(namespace, 'source', role, password),
    redshift
      ? secretManifest(namespace, 'destination', redshift.accessKeyId, redshift.secretAccessKey)
      : secretManifest(namespace, 'destination', role, password),
  )
  return {
    namespace,
    sourceUrl,
    replicaUrl,
    destinationUrl: inDatabase(env.DEST_ADMIN_URL),
    password,
    spec: {
      ...localPipelineSpec(env, { source: database, destination: database }),
      ...(redshift && { destination: localRedshiftSpec(redshift, database) }),
    },
    remove,
  }
}

/** Runs `work` with a client on a database and closes it. */
export async function asSuperuser<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: 'site' })
  client.on('error', () => {}) // shows in the query
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

async function answers(url: string): Promise<boolean> {
  return await asSuperuser(url, async () => true).catch(() => false)
}

async function makeRole(client: Client, role: string, password: string, options: string): Promise<void> {
  const known = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [role])
  const verb = known.rowCount === 0 ? 'CREATE' : 'ALTER'
  // The password is hexadecimal.
  await client.query(`${verb} ROLE ${quoteIdentifier(role)} ${options} PASSWORD '${password}'`)
}

async function dropDatabase(client: Client, database: string): Promise<void> {
  await client.query(
    `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = $1 AND active_pid IS NOT NULL`,
    [database],
  )
  await waitUntil(`end of the slots of ${database}`, 30, async () => {
    const slots = await client.query<{ slot_name: string; active: boolean }>(
      'SELECT slot_name, active FROM pg_replication_slots WHERE database = $1',
      [database],
    )
    for (const slot of slots.rows) {
      if (!slot.active) await client.query('SELECT pg_drop_replication_slot($1)', [slot.slot_name])
    }
    return slots.rows.length === 0
  })
  await client.query(`DROP DATABASE IF EXISTS ${quoteIdentifier(database)} WITH (FORCE)`)
}

async function removeNamespace(cluster: Cluster, manifest: Manifest, namespace: string): Promise<void> {
  // Pipelines first, and in order: their cleanup needs the Secrets that the namespace takes along.
  const path = `/apis/millrace.dev/v1alpha1/namespaces/${namespace}/pipelines`
  const pipelines = () => cluster.list<Manifest>(path).catch(() => [])
  for (const pipeline of await pipelines()) {
    await cluster.remove({ ...pipeline, apiVersion: 'millrace.dev/v1alpha1', kind: 'Pipeline' })
  }
  await waitUntil(`end of the pipelines in ${namespace}`, 120, async () => (await pipelines()).length === 0)
  await cluster.remove(manifest)
  await waitUntil(`end of namespace ${namespace}`, 120, async () => {
    const all = await cluster.list<{ metadata: { name: string } }>('/api/v1/namespaces')
    return !all.some(({ metadata }) => metadata.name === namespace)
  })
}
