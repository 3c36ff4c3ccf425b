import { setTimeout as sleep } from 'node:timers/promises'
import type { DestinationAction } from '../../../crds/api.ts'
import type { Random } from '../../torture/random.ts'
import { literal } from '../sql.ts'
import { HARMFUL_TO_COLUMNS } from './harmful.ts'
import { HARMFUL_TO_PARTITIONS, HARMFUL_TO_TABLES } from './harmful-tables.ts'
import { HARMLESS } from './harmless.ts'
import type { ScriptSession } from './session.ts'
import type { Steps } from './step.ts'
import { isPartitioned, type TableKind } from './tables.ts'
import { readColumns, writeRows } from './writes.ts'

/** A script for one table. */
export interface Script {
  readonly table: string
  readonly kind: TableKind
  readonly random: Random
  /** Of statements that should stop no table. */
  readonly harmless: boolean
  /** Longest pause, milliseconds: longer than the time between two looks at the catalog, unless the run is to be short. */
  readonly longestPause: number
  /** Asks for a copy and does not wait for it. */
  readonly copy: (action: DestinationAction) => void
}

export const HARMFUL: Steps = { ...HARMFUL_TO_COLUMNS, ...HARMFUL_TO_TABLES, ...HARMFUL_TO_PARTITIONS }

/** Columns that other statements name. */
const COUNTED_ON = ['id', 'body', 'name']

const ACTIONS = ['Truncate', 'Drop', 'DoNothing'] as const

/** Runs a script of 3 to 12 steps; returns whether some of them may stop the table. */
export async function runScript(script: Script, session: ScriptSession): Promise<boolean> {
  const { table, random, copy } = script
  const write = () => writeRows(random, session, table)
  let harmful = false
  for (let left = 3 + random.below(10); left > 0; left -= 1) {
    if (!session.inTransaction() && random.chance(0.35)) await session.begin()
    if (random.chance(0.7)) await write()
    if (random.chance(0.5)) await pause(script, session)
    if (session.inTransaction() && random.chance(0.15)) await session.exec('savepoint s')
    harmful = (await step(script, session, write)) || harmful
    if (session.inTransaction() && random.chance(0.1))
      await session.exec(random.pick(['rollback to savepoint s', 'release savepoint s']))
    for (let writes = random.below(4); writes > 0; writes -= 1) await write()
    if (session.inTransaction() && random.chance(0.6))
      await session.end(random.chance(0.1) ? 'rollback' : 'commit')
    await pause(script, session)
    if (!session.inTransaction() && random.chance(0.06)) {
      const action = random.pick(ACTIONS)
      session.note(`-- backfill ${action}`)
      copy(action)
    }
  }
  await session.end()
  if (random.chance(0.7)) await write()
  return harmful
}

async function step(script: Script, session: ScriptSession, write: () => Promise<void>): Promise<boolean> {
  const { table, kind, random } = script
  const columns = await readColumns(session, table)
  const spare = columns.filter(({ key, name }) => !key && !COUNTED_ON.includes(name))
  const partitioned = isPartitioned(kind)
  const leaves = partitioned
    ? await session.rows<{ name: string }>(
        `select relid::regclass::text as name from pg_partition_tree(to_regclass(${literal(table)})) where isleaf`,
      )
    : []
  const harmless = script.harmless || random.chance(0.45)
  const steps = harmless ? HARMLESS : HARMFUL
  const name = random.pick(Object.keys(steps))
  session.note(`-- ${name}`)
  await steps[name]?.({
    table,
    kind,
    partitioned,
    random,
    session,
    columns,
    column: spare.length > 0 ? random.pick(spare) : undefined,
    spare: spare.length,
    leaves: leaves.map((leaf) => leaf.name),
    fresh: `c${random.below(6)}`,
    write,
    pause: () => pause(script, session),
  })
  return !harmless
}

async function pause({ random, longestPause }: Script, session: ScriptSession): Promise<void> {
  const way = random.next()
  const longest = way < 0.75 ? 80 : session.inTransaction() ? 1_500 : way < 0.95 ? 4_000 : 17_000
  const milliseconds = Math.min(longestPause, random.below(longest))
  if (way < 0.4 || milliseconds === 0) return
  session.note(`-- pause of ${milliseconds} ms`)
  await sleep(milliseconds)
}
