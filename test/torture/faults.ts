import { setTimeout as sleep } from 'node:timers/promises'
import type { Site } from '../../hack/demo/site.ts'
import type { World } from '../cluster/world.ts'
import { MOVE_SLOT } from './history/events.ts'
import type { Random } from './random.ts'
import {
  atSlot,
  breakSession,
  cutNetwork,
  cutOffPod,
  expireRecords,
  failOver,
  halfOpen,
  holdReplicaBehind,
  killBroker,
  killDestination,
  killPod,
  killPrimary,
  restartReplica,
  type Strike,
  stallNetwork,
  vacuum,
} from './strikes.ts'

/** One thing that goes wrong. */
export interface Fault {
  readonly weight: number
  /** It takes changes away for good, which must be noticed and mended. Not in each schedule. */
  readonly loses?: true
  readonly strike: Strike
}

const FAULTS: Readonly<Record<string, Fault>> = {
  'kill capture': { weight: 5, strike: killPod('capture') },
  'kill apply': { weight: 5, strike: killPod('apply') },
  'kill backfill': { weight: 5, strike: killPod('backfill') },
  'kill operator': { weight: 2, strike: ({ local }) => local.operator.kill9() },
  'kill broker': { weight: 0.6, strike: killBroker },
  'kill the primary': { weight: 0.8, strike: killPrimary },
  'kill the destination': { weight: 0.8, strike: killDestination },
  'restart the replica': { weight: 1, strike: restartReplica },
  'hold the replica behind': { weight: 2, strike: holdReplicaBehind },
  'break a session of the source': { weight: 3, strike: breakSession((site) => site.sourceUrl) },
  'break a session of the replica': { weight: 3, strike: breakSession((site) => site.replicaUrl) },
  'break a session of the destination': { weight: 3, strike: breakSession((site) => site.destinationUrl) },
  'cut off capture': { weight: 1, strike: cutOffPod('capture') },
  'cut off apply': { weight: 2, strike: cutOffPod('apply') },
  'cut off a backfill': { weight: 2, strike: cutOffPod('backfill') },
  'cut the network': { weight: 3, strike: cutNetwork },
  'stall the network': { weight: 2, strike: stallNetwork },
  'leave connections half open': { weight: 1, strike: halfOpen },
  'vacuum a table': { weight: 2, strike: vacuum },
  'drop the slot': { weight: 1, loses: true, strike: atSlot('pg_drop_replication_slot(slot_name)') },
  [MOVE_SLOT]: {
    weight: 1,
    loses: true,
    strike: atSlot('(pg_replication_slot_advance(slot_name, pg_current_wal_lsn())).end_lsn'),
  },
  'expire records': { weight: 1, loses: true, strike: expireRecords },
  'fail over': { weight: 0.25, loses: true, strike: failOver },
}

/** Share of the schedules in which changes are taken away. */
const LOSSES = 0.25

/** Strikes at random until stopped; `note` is told of each. `more` are faults of the destination at hand. */
export function startFaults(
  world: World,
  site: Site,
  random: Random,
  note: (what: string) => void,
  more: Readonly<Record<string, Fault>> = {},
): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const losses = random.chance(LOSSES)
  const faults = Object.entries({ ...FAULTS, ...more }).filter(([, { loses }]) => losses || !loses)
  const weights = Object.fromEntries(faults.map(([name, { weight }]) => [name, weight]))
  const strikes = new Map(faults.map(([name, { strike }]) => [name, strike]))
  const done = (async () => {
    // The longer it takes, the less often: something has to come to its end meanwhile.
    for (let struck = 0; !stopping.signal.aborted; struck += 1) {
      const pause = 200 + random.below(1_500) * (1 + struck / 8)
      await sleep(pause, undefined, { signal: stopping.signal }).catch(() => {})
      if (stopping.signal.aborted) return
      const name = random.weighted(weights)
      note(name)
      // A server that is just now down cannot be asked for its sessions.
      const told = await strikes.get(name)?.(world, site, random).catch(String)
      if (told) note(`${name}: ${told}`)
    }
  })()
  return {
    async stop() {
      stopping.abort()
      await done
    },
  }
}
