import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { backfillManifest, pipelineManifest } from '../../hack/demo/manifests.ts'
import { asSuperuser, OWNER, type Site } from '../../hack/demo/site.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import type { World } from '../cluster/world.ts'
import type { DestinationUnderTest } from './destinations.ts'
import { startFaults } from './faults.ts'
import { watchSource } from './history/audit-sql.ts'
import { checkHistory } from './history/check.ts'
import { startRecorder, writeHistory } from './history/record.ts'
import type { ClusterWatch } from './history/watch.ts'
import { createRandom, type Random } from './random.ts'
import { dropDatabases, removePipeline } from './remove.ts'
import { PIPELINE, settle } from './settle.ts'
import type { TortureTable } from './tables.ts'
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
  /** What the time went to, seconds. */
  readonly phases: Readonly<Record<string, number>>
}

/** What all schedules of a run share. */
export interface Run {
  readonly world: World
  readonly watch: ClusterWatch
  /** Folder of the seeds' histories. */
  readonly dir: string
  readonly destination: DestinationUnderTest
}

/** One seeded schedule on a site of its own: writes, faults and backfills at random; then quiet, and the comparison. */
export async function runSchedule(run: Run, seed: string): Promise<Outcome> {
  const { world } = run
  const began = Date.now()
  const phases: Record<string, number> = {}
  let last = began
  const lap = (name: string) => {
    phases[name] = (Date.now() - last) / 1000
    last = Date.now()
  }
  const random = createRandom(seed)
  const { destination } = run
  const tables = destination.tables(random.fork('tables'))
  const maxConcurrentTables = 1 + random.below(3)
  const { site, recorder, failovers } = await world.gate.calm(async () => {
    const failovers = world.failovers()
    const site = await destination.createSite(`torture-${seed}`)
    const recorder = await startRecorder({
      world,
      site,
      watch: run.watch,
      pipeline: PIPELINE,
      tables,
      owner: OWNER,
      auditDestination: destination.audited,
    })
    await makeTables(site, tables, random.fork('rows'))
    return { site, recorder, failovers }
  })
  lap('site')
  const workload = await startWorkload({
    url: site.sourceUrl,
    role: OWNER,
    tables,
    random: random.fork('workload'),
    sessions: 2 + random.below(3),
    truncates: random.chance(0.3),
    ddl: random.chance(0.3),
    hugeRows: random.chance(0.3) ? destination.hugeRows : 0,
  })
  const log: string[] = []
  const note = (what: string) => {
    log.push(`${Date.now() - began} ${what}`)
    recorder.struck(what)
  }
  const faults = startFaults(world, site, random.fork('faults'), note, destination.faults)
  const reads = random.fork('reads')
  const fromPrimary = tables.filter(({ keyless }) => keyless || reads.chance(0.5))
  try {
    await world.local.cluster.apply(
      pipelineManifest(site.namespace, PIPELINE, {
        ...site.spec,
        tables: tables.map(({ schema, name }) => ({ schema, name })),
        backfill: {
          chunkRows: 1 + random.below(15),
          parallelism: 1 + random.below(4),
          maxConcurrentTables,
        },
        queue: {
          kafka: {
            ...site.spec.queue.kafka,
            ...(random.chance(0.15) && { retentionSeconds: random.below(3) }),
          },
        },
      }),
    )
    await backfillAtRandom(world, site, tables, fromPrimary, random.fork('backfills'), note)
    await emptyLine(world, site)
  } finally {
    await faults.stop()
    await workload.stop()
  }
  lap('storm')
  const divergences = await settle(world, site, tables, (table) => destination.compare(site, table))
  lap('settle')
  const history = await world.gate.calm(() =>
    recorder.finish({
      maxConcurrentTables,
      readFromPrimary: fromPrimary.map(({ schema, name }) => `${schema}.${name}`),
      keyless: tables.filter(({ keyless }) => keyless).map(({ schema, name }) => `${schema}.${name}`),
      failedOver: world.failovers() !== failovers,
    }),
  )
  await writeHistory(join(run.dir, seed), history)
  divergences.push(...checkHistory(history))
  lap('check')
  if (divergences.length === 0) {
    await removePipeline(world, site)
    divergences.push(...(await world.gate.calm(() => dropDatabases(world, site))))
    lap('remove')
  }
  return {
    seed,
    divergences,
    transactions: workload.transactions(),
    log,
    seconds: (Date.now() - began) / 1000,
    phases,
  }
}

async function makeTables(site: Site, tables: readonly TortureTable[], random: Random): Promise<void> {
  await asSuperuser(site.sourceUrl, async (client) => {
    await client.query(`GRANT CREATE ON SCHEMA public TO ${OWNER}`)
    await client.query(`SET ROLE ${quoteIdentifier(OWNER)}`)
    for (const [index, table] of tables.entries()) {
      for (const sql of table.ddl) await client.query(sql)
      await client.query(`RESET ROLE; ${watchSource(table, index)} SET ROLE ${quoteIdentifier(OWNER)}`)
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
  fromPrimary: readonly TortureTable[],
  random: Random,
  note: (what: string) => void,
): Promise<void> {
  const { cluster } = world.local
  const began = Date.now()
  const end = began + 3_000 + random.below(6_000)
  for (let number = 0; Date.now() < end; number += 1) {
    await sleep(random.below(2_000))
    if (random.chance(0.12)) {
      const left = random.pick(tables)
      note(`table ${left.name} is removed and added`)
      await setTables(
        world,
        site,
        tables.filter((each) => each !== left),
      )
      await sleep(random.below(3_000))
      await setTables(world, site, tables)
    }
    if (random.chance(0.08)) {
      const state = random.pick(['Paused', 'Stopped'] as const)
      note(`the Pipeline is ${state}`)
      await patchPipeline(world, site, { state })
      await sleep(random.below(2_000))
      await patchPipeline(world, site, { state: 'Running' })
    }
    const table = random.pick(tables)
    const name = `adhoc-${number}`
    const action = random.pick(['DoNothing', 'Truncate', 'Drop'] as const)
    const scan = random.pick(['Auto', 'Key', 'Ctid'] as const)
    const readFrom =
      table.keyless || (fromPrimary.includes(table) && random.chance(0.6)) ? 'Primary' : 'Replica'
    const manifest = backfillManifest(site.namespace, name, {
      pipelineRef: { name: PIPELINE },
      table: { schema: table.schema, name: table.name },
      destinationTable: action,
      backfill: { scan, readFrom },
      ...(!table.keyless && random.chance(0.15) && { verify: 'AfterBackfill' as const }),
      backoffLimit: 50,
    })
    await cluster.apply(manifest)
    note(`backfill ${name} of ${table.name}: ${action} ${scan} ${readFrom}`)
    const end = random.weighted({ none: 60, cancel: 15, delete: 10, suspend: 15 })
    if (end === 'none') continue
    await sleep(random.below(2_500))
    note(`${end} ${name}`)
    const path = `/apis/millrace.dev/v1alpha1/namespaces/${site.namespace}/tablebackfills/${name}`
    if (end === 'delete') await cluster.remove(manifest)
    else await cluster.patch(path, { spec: end === 'cancel' ? { cancel: true } : { suspend: true } })
    if (end !== 'suspend') continue
    await sleep(random.below(2_000))
    await cluster.patch(path, { spec: { suspend: false } })
  }
}

/** What waits is called off when the storm ends, but for the first: it would only be more of the same, one after the other. */
async function emptyLine({ local: { cluster } }: World, site: Site): Promise<void> {
  const waiting = (await cluster.backfills(site.namespace)).filter(
    ({ metadata, status }) => status?.phase === 'Queued' && metadata.name.startsWith('adhoc'),
  )
  for (const { metadata } of waiting.slice(1))
    await cluster.patch(
      `/apis/millrace.dev/v1alpha1/namespaces/${site.namespace}/tablebackfills/${metadata.name}`,
      { spec: { cancel: true } },
    )
}

const setTables = (world: World, site: Site, tables: readonly TortureTable[]) =>
  patchPipeline(world, site, { tables: tables.map(({ schema, name }) => ({ schema, name })) })

async function patchPipeline(world: World, site: Site, spec: object): Promise<void> {
  const path = `/apis/millrace.dev/v1alpha1/namespaces/${site.namespace}/pipelines/${PIPELINE}`
  await world.local.cluster.patch(path, { spec })
}
