import { setTimeout as sleep } from 'node:timers/promises'
import { asSuperuser, type Site } from '../../hack/demo/site.ts'
import type { World } from '../cluster/world.ts'
import type { Random } from './random.ts'

/** One thing that goes wrong; resolves when it has been done and, where it is temporary, undone. */
interface Fault {
  readonly name: string
  readonly weight: number
  strike(world: World, site: Site, random: Random): Promise<void>
}

const killPod =
  (process: string): Fault['strike'] =>
  async ({ local }, site) => {
    local.kubelet.kill9(
      (pod) => pod.namespace === site.namespace && pod.labels['app.kubernetes.io/component'] === process,
    )
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
]

const FAULT_NAMES = Object.fromEntries(FAULTS.map(({ name, weight }) => [name, weight]))

/** Strikes at random until stopped. The log says what was done and when, in milliseconds from the start. */
export function startFaults(
  world: World,
  site: Site,
  random: Random,
): { stop(): Promise<readonly string[]> } {
  const stopping = new AbortController()
  const log: string[] = []
  const began = Date.now()
  const done = (async () => {
    while (!stopping.signal.aborted) {
      await sleep(200 + random.below(1_500), undefined, { signal: stopping.signal }).catch(() => {})
      if (stopping.signal.aborted) return
      const name = random.weighted(FAULT_NAMES)
      log.push(`${Date.now() - began} ${name}`)
      // A server that is just now down cannot be asked for its sessions.
      await FAULTS.find((fault) => fault.name === name)
        ?.strike(world, site, random)
        .catch((error) => log.push(`${Date.now() - began} ${name}: ${error}`))
    }
  })()
  return {
    async stop() {
      stopping.abort()
      await done
      return log
    },
  }
}
