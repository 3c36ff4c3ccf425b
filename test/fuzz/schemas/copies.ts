import { setTimeout as sleep } from 'node:timers/promises'
import type { PipelineStatus } from '../../../crds/pipeline-status.ts'
import type { Random } from '../../torture/random.ts'
import type { ComparedTable } from '../compare.ts'
import { between } from '../random.ts'
import type { Say } from '../report.ts'
import { type BackfillEnd, type BackfillWish, createBackfills } from '../rig/backfills.ts'
import type { FuzzPipeline } from '../rig/pipeline.ts'
import { type FuzzTable, isKeyless } from './table.ts'

const JOIN_MILLISECONDS = 60_000
/** How long a backfill of some hundred rows may take, beside three others. */
const COPY_SECONDS = 120
const SIDE_BY_SIDE = 4

/** What became of tables that were to be published. */
export interface Joined {
  readonly live: readonly FuzzTable[]
  /** Refused with a reason. */
  readonly refused: ReadonlyMap<FuzzTable, string>
  /** Neither: nobody says what they wait for. */
  readonly lost: readonly FuzzTable[]
}

/** Waits until capture has published each table or said why not. */
export async function awaitJoin(pipeline: FuzzPipeline, tables: readonly FuzzTable[]): Promise<Joined> {
  for (const deadline = Date.now() + JOIN_MILLISECONDS; ; await sleep(500)) {
    const joined = sortOut(await pipeline.status(), tables)
    if (joined.lost.length === 0 || Date.now() > deadline) return joined
  }
}

function sortOut({ capture }: PipelineStatus, tables: readonly FuzzTable[]): Joined {
  const refused = new Map<FuzzTable, string>()
  const lost: FuzzTable[] = []
  for (const table of tables) {
    const isIt = (other: ComparedTable | undefined) =>
      other?.schema === table.schema && other.name === table.name
    const problem = capture?.problems?.find((one) => isIt(one.table))
    if (problem) refused.set(table, `${problem.code}: ${problem.message}`)
    else if (!capture?.tables?.some(isIt)) lost.push(table)
  }
  return {
    live: tables.filter((table) => !refused.has(table) && !lost.includes(table)),
    refused,
    lost,
  }
}

/** Copies every table, some of them again; returns what did not come to its end, by table. */
export async function copyAll(
  random: Random,
  pipeline: FuzzPipeline,
  tables: readonly FuzzTable[],
  say: Say,
): Promise<Map<FuzzTable, BackfillEnd>> {
  const backfills = createBackfills(pipeline)
  const ends = new Map<FuzzTable, BackfillEnd>()
  const waiting = [...tables]
  let done = 0

  async function copy(table: FuzzTable): Promise<void> {
    const own = random.fork(table.sql)
    const bring = async (more: Partial<BackfillWish> = {}) => {
      const wish = { ...anyWish(own, isKeyless(table)), ...more }
      const ended = await backfills.bring(table, wish, COPY_SECONDS)
      if (ended.end !== 'drained')
        say(
          `backfill of ${table.sql} (${table.identity}) ${ended.end}: ${ended.why}; ${JSON.stringify(wish)}`,
        )
      return ended
    }
    let ended = await bring()
    // A wish that does not fit the table is refused; another may fit.
    for (let again = 2; again > 0 && ended.end === 'failed' && !ended.retryable; again -= 1)
      ended = await bring()
    if (ended.end === 'drained' && own.chance(0.3)) {
      const second = await bring()
      // One that was refused has changed nothing.
      if (second.end !== 'failed' || second.retryable) ended = second
    }
    // Whatever stands against a table: in one that is made anew it does not.
    if (ended.end === 'stopped') ended = await bring({ destinationTable: 'Drop' })
    if (ended.end !== 'drained') ends.set(table, ended)
    done += 1
    if (done % 10 === 0) say(`${done} of ${tables.length} tables copied`)
  }

  const work = async () => {
    for (let table = waiting.shift(); table; table = waiting.shift()) await copy(table)
  }
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work))
  return ends
}

function anyWish(random: Random, keyless: boolean): BackfillWish {
  const size = { parallelism: between(random, 1, 3), chunkRows: random.pick([5, 30, 1000]) }
  if (keyless)
    return {
      destinationTable: random.pick(['Truncate', 'Drop']),
      backfill: { readFrom: 'Primary', scan: 'Ctid', ...size },
    }
  return {
    destinationTable: random.pick(['DoNothing', 'Truncate', 'Drop']),
    backfill: {
      readFrom: random.pick(['Replica', 'Primary']),
      scan: random.pick(['Auto', 'Auto', 'Key', 'Ctid']),
      ...size,
    },
  }
}
