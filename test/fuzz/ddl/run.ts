import { setTimeout as sleep } from 'node:timers/promises'
import { query } from '../../../hack/services/postgres.ts'
import { createRandom, type Random } from '../../torture/random.ts'
import type { Difference, FuzzOutcome, Say } from '../report.ts'
import { type Backfills, createBackfills } from '../rig/backfills.ts'
import { createDatabases, type Databases } from '../rig/databases.ts'
import { type FuzzPipeline, startPipeline } from '../rig/pipeline.ts'
import type { FuzzServers } from '../rig/servers.ts'
import { cureTable, repairTable } from './cure.ts'
import { runScript } from './script.ts'
import { openSession, type ScriptSession } from './session.ts'
import { SHARED_DDL, TABLE_KINDS, type TableKind, tableDdl } from './tables.ts'
import { judgeTables, type Verdict } from './verdict.ts'

export interface DdlOptions {
  readonly servers: FuzzServers
  readonly seed: number
  readonly say: Say
  /** Default 24. */
  readonly tables?: number | undefined
  /** Longest pause of a script, milliseconds; default 17,000, longer than capture takes between two looks at the catalog. */
  readonly longestPause?: number
}

/** A table, its script, and what came of it. */
interface Subject {
  readonly table: string
  readonly kind: TableKind
  readonly random: Random
  /** Only steps that should stop nothing are chosen. */
  readonly harmless: boolean
  readonly session: ScriptSession
}

const TABLES = 24
const LONGEST_PAUSE = 17_000
const SIDE_BY_SIDE = 4
/** For all tables together: when none can be cured, each takes minutes. */
const CURES_MILLISECONDS = 360_000
const SOONEST_RESTART = 2_000
/** Later than a look at the catalog, and than the heartbeat that follows it. */
const LOOK_MILLISECONDS = 16_000

/** Tables are altered and written by random scripts; then each is equal or says why not, and a copy makes it equal. */
export async function runDdl(options: DdlOptions): Promise<FuzzOutcome> {
  const { servers, seed, say } = options
  const began = Date.now()
  const random = createRandom(`ddl ${seed}`)
  const databases = await createDatabases(servers, `fuzz_ddl_${seed}`)
  await query(databases.source, SHARED_DDL)
  const subjects = await makeSubjects(random, databases, options.tables ?? TABLES)
  const tables = subjects.map(({ table }) => table)
  const pipeline = await startPipeline({
    servers,
    databases,
    tables: tables.map((name) => ({ schema: 'public', name })),
    chunkRows: 1000,
    parallelism: 1,
    say,
  })
  try {
    const backfills = createBackfills(pipeline)
    await sideBySide(subjects, async ({ table, kind }) => {
      const { end, why } = await copy(databases, backfills, table, 'Truncate')
      if (end !== 'drained') say(`first backfill of ${table} (${kind}) ${end}: ${why}`)
    })
    say(`${tables.length} tables copied, scripts begin`)
    const longestPause = options.longestPause ?? LONGEST_PAUSE
    const harmful = await runScripts({ subjects, databases, pipeline, backfills, random, longestPause, say })
    say('scripts ended')
    await sleep(LOOK_MILLISECONDS)
    await touch(subjects)
    const verdicts = await judgeTables(databases, pipeline, tables)
    const differences = subjects.flatMap((subject): Difference[] => {
      const verdict = verdicts.get(subject.table)
      return verdict?.is === 'different' ? [differenceOf(subject, verdict.why)] : []
    })
    const alarms = subjects.filter(
      ({ table }) => !harmful.has(table) && verdicts.get(table)?.is === 'stopped',
    )
    for (const { table, kind, session } of alarms)
      say(
        `stopped by harmless statements: ${table} (${kind}): ${verdicts.get(table)?.why}\n      ${session.log.join('\n      ')}`,
      )
    const incurable = await cureAll(subjects, databases, pipeline, backfills, say)
    differences.push(...incurable)
    const count = (is: Verdict['is']) => [...verdicts.values()].filter((verdict) => verdict.is === is).length
    const statements = subjects.reduce((sum, { session }) => sum + session.statements(), 0)
    return {
      kind: 'ddl',
      seed,
      tables: tables.length,
      statements,
      differences,
      falseAlarms: alarms.length,
      summary: `${tables.length} tables, ${count('equal')} equal, ${count('stopped')} stopped for a reason, ${alarms.length} of them by harmless statements, ${tables.length - incurable.length} cured, ${statements} statements, ${Math.round((Date.now() - began) / 1000)} s`,
    }
  } finally {
    await pipeline.close()
    await Promise.allSettled(subjects.map(({ session }) => session.close()))
    await databases.drop()
  }
}

async function makeSubjects(random: Random, databases: Databases, count: number): Promise<Subject[]> {
  const subjects: Subject[] = []
  for (let number = 0; number < count; number += 1) {
    const table = `t${String(number).padStart(2, '0')}`
    const own = random.fork(table)
    const kind = own.pick(TABLE_KINDS)
    const harmless = own.chance(0.35)
    await query(databases.source, tableDdl(table, kind))
    subjects.push({ table, kind, random: own, harmless, session: await openSession(databases.source) })
  }
  return subjects
}

interface ScriptsOptions {
  readonly subjects: readonly Subject[]
  readonly databases: Databases
  readonly pipeline: FuzzPipeline
  readonly backfills: Backfills
  readonly random: Random
  readonly longestPause: number
  readonly say: Say
}

/** Runs all scripts side by side, while capture and apply are restarted; returns the tables that they may have stopped. */
async function runScripts(options: ScriptsOptions): Promise<Set<string>> {
  const { subjects, databases, pipeline, backfills, random, longestPause, say } = options
  const harmful = new Set<string>()
  const over = new AbortController()
  const restarting = restart(pipeline, random.fork('restarts'), longestPause, over.signal, say)
  // Awaited below; until then it is nobody's failure.
  restarting.catch(() => {})
  await Promise.all(
    subjects.map(async (subject) => {
      const { table, session } = subject
      await sleep(subject.random.below(Math.min(5_000, longestPause)))
      const copyAgain = (action: 'Truncate' | 'Drop' | 'DoNothing') => {
        void copy(databases, backfills, table, action).catch((error) => session.note(`-- refused: ${error}`))
      }
      const script = { ...subject, longestPause, copy: copyAgain }
      const mayStop = await runScript(script, session).catch((error) => {
        session.note(`-- the script broke off: ${error}`)
        return true
      })
      if (mayStop) harmful.add(table)
    }),
  )
  over.abort()
  await restarting
  return harmful
}

async function restart(
  pipeline: FuzzPipeline,
  random: Random,
  longestPause: number,
  over: AbortSignal,
  say: Say,
): Promise<void> {
  for (;;) {
    await sleep(SOONEST_RESTART + random.below(longestPause), undefined, { signal: over }).catch(() => {})
    if (over.aborted) return
    const which = random.pick(['capture', 'capture', 'apply', 'both'] as const)
    const down = random.chance(0.5) ? 0 : random.below(5_000)
    say(`restart of ${which}, down for ${down} ms`)
    await Promise.all([
      which === 'apply' ? undefined : pipeline.capture.restart(down),
      which === 'capture' ? undefined : pipeline.apply.restart(down),
    ])
  }
}

/** Changes each table once more: an added column comes with the next row. */
async function touch(subjects: readonly Subject[]): Promise<void> {
  for (const { table, session } of subjects) {
    const taken =
      (await session.exec(`insert into ${table} (id, name) values (nextval('ids'), 'touch')`)) ||
      (await session.exec(`insert into ${table} (id) values (nextval('ids'))`))
    if (!taken) await session.exec(`update ${table} set id = nextval('ids')`)
  }
  await sleep(3_000)
}

/** Repairs and copies every table; returns those that it does not help. */
async function cureAll(
  subjects: readonly Subject[],
  databases: Databases,
  pipeline: FuzzPipeline,
  backfills: Backfills,
  say: Say,
): Promise<Difference[]> {
  let repairs = 0
  for (const { table, session } of subjects) {
    const done = await repairTable(databases.source, table)
    for (const sql of done) session.note(`repair: ${sql};`)
    repairs += done.length
  }
  say(`${repairs} repairs made, every table is copied again`)
  if (repairs > 0) await sleep(LOOK_MILLISECONDS)
  const incurable: Difference[] = []
  const deadline = Date.now() + CURES_MILLISECONDS
  await sideBySide(subjects, async (subject) => {
    const { table, random } = subject
    const found =
      Date.now() > deadline
        ? 'there was no time left for it'
        : await cureTable({ databases, pipeline, backfills, table, random }).catch(
            (error) => `the cure broke off: ${error}`,
          )
    if (found === undefined) return
    say(`not cured: ${table}: ${found}`)
    incurable.push(differenceOf(subject, `not cured by a backfill: ${found}`))
  })
  return incurable
}

/** A copy of a table; one that has no primary key by now is read from the primary. */
async function copy(
  { source }: Databases,
  backfills: Backfills,
  table: string,
  destinationTable: 'Truncate' | 'Drop' | 'DoNothing',
) {
  const keyed = await query(
    source,
    `select from pg_index where indrelid = to_regclass('${table}') and indisprimary`,
  )
  const from = keyed.length === 0 && { backfill: { readFrom: 'Primary' as const } }
  return await backfills.bring({ schema: 'public', name: table }, { destinationTable, ...from }, 120)
}

const differenceOf = ({ table, kind, session }: Subject, what: string): Difference => ({
  table: `${table} (${kind})`,
  what,
  script: [...session.log],
})

async function sideBySide<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items]
  const next = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, next))
}
