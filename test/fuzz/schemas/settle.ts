import { setTimeout as sleep } from 'node:timers/promises'
import type { Comparison } from '../compare.ts'
import type { Difference } from '../report.ts'
import type { BackfillEnd } from '../rig/backfills.ts'
import { doubtOf, type FuzzPipeline } from '../rig/pipeline.ts'
import type { FuzzTable } from './table.ts'

/** How long the destination may take to have everything once nobody writes. */
const PATIENCE_MILLISECONDS = 60_000
/** A table that says why it is not equal need not be waited for as long. */
const STOPPED_MILLISECONDS = 15_000
const POLL_MILLISECONDS = 1_500

/** What was found of a table in the end. */
export interface Found extends Comparison {
  /** Why it may not be equal, as the Pipeline says. */
  readonly doubt?: string | undefined
}

export type Compare = (table: FuzzTable) => Promise<Comparison>

/** Compares until everything is equal, or nothing more is to be expected. */
export async function settle(
  pipeline: FuzzPipeline,
  tables: readonly FuzzTable[],
  compare: Compare,
): Promise<Map<FuzzTable, Found>> {
  const began = Date.now()
  const found = new Map<FuzzTable, Found>()
  let open = tables
  for (;;) {
    const compared = await compareAll(open, compare)
    const status = await pipeline.status()
    for (const [table, comparison] of compared)
      found.set(table, { ...comparison, doubt: doubtOf(status, table) })
    open = open.filter((table) => found.get(table)?.difference !== undefined)
    const waited = Date.now() - began
    const hopeless = open.every((table) => found.get(table)?.doubt !== undefined)
    if (open.length === 0 || waited > (hopeless ? STOPPED_MILLISECONDS : PATIENCE_MILLISECONDS)) return found
    await sleep(POLL_MILLISECONDS)
  }
}

/** Compares once; a table that cannot be compared is different. */
export async function compareAll(
  tables: readonly FuzzTable[],
  compare: Compare,
): Promise<Map<FuzzTable, Found>> {
  const found = new Map<FuzzTable, Found>()
  for (const table of tables) {
    const failed = (error: unknown) => ({ rows: 0, difference: `cannot be compared: ${error}` })
    found.set(table, await compare(table).catch(failed))
  }
  return found
}

/** The tables that are different, or whose backfill has not ended, and nobody says why. */
export function judge(
  found: ReadonlyMap<FuzzTable, Found>,
  ends: ReadonlyMap<FuzzTable, BackfillEnd>,
  isPrecreated: (table: FuzzTable) => boolean,
): Difference[] {
  return [...found].flatMap(([table, { difference, doubt }]) => {
    const origin = isPrecreated(table) ? 'there before, ' : ''
    const ended = ends.get(table)
    if (difference !== undefined && doubt === undefined)
      return [differenceOf(table, `${origin}${difference}${ended ? `; its backfill ${ended.end}` : ''}`)]
    if (ended?.end === 'late')
      return [differenceOf(table, `${origin}its backfill came to no end: ${ended.why}`)]
    if (ended?.end === 'stopped')
      return [differenceOf(table, `${origin}not cured by a backfill with Drop: ${ended.why}`)]
    return []
  })
}

/** A difference of a table, with the statements that made the table. */
export function differenceOf({ sql, identity, ddl }: FuzzTable, what: string): Difference {
  return { table: `${sql} (${identity})`, what, script: ddl.map((line) => `${line};`) }
}

/** Tables that are not equal, for a reason that the Pipeline gives. */
export function stoppedOf(settled: ReadonlyMap<FuzzTable, Found>): (readonly [FuzzTable, Found])[] {
  return [...settled].filter(([, { difference, doubt }]) => difference !== undefined && doubt !== undefined)
}

/** How many are equal, with how many rows, and how many stopped. */
export function describeSettled(settled: ReadonlyMap<FuzzTable, Found>): string {
  const equal = [...settled.values()].filter(({ difference }) => difference === undefined)
  const rows = equal.reduce((sum, one) => sum + one.rows, 0)
  return `${equal.length} equal with ${rows} rows, ${stoppedOf(settled).length} stopped for a reason`
}
