import { setTimeout as sleep } from 'node:timers/promises'
import { backfillManifest } from '../../hack/demo/manifests.ts'
import { asSuperuser, type Site } from '../../hack/demo/site.ts'
import type { World } from '../cluster/world.ts'
import type { Random } from './random.ts'
import { PIPELINE } from './settle.ts'
import type { TortureTable } from './tables.ts'

export interface StormOptions {
  readonly world: World
  readonly site: Site
  readonly tables: readonly TortureTable[]
  /** Tables that may be copied from the primary. */
  readonly fromPrimary: readonly TortureTable[]
  readonly random: Random
  note(what: string): void
  /** How many the workload has done. */
  transactions(): number
}

/** How long the Pipeline may take to begin, and the whole storm, milliseconds. */
const BEGINNING = 60_000
const LONGEST = 30_000
/** What the storm is to have seen since the first table joined, however slow the machine is. */
const TRANSACTIONS = 150
const MOST_BACKFILLS = 8
const POLL_MILLISECONDS = 300

/**
 * Ad-hoc backfills while everything goes wrong: all actions, cancels, deletes, suspends; tables leave and come back, the
 * Pipeline stops and goes on. Takes 3 to 9 s from when the first table is published, and longer until some backfills have
 * drained and enough was written meanwhile: otherwise a busy machine would try nothing.
 */
export async function storm(options: StormOptions): Promise<void> {
  const { world, site, random } = options
  const { cluster } = world.local
  await published(site)
  const began = Date.now()
  const end = began + 3_000 + random.below(6_000)
  const transactions = options.transactions() + TRANSACTIONS
  const drained = 1 + random.below(3)
  for (let number = 0; ; number += 1) {
    const now = Date.now()
    if (now > began + LONGEST) break
    if (now > end && options.transactions() >= transactions && (await countDrained()) >= drained) break
    if (number >= MOST_BACKFILLS) await sleep(POLL_MILLISECONDS)
    else await step(options, number)
  }
  await emptyLine(world, site)

  async function countDrained(): Promise<number> {
    const backfills = await cluster.backfills(site.namespace)
    return backfills.filter(({ status }) => status?.phase === 'Streaming').length
  }
}

async function published(site: Site): Promise<void> {
  for (const deadline = Date.now() + BEGINNING; Date.now() < deadline; await sleep(POLL_MILLISECONDS)) {
    // The source may just now be down.
    const there = await asSuperuser(site.sourceUrl, async (client) => {
      const { rowCount } = await client.query('SELECT FROM pg_publication_tables LIMIT 1')
      return rowCount === 1
    }).catch(() => false)
    if (there) return
  }
}

async function step(options: StormOptions, number: number): Promise<void> {
  const { world, site, tables, random, note } = options
  const { cluster } = world.local
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
  const manifest = randomBackfill(options, `adhoc-${number}`)
  const { name } = manifest.metadata
  await cluster.apply(manifest)
  const end = random.weighted({ none: 60, cancel: 15, delete: 10, suspend: 15 })
  if (end === 'none') return
  await sleep(random.below(2_500))
  note(`${end} ${name}`)
  const path = `/apis/millrace.dev/v1alpha1/namespaces/${site.namespace}/tablebackfills/${name}`
  if (end === 'delete') await cluster.remove(manifest)
  else await cluster.patch(path, { spec: end === 'cancel' ? { cancel: true } : { suspend: true } })
  if (end !== 'suspend') return
  await sleep(random.below(2_000))
  await cluster.patch(path, { spec: { suspend: false } })
}

function randomBackfill({ site, tables, fromPrimary, random, note }: StormOptions, name: string) {
  const table = random.pick(tables)
  const action = random.pick(['DoNothing', 'Truncate', 'Drop'] as const)
  const scan = random.pick(['Auto', 'Key', 'Ctid'] as const)
  const primary = table.keyless || (fromPrimary.includes(table) && random.chance(0.6))
  const readFrom = primary ? ('Primary' as const) : ('Replica' as const)
  const verify = !table.keyless && random.chance(0.15) && { verify: 'AfterBackfill' as const }
  note(`backfill ${name} of ${table.name}: ${action} ${scan} ${readFrom}`)
  return backfillManifest(site.namespace, name, {
    pipelineRef: { name: PIPELINE },
    table: { schema: table.schema, name: table.name },
    destinationTable: action,
    backfill: { scan, readFrom },
    ...verify,
    backoffLimit: 50,
  })
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
