import { join } from 'node:path'
import { pipelineManifest } from '../../hack/demo/manifests.ts'
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
import { replicaDifferences } from './replica.ts'
import { PIPELINE, settle } from './settle.ts'
import { storm } from './storm.ts'
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
    await storm({
      world,
      site,
      tables,
      fromPrimary,
      random: random.fork('backfills'),
      note,
      transactions: workload.transactions,
    })
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
  divergences.push(...(await world.gate.calm(() => replicaDifferences(site, tables))))
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
