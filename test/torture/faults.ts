import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import { asSuperuser, type Site } from '../../hack/demo/site.ts'
import type { World } from '../cluster/world.ts'
import type { Random } from './random.ts'

/** One thing that goes wrong; resolves when it has been done and, where it is temporary, undone. */
interface Fault {
  readonly name: string
  readonly weight: number
  /** It takes changes away for good, which must be noticed and mended. Not in each schedule. */
  readonly loses?: true
  strike(world: World, site: Site, random: Random): Promise<void>
}

const killPod =
  (process: string): Fault['strike'] =>
  async ({ local }, site) => {
    local.kubelet.kill9(
      (pod) => pod.namespace === site.namespace && pod.labels['app.kubernetes.io/component'] === process,
    )
  }

/** The node of a pod is cut off: another pod takes over while this one goes on, for a while or until all is over. */
const cutOffPod =
  (process: string): Fault['strike'] =>
  async ({ local }, site, random) => {
    const end = local.kubelet.partition(
      (pod) => pod.namespace === site.namespace && pod.labels['app.kubernetes.io/component'] === process,
    )
    setTimeout(end, 1_000 + random.below(12_000)).unref()
  }

const pickNetwork = ({ network }: World, random: Random) =>
  random.pick([network.source, network.replica, network.destination])

/** Whatever keeps a table from being read is ended after a while, or ends what it is in the way of. */
async function lockAndVacuum(site: Site, random: Random): Promise<void> {
  await asSuperuser(site.sourceUrl, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast|^torture$' ORDER BY 1`,
    )
    if (rows.length === 0) return
    await client.query(`SET lock_timeout = '1s'`)
    await client.query(`VACUUM (${random.chance(0.5) ? 'FULL' : 'FREEZE'}) ${random.pick(rows).name}`)
  })
}

/** Drops the slot under whoever reads it. */
async function dropSlot(site: Site): Promise<void> {
  await asSuperuser(site.sourceUrl, async (client) => {
    await client.query(
      `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database() AND active AND plugin = 'pgoutput'`,
    )
    await client.query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database() AND NOT active AND plugin = 'pgoutput'`,
    )
  })
}

/** Deletes all records of one of the site's topics, applied or not. */
async function expireRecords({ kafka }: World, site: Site, random: Random): Promise<void> {
  const client = new Kafka({ brokers: kafka.bootstrap.split(','), logLevel: logLevel.NOTHING })
  const admin = client.admin()
  await admin.connect()
  try {
    const topics = (await admin.listTopics()).filter(
      (name) => name.includes(site.namespace) && !name.endsWith('__capture'),
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
const breakSession =
  (url: (site: Site) => string): Fault['strike'] =>
  async (_world, site, random) => {
    await asSuperuser(url(site), async (client) => {
      const sessions = await client.query<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'millrace-%' ORDER BY pid`,
      )
      if (sessions.rows.length > 0)
        await client.query('SELECT pg_terminate_backend($1)', [random.pick(sessions.rows).pid])
    })
  }

const FAULTS: readonly Fault[] = [
  { name: 'kill capture', weight: 5, strike: killPod('capture') },
  { name: 'kill apply', weight: 5, strike: killPod('apply') },
  { name: 'kill backfill', weight: 5, strike: killPod('backfill') },
  { name: 'kill operator', weight: 2, strike: ({ local }) => local.operator.kill9() },
  {
    name: 'kill broker',
    weight: 1,
    async strike({ kafka }, _site, random) {
      await kafka.kill9()
      await sleep(random.below(1_500))
      await kafka.start()
    },
  },
  {
    name: 'hold the replica behind',
    weight: 2,
    async strike(_world, site, random) {
      await asSuperuser(site.replicaUrl, (client) => client.query('SELECT pg_wal_replay_pause()'))
      try {
        await sleep(random.below(3_000))
      } finally {
        await asSuperuser(site.replicaUrl, (client) => client.query('SELECT pg_wal_replay_resume()'))
      }
    },
  },
  { name: 'restart the replica', weight: 1, strike: ({ replica }) => replica.restart() },
  {
    name: 'kill the destination',
    weight: 1,
    strike: async ({ destination }) => {
      await destination.kill9()
      await destination.restart()
    },
  },
  { name: 'break a session of the source', weight: 3, strike: breakSession((site) => site.sourceUrl) },
  { name: 'break a session of the replica', weight: 3, strike: breakSession((site) => site.replicaUrl) },
  {
    name: 'break a session of the destination',
    weight: 3,
    strike: breakSession((site) => site.destinationUrl),
  },
  { name: 'cut off capture', weight: 1, strike: cutOffPod('capture') },
  { name: 'cut off apply', weight: 2, strike: cutOffPod('apply') },
  { name: 'cut off a backfill', weight: 2, strike: cutOffPod('backfill') },
  {
    name: 'cut the network',
    weight: 3,
    strike: async (world, _site, random) => pickNetwork(world, random).cut(),
  },
  {
    name: 'stall the network',
    weight: 2,
    async strike(world, _site, random) {
      const goOn = pickNetwork(world, random).stall()
      try {
        await sleep(random.below(3_000))
      } finally {
        goOn()
      }
    },
  },
  {
    name: 'leave connections half open',
    weight: 1,
    strike: async (world, _site, random) =>
      void setTimeout(pickNetwork(world, random).silence(), 2_000 + random.below(15_000)).unref(),
  },
  { name: 'vacuum a table', weight: 2, strike: (_world, site, random) => lockAndVacuum(site, random) },
  { name: 'drop the slot', weight: 1, loses: true, strike: (_world, site) => dropSlot(site) },
  { name: 'expire records', weight: 1, loses: true, strike: expireRecords },
]

/** Strikes at random until stopped; `note` is told of each. */
export function startFaults(
  world: World,
  site: Site,
  random: Random,
  note: (what: string) => void,
): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const losses = random.chance(0.25)
  const weights = Object.fromEntries(
    FAULTS.filter(({ loses }) => losses || !loses).map(({ name, weight }) => [name, weight]),
  )
  const done = (async () => {
    while (!stopping.signal.aborted) {
      await sleep(200 + random.below(1_500), undefined, { signal: stopping.signal }).catch(() => {})
      if (stopping.signal.aborted) return
      const name = random.weighted(weights)
      note(name)
      // A server that is just now down cannot be asked for its sessions.
      await FAULTS.find((fault) => fault.name === name)
        ?.strike(world, site, random)
        .catch((error) => note(`${name}: ${error}`))
    }
  })()
  return {
    async stop() {
      stopping.abort()
      await done
    },
  }
}
