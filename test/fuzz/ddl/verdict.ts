import { setTimeout as sleep } from 'node:timers/promises'
import { compareTable } from '../compare.ts'
import type { Databases } from '../rig/databases.ts'
import { doubtOf, type FuzzPipeline } from '../rig/pipeline.ts'

/** What a table is found to be: equal, not replicated at present for a reason, or different without one. */
export interface Verdict {
  readonly is: 'equal' | 'stopped' | 'different'
  readonly why: string
  /** Also of a table that was stopped. */
  readonly equal: boolean
}

/** How long rows that are on their way may take, and a reason that is not up to date. */
const PATIENCE_MILLISECONDS = 40_000
const REASON_MILLISECONDS = 10_000

/** Looks at tables until their verdicts stand. */
export async function judgeTables(
  databases: Databases,
  pipeline: FuzzPipeline,
  tables: readonly string[],
): Promise<Map<string, Verdict>> {
  const began = Date.now()
  const verdicts = new Map<string, Verdict>()
  let open = tables
  for (;;) {
    for (const table of open) verdicts.set(table, await judge(databases, pipeline, table))
    const waited = Date.now() - began
    open = open.filter((table) => {
      const { is } = verdicts.get(table) ?? { is: 'different' }
      return is === 'different' || (is === 'stopped' && waited < REASON_MILLISECONDS)
    })
    if (open.length === 0 || waited > PATIENCE_MILLISECONDS) return verdicts
    await sleep(2_000)
  }
}

async function judge(databases: Databases, pipeline: FuzzPipeline, name: string): Promise<Verdict> {
  const table = { schema: 'public', name }
  const { difference } = await compareTable(databases.source, databases.destination, table, {
    lateColumns: true,
  }).catch((error) => ({ difference: `cannot be compared: ${error}` }))
  // After the rows: a reason that is older than they are may be gone by now.
  const doubt = doubtOf(await pipeline.status(), table)
  const equal = difference === undefined
  if (doubt !== undefined) return { is: 'stopped', why: doubt, equal }
  return { is: equal ? 'equal' : 'different', why: difference ?? '', equal }
}
