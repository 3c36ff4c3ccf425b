import { setTimeout as sleep } from 'node:timers/promises'
import type { PipelineStatus } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { Comparison } from '../../hack/demo/compare.ts'
import { backfillManifest } from '../../hack/demo/manifests.ts'
import type { Site } from '../../hack/demo/site.ts'
import { quoteTable } from '../../lib/sql.ts'
import type { World } from '../cluster/world.ts'
import type { TortureTable } from './tables.ts'

export const PIPELINE = 'torture'
/** How long a schedule may take to come to rest, seconds. */
const PATIENCE = 240
const POLL_MILLISECONDS = 500
/** Copies that a person would ask for of one table before giving up. */
const MOST_COPIES = 5
/** What the Pipeline shows may be a moment old; milliseconds. */
const STALE_MILLISECONDS = 1_500

type Compare = (table: TortureTable) => Promise<Comparison>

/**
 * Waits until nothing moves any more and both sides are equal; returns what is not, and why the Pipeline thinks so. Where a
 * cancel or a stop has left a table without its whole history, a person would copy it again; so does this.
 */
export async function settle(
  world: World,
  site: Site,
  tables: readonly TortureTable[],
  compare: Compare,
): Promise<string[]> {
  const deadline = Date.now() + PATIENCE * 1000
  await makeWhole(world, site, tables, deadline)
  for (;;) {
    const found = await differences(world, site, tables, compare)
    if (found.length === 0 || Date.now() > deadline) return [...found, ...(await falseAlarms(world, site))]
    await sleep(POLL_MILLISECONDS)
  }
}

async function makeWhole(
  world: World,
  site: Site,
  tables: readonly TortureTable[],
  deadline: number,
): Promise<void> {
  const { cluster } = world.local
  const asked = new Map<string, number>()
  const brokenSince = new Map<TortureTable, number>()
  for (;;) {
    const status = (await cluster.pipeline(site.namespace, PIPELINE))?.status
    const backfills = await cluster.backfills(site.namespace)
    const busy = backfills.filter(
      ({ status }) => !['Streaming', 'Verified', 'Cancelled', 'Failed'].includes(status?.phase ?? ''),
    )
    const broken = tables.filter((table) => {
      const known = status?.tables?.find(({ schema, name }) => schema === table.schema && name === table.name)
      return known?.historyComplete === false || known?.state === 'Failed'
    })
    if ((busy.length === 0 && broken.length === 0) || Date.now() > deadline) return
    for (const table of tables) {
      const under = busy.filter(({ spec }) => isOf(spec.table, table))
      const waits =
        !broken.includes(table) || (under.length > 0 && !(isAdvised(status, table) && under.every(isOnTop)))
      if (waits) brokenSince.delete(table)
      else if (!brokenSince.has(table)) brokenSince.set(table, Date.now())
      if (Date.now() - (brokenSince.get(table) ?? Date.now()) < STALE_MILLISECONDS) continue
      brokenSince.delete(table)
      const times = (asked.get(table.name) ?? 0) + 1
      if (times > MOST_COPIES) return
      asked.set(table.name, times)
      await cluster.apply(
        backfillManifest(site.namespace, `whole-${tables.indexOf(table)}-${times}`, {
          pipelineRef: { name: PIPELINE },
          table: { schema: table.schema, name: table.name },
          // After a change of the table that a copy into the old one does not take, only Drop helps.
          destinationTable: times % 2 === 1 ? 'Truncate' : 'Drop',
          ...(table.keyless && { backfill: { scan: 'Ctid' as const, readFrom: 'Primary' as const } }),
          backoffLimit: 50,
        }),
      )
    }
    await sleep(POLL_MILLISECONDS)
  }
}

/** A table that fails says what helps, and a person does that, whatever else is under way. */
function isAdvised(status: PipelineStatus | undefined, table: TortureTable): boolean {
  const known = status?.tables?.find((one) => isOf(one, table))
  return known?.state === 'Failed' && /TableBackfill with destinationTable .*Drop/.test(known.message ?? '')
}

const isOnTop = ({ spec }: TableBackfill) => spec.destinationTable === 'DoNothing'

const isOf = (name: { readonly schema: string; readonly name: string }, table: TortureTable) =>
  name.schema === table.schema && name.name === table.name

async function differences(
  world: World,
  site: Site,
  tables: readonly TortureTable[],
  compare: Compare,
): Promise<string[]> {
  const found: string[] = []
  const status = (await world.local.cluster.pipeline(site.namespace, PIPELINE))?.status
  for (const table of tables) {
    const known = status?.tables?.find(({ schema, name }) => schema === table.schema && name === table.name)
    const label = quoteTable(table)
    if (known?.state !== 'Streaming') found.push(`${label} is ${known?.state}: ${known?.message}`)
    if (known?.historyComplete !== true) found.push(`${label} historyComplete is ${known?.historyComplete}`)
    try {
      const result = await compare(table)
      if (result.different > 0)
        found.push(`${label}: ${result.different} of ${result.rows} rows differ`, ...result.examples)
    } catch (error) {
      found.push(`${label} cannot be compared: ${error}`)
    }
  }
  return found
}

/** A comparison under load finds no difference where there is none: none that it found may be gone by itself. */
async function falseAlarms(world: World, site: Site): Promise<string[]> {
  const backfills = await world.local.cluster.backfills(site.namespace)
  return backfills.flatMap(({ metadata, status }) =>
    status?.verify?.result === 'Different'
      ? [`${metadata.name}: verify has found differences: ${status.message}`]
      : [],
  )
}
