import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Comparison, compareTable } from '../../hack/demo/compare.ts'
import { compareWithDestination } from '../../hack/demo/destination.ts'
import { createSite, type Site } from '../../hack/demo/site.ts'
import type { DestinationKind } from '../../hack/demo/stack-env.ts'
import { freePort } from '../../hack/process/ports.ts'
import { describeRedshiftEmulator } from '../../hack/services/redshift.ts'
import { startNetwork } from '../cluster/network.ts'
import type { World } from '../cluster/world.ts'
import type { Fault as ApiFault } from '../emulator/faults.ts'
import type { Fault } from './faults.ts'
import type { Random } from './random.ts'
import { randomTables, type TortureTable, warehouseTables } from './tables.ts'

/** What schedules replicate into. */
export interface DestinationUnderTest {
  /** Its ledger and tables tell what was done to them. */
  readonly audited: boolean
  /** Most rows of one huge transaction. */
  readonly hugeRows: number
  /** What goes wrong with it alone. */
  readonly faults: Readonly<Record<string, Fault>>
  tables(random: Random): TortureTable[]
  createSite(name: string): Promise<Site>
  compare(site: Site, table: TortureTable): Promise<Comparison>
  stop(): Promise<void>
}

export async function startDestination(
  kind: DestinationKind,
  world: World,
  dir: string,
): Promise<DestinationUnderTest> {
  return kind === 'redshift' ? await redshift(world, dir) : postgres(world)
}

function postgres(world: World): DestinationUnderTest {
  return {
    audited: true,
    hugeRows: 20_000,
    faults: {},
    tables: (random) => randomTables(random, 1 + random.below(3), random.chance(0.25)),
    createSite: oneByOne((name) => createSite(world.env, world.local.cluster, name, 'postgres')),
    compare: (site, table) =>
      compareTable(site.sourceUrl, site.destinationUrl, {
        source: table,
        destination: table,
        // Columns that were added on the way tell rows apart, too.
        key: table.keyless ? [] : table.key,
      }),
    stop: async () => {},
  }
}

/** A bad moment of the Data API and of S3. */
const BAD_MOMENT: readonly ApiFault[] = [
  { kind: 'throttle', probability: 0.1 },
  { kind: 'drop-request', probability: 0.05 },
  { kind: 'lose-response', probability: 0.1 },
  { kind: 'serialization-error', sql: '^(insert|delete|copy|update)', probability: 0.15 },
  { kind: 'abort', sql: '^(insert|copy|update|delete)', probability: 0.1 },
  { kind: 'disconnect', probability: 0.03 },
  { kind: 's3-error', status: 503, probability: 0.2 },
  { kind: 's3-cut', bytes: 30, probability: 0.1 },
]

async function redshift(world: World, dir: string): Promise<DestinationUnderTest> {
  const ports = { s3: await freePort(), dataApi: await freePort() }
  const emulator = await describeRedshiftEmulator({
    dir: join(dir, 'redshift'),
    ports,
    postgresUrl: world.destination.url,
    lifetime: 'bound',
  })
  await emulator.start()
  const network = await startNetwork('127.0.0.1', ports.dataApi)
  const env = {
    ...world.env,
    REDSHIFT_DATA_URL: emulator.dataUrl,
    POD_REDSHIFT_DATA_URL: `http://127.0.0.1:${network.port}`,
    POD_S3_URL: emulator.s3Url,
    S3_BUCKET: emulator.bucket,
    S3_ACCESS_KEY_ID: emulator.accessKeyId,
    S3_SECRET_ACCESS_KEY: emulator.secretAccessKey,
  }
  const setFaults = async (faults: readonly ApiFault[]) => {
    const method = faults.length > 0 ? 'PUT' : 'DELETE'
    const body = faults.length > 0 ? { body: JSON.stringify(faults) } : {}
    await fetch(`${emulator.dataUrl}/_emulator/faults`, { method, ...body })
  }
  return {
    audited: false,
    hugeRows: 2_000,
    faults: {
      'a bad moment of the Data API': {
        weight: 8,
        async strike(_world, _site, random) {
          await setFaults(BAD_MOMENT)
          await sleep(random.below(3_000))
          await setFaults([])
        },
      },
      'cut the Data API': { weight: 3, strike: async () => network.cut() },
    },
    tables: (random) => warehouseTables(random, 1 + random.below(2)),
    createSite: oneByOne((name) => createSite(env, world.local.cluster, name, 'redshift')),
    compare: (site, table) =>
      compareWithDestination(env, site, { source: table, destination: table, key: table.key }),
    async stop() {
      await network.close()
      await emulator.kill9()
    },
  }
}

/** Sites share roles, which two cannot make at once. */
function oneByOne(make: (name: string) => Promise<Site>): (name: string) => Promise<Site> {
  let last: Promise<unknown> = Promise.resolve()
  return (name) => {
    const made = last.then(() => make(name))
    last = made.catch(() => {})
    return made
  }
}
