import { setTimeout as sleep } from 'node:timers/promises'
import { compareTable } from '../../hack/demo/compare.ts'
import { backfillManifest, pipelineManifest } from '../../hack/demo/manifests.ts'
import { asSuperuser, OWNER, type Site } from '../../hack/demo/site.ts'
import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import type { World } from '../cluster/world.ts'
import { startFaults } from './faults.ts'
import { createRandom, type Random } from './random.ts'
import { randomTables, type TortureTable } from './tables.ts'
import { startWorkload, statement } from './workload.ts'

/** How one schedule ended. */
export interface Outcome {
  readonly seed: string
  /** Empty when source and destination are equal. */
  readonly divergences: readonly string[]
  readonly transactions: number
  /** What was done to it, in order. */
  readonly log: readonly string[]
  readonly seconds: number
}

const PIPELINE = 'torture'
/** How long a schedule may take to come to rest, seconds. */
const PATIENCE = 240

/** One seeded schedule on a site of its own: writes, faults and backfills at random; then quiet, and the comparison. */
export async function runSchedule(world: World, seed: string): Promise<Outcome> {
  const began = Date.now()
  const random = createRandom(seed)
  const site = await world.createSite(`torture-${seed}`)
  const tables = randomTables(random.fork('tables'), 1 + random.below(3), random.chance(0.25))
  await makeTables(site, tables, random.fork('rows'))
  const workload = await startWorkload({
    url: site.sourceUrl,
    role: OWNER,
    tables,
    random: random.fork('workload'),
    sessions: 2 + random.below(3),
    truncates: random.chance(0.3),
    ddl: random.chance(0.3),
    hugeRows: random.chance(0.3) ? 20_000 : 0,
  })
  const log: string[] = []
  const faults = startFaults(world, site, random.fork('faults'))
  try {
    await world.local.cluster.apply(
      pipelineManifest(site.namespace, PIPELINE, {
        ...site.spec,
        tables: tables.map(({ schema, name }) => ({ schema, name })),
        backfill: {
          chunkRows: 1 + random.below(15),
          parallelism: 1 + random.below(4),
          maxConcurrentTables: 1 + random.below(3),
        },
      }),
    )
    log.push(...(await backfillAtRandom(world, site, tables, random.fork('backfills'))))
  } finally {
    log.push(...(await faults.stop()))
    await workload.stop()
  }
  const divergences = await settle(world, site, tables)
  if (divergences.length === 0) await site.remove()
  return {
    seed,
    divergences,
    transactions: workload.transactions(),
    log,
    seconds: (Date.now() - began) / 1000,
  }
}

async function makeTables(site: Site, tables: readonly TortureTable[], random: Random): Promise<void> {
  await asSuperuser(site.sourceUrl, async (client) => {
    await client.query(`GRANT CREATE ON SCHEMA public TO ${OWNER}`)
    await client.query(`SET ROLE ${quoteIdentifier(OWNER)}`)
    for (const table of tables) {
      for (const sql of table.ddl) await client.query(sql)
      for (let i = 0; i < 60; i += 1) await client.query(statement(random, table)).catch(() => {})
    }
  })
}

/**
 * Ad-hoc backfills while everything goes wrong: all actions, cancels, deletes, suspends; tables leave and come back. Takes
 * 3 to 9 s.
 */
async function backfillAtRandom(
  world: World,
  site: Site,
  tables: readonly TortureTable[],
  random: Random,
): Promise<string[]> {
  const { cluster } = world.local
  const log: string[] = []
  const began = Date.now()
  const end = began + 3_000 + random.below(6_000)
  for (let number = 0; Date.now() < end; number += 1) {
    await sleep(random.below(2_000))
    if (random.chance(0.12)) {
      const left = random.pick(tables)
      log.push(`${Date.now() - began} table ${left.name} is removed and added`)
      await setTables(
        world,
        site,
        tables.filter((each) => each !== left),
      )
      await sleep(random.below(3_000))
      await setTables(world, site, tables)
    }
    const table = random.pick(tables)
    const name = `adhoc-${number}`
    const action = random.pick(['DoNothing', 'Truncate', 'Drop'] as const)
    const scan = random.pick(['Auto', 'Key', 'Ctid'] as const)
    const readFrom = random.pick(['Replica', 'Primary'] as const)
    const manifest = backfillManifest(site.namespace, name, {
      pipelineRef: { name: PIPELINE },
      table: { schema: table.schema, name: table.name },
      destinationTable: action,
      backfill: { scan, readFrom: table.keyless ? 'Primary' : readFrom },
      backoffLimit: 50,
    })
    await cluster.apply(manifest)
    log.push(`${Date.now() - began} backfill ${name} of ${table.name}: ${action} ${scan} ${readFrom}`)
    const end = random.weighted({ none: 60, cancel: 15, delete: 10, suspend: 15 })
    if (end === 'none') continue
    await sleep(random.below(2_500))
    log.push(`${Date.now() - began} ${end} ${name}`)
    const path = `/apis/millrace.dev/v1alpha1/namespaces/${site.namespace}/tablebackfills/${name}`
    if (end === 'delete') await cluster.remove(manifest)
    else await cluster.patch(path, { spec: end === 'cancel' ? { cancel: true } : { suspend: true } })
    if (end !== 'suspend') continue
    await sleep(random.below(2_000))
    await cluster.patch(path, { spec: { suspend: false } })
  }
  return log
}

async function setTables(world: World, site: Site, tables: readonly TortureTable[]): Promise<void> {
  const path = `/apis/millrace.dev/v1alpha1/namespaces/${site.namespace}/pipelines/${PIPELINE}`
  await world.local.cluster.patch(path, {
    spec: { tables: tables.map(({ schema, name }) => ({ schema, name })) },
  })
}

/** Waits until nothing moves any more and both sides are equal; returns what is not, and why it thinks so. */
async function settle(world: World, site: Site, tables: readonly TortureTable[]): Promise<string[]> {
  await makeWhole(world, site, tables)
  const deadline = Date.now() + PATIENCE * 1000
  for (;;) {
    const found = await differences(world, site, tables)
    if (found.length === 0) return []
    if (Date.now() > deadline) return found
    await sleep(500)
  }
}

/** Where a cancel or a stop has left a table without its whole history, a person would copy it again; so does this. */
async function makeWhole(world: World, site: Site, tables: readonly TortureTable[]): Promise<void> {
  const { cluster } = world.local
  const deadline = Date.now() + PATIENCE * 1000
  const asked = new Map<string, number>()
  for (;;) {
    const status = (await cluster.pipeline(site.namespace, PIPELINE))?.status
    const backfills = await cluster.backfills(site.namespace)
    const busy = backfills.filter(
      ({ status }) => !['Streaming', 'Cancelled', 'Failed'].includes(status?.phase ?? ''),
    )
    const broken = tables.filter((table) => {
      const known = status?.tables?.find(({ schema, name }) => schema === table.schema && name === table.name)
      return known?.historyComplete === false || known?.state === 'Failed'
    })
    if (busy.length === 0 && broken.length === 0) return
    if (Date.now() > deadline) return
    for (const table of broken) {
      if (busy.some(({ spec }) => spec.table.name === table.name)) continue
      const times = (asked.get(table.name) ?? 0) + 1
      if (times > 5) return
      asked.set(table.name, times)
      await cluster.apply(
        backfillManifest(site.namespace, `whole-${tables.indexOf(table)}-${times}`, {
          pipelineRef: { name: PIPELINE },
          table: { schema: table.schema, name: table.name },
          destinationTable: 'Truncate',
          ...(table.keyless && { backfill: { scan: 'Ctid' as const, readFrom: 'Primary' as const } }),
          backoffLimit: 50,
        }),
      )
    }
    await sleep(500)
  }
}

async function differences(world: World, site: Site, tables: readonly TortureTable[]): Promise<string[]> {
  const found: string[] = []
  const { cluster } = world.local
  const status = (await cluster.pipeline(site.namespace, PIPELINE))?.status
  for (const table of tables) {
    const known = status?.tables?.find(({ schema, name }) => schema === table.schema && name === table.name)
    const label = quoteTable(table)
    if (known?.state !== 'Streaming') found.push(`${label} is ${known?.state}: ${known?.message}`)
    if (known?.historyComplete !== true) found.push(`${label} historyComplete is ${known?.historyComplete}`)
    try {
      const result = await compareTable(site.sourceUrl, site.destinationUrl, {
        source: table,
        destination: table,
        key: table.keyless ? [...table.key, ...Object.keys(table.values)] : table.key,
      })
      if (result.different > 0)
        found.push(`${label}: ${result.different} of ${result.rows} rows differ`, ...result.examples)
    } catch (error) {
      found.push(`${label} cannot be compared: ${error}`)
    }
  }
  return found
}
