import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { asSuperuser, type Site } from '../../hack/demo/site.ts'
import { onDatabase, query } from '../../hack/services/postgres.ts'
import type { World } from '../cluster/world.ts'
import type { Random } from './random.ts'

/** Makes something go wrong; resolves when it has been done and, where it is temporary, undone. */
export type Strike = (world: World, site: Site, random: Random) => Promise<void>

export const killPod =
  (process: string): Strike =>
  async ({ local }, site) => {
    local.kubelet.kill9(
      (pod) => pod.namespace === site.namespace && pod.labels['app.kubernetes.io/component'] === process,
    )
  }

/** The node of a pod is cut off: another pod takes over while this one goes on, for a while or until all is over. */
export const cutOffPod =
  (process: string): Strike =>
  async ({ local }, site, random) => {
    const end = local.kubelet.partition(
      (pod) => pod.namespace === site.namespace && pod.labels['app.kubernetes.io/component'] === process,
    )
    setTimeout(end, 1_000 + random.below(12_000)).unref()
  }

type NetworkName = keyof World['network']
const NETWORKS: readonly NetworkName[] = ['source', 'replica', 'destination', 'queue', 'api']
const pickNetwork = ({ network }: World, random: Random) => network[random.pick(NETWORKS)]

export const cutNetwork: Strike = async (world, _site, random) => pickNetwork(world, random).cut()

export const stallNetwork: Strike = async (world, _site, random) => {
  const goOn = pickNetwork(world, random).stall()
  try {
    await sleep(random.below(3_000))
  } finally {
    goOn()
  }
}

export const halfOpen: Strike = async (world, _site, random) => {
  const network = pickNetwork(world, random)
  const end = random.chance(0.5) ? network.silence() : network.abandon()
  setTimeout(end, 2_000 + random.below(15_000)).unref()
}

/** Whatever keeps a table from being read is ended after a while, or ends what it is in the way of. */
export const vacuum: Strike = async (_world, site, random) =>
  await asSuperuser(site.sourceUrl, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast|^torture$' ORDER BY 1`,
    )
    if (rows.length === 0) return
    await client.query(`SET lock_timeout = '1s'`)
    await client.query(`VACUUM (${random.chance(0.5) ? 'FULL' : 'FREEZE'}) ${random.pick(rows).name}`)
  })

const MY_SLOTS = `FROM pg_replication_slots WHERE database = current_database() AND plugin = 'pgoutput'`

/** Does something to the slot under whoever reads it; tells what the call returned. */
export const atSlot =
  (call: string): Strike =>
  async (_world, site) =>
    await asSuperuser(site.sourceUrl, async (client) => {
      await client.query(`SELECT pg_terminate_backend(active_pid) ${MY_SLOTS} AND active`)
      const { rows } = await client.query(`SELECT ${call} AS returned ${MY_SLOTS} AND NOT active`)
      return rows[0]?.returned
    })

/** Deletes all records of one of the site's topics, applied or not. */
export const expireRecords: Strike = async ({ kafka }, site, random) => {
  const client = new Kafka({ brokers: kafka.bootstrap.split(','), logLevel: logLevel.NOTHING })
  const admin = client.admin()
  await admin.connect()
  try {
    const topics = (await admin.listTopics()).filter(
      (name) => name.includes(`${site.namespace}.`) && !name.endsWith('__capture'),
    )
    if (topics.length === 0) return
    const topic = random.pick(topics.sort())
    const offsets = await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({
      topic,
      partitions: offsets.map(({ partition, high }) => ({ partition, offset: high })),
    })
  } finally {
    await admin.disconnect()
  }
}

/** Breaks one of Millrace's sessions on a server, as a network or an impatient administrator would. */
export const breakSession =
  (url: (site: Site) => string): Strike =>
  async (_world, site, random) =>
    await asSuperuser(url(site), async (client) => {
      const sessions = await client.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'millrace-%' ORDER BY pid`,
      )
      if (sessions.rows.length > 0)
        await client.query('SELECT pg_terminate_backend($1)', [random.pick(sessions.rows).pid])
    })

export const holdReplicaBehind: Strike = async (_world, site, random) => {
  await asSuperuser(site.replicaUrl, (client) => client.query('SELECT pg_wal_replay_pause()'))
  try {
    await sleep(random.below(3_000))
  } finally {
    await asSuperuser(site.replicaUrl, (client) => client.query('SELECT pg_wal_replay_resume()'))
  }
}

// ---- what stops a server of all schedules

export const killBroker: Strike = async ({ gate, kafka }, _site, random) =>
  await gate.alone(async () => {
    await kafka.kill9()
    await sleep(random.below(1_500))
    await kafka.start()
  })

export const restartReplica: Strike = async ({ gate, replica }) => await gate.alone(() => replica.restart())

/** Asynchronous commits of the last moment are gone. */
export const killPrimary: Strike = async ({ gate, primary }) =>
  await gate.alone(async () => {
    await primary.kill9()
    await primary.restart()
  })

export const killDestination: Strike = async ({ gate, destination }) =>
  await gate.alone(async () => {
    await destination.kill9()
    await destination.restart()
  })

/** The replica takes over, with all that was committed or without the last of it. */
export const failOver: Strike = async (world, _site, random) =>
  await world.gate.alone(async () => {
    await world.failOver(random.chance(0.5) ? undefined : random.below(1_000))
    await endPrepared(world.primary.url, random)
  })

/**
 * Transactions that stand between their two phases are ended. One of them may have ended before, which the failover took back,
 * and whoever had ended it does not come back to it; every new slot of every schedule would wait for it for ever.
 */
async function endPrepared(url: string, random: Random): Promise<void> {
  const standing = await query<{ gid: string; database: string }>(
    url,
    'SELECT gid, database FROM pg_prepared_xacts ORDER BY gid',
  )
  for (const { gid, database } of standing)
    await query(
      onDatabase(url, database),
      `${random.chance(0.8) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gid}'`,
    ).catch(unlessEnded)
}

/** The session that it belongs to is back already, and has done it or is at it. */
function unlessEnded(error: unknown): void {
  const [UNDEFINED_OBJECT, OBJECT_NOT_IN_PREREQUISITE_STATE] = ['42704', '55000']
  const { code } = error as { code?: string }
  if (code !== UNDEFINED_OBJECT && code !== OBJECT_NOT_IN_PREREQUISITE_STATE) throw error
}
