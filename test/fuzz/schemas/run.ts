import { setTimeout as sleep } from 'node:timers/promises'
import { createRandom } from '../../torture/random.ts'
import { type ComparedTable, compareTable } from '../compare.ts'
import type { FuzzOutcome, Say } from '../report.ts'
import { createDatabases, type Databases } from '../rig/databases.ts'
import { startPipeline } from '../rig/pipeline.ts'
import type { FuzzServers } from '../rig/servers.ts'
import { awaitJoin, copyAll } from './copies.ts'
import { makeTables } from './make.ts'
import { compareAll, describeSettled, differenceOf, judge, settle, stoppedOf } from './settle.ts'
import type { FuzzTable } from './table.ts'
import { createWorkload } from './workload.ts'

export interface SchemasOptions {
  readonly servers: FuzzServers
  readonly seed: number
  readonly say: Say
  /** Default 30. */
  readonly tables?: number | undefined
  /** How long the tables are written at least; default 20. */
  readonly seconds?: number
  /** Called when everything has been compared; then everything is compared once more. For a test of the comparison. */
  readonly meddle?: (databases: Databases, tables: readonly ComparedTable[]) => Promise<void>
}

const TABLES = 30
const SECONDS = 20
/** What is written after the last backfill, in any case. */
const AFTER_MILLISECONDS = 3_000

/** Random tables of all types are written and copied; in the end the destination has what the source has, or says why not. */
export async function runSchemas(options: SchemasOptions): Promise<FuzzOutcome> {
  const { servers, seed, say } = options
  const began = Date.now()
  const random = createRandom(`schemas ${seed}`)
  const databases = await createDatabases(servers, `fuzz_schemas_${seed}`)
  const made = await makeTables(random.fork('tables'), {
    source: databases.source,
    destination: databases.destination,
    count: options.tables ?? TABLES,
    say,
  })
  const { tables } = made
  const counts = { statements: 0, transactions: 0 }
  const workload = createWorkload(databases.source, counts, say)
  await workload.fill(random.fork('first rows'), tables)
  say(`${counts.statements} inserts done`)
  const pipeline = await startPipeline({
    servers,
    databases,
    tables,
    chunkRows: 30,
    parallelism: 2,
    flushSeconds: random.pick([1, 1, 5]),
    say,
  })
  let writing = true
  let written: Promise<unknown> = Promise.resolve()
  try {
    const joined = await awaitJoin(pipeline, tables)
    for (const [table, why] of joined.refused) say(`refused: ${table.sql} (${table.identity}): ${why}`)
    const writers = [random.fork('writer 1'), random.fork('writer 2')]
    // Tables that are refused are written too: nothing of Millrace may be in the way of that.
    written = Promise.all(writers.map((writer) => workload.write(writer, tables, () => writing)))
    // Awaited below; until then it is nobody's failure.
    written.catch(() => {})
    const ends = await copyAll(random.fork('copies'), pipeline, joined.live, say)
    await pipeline.apply.restart(0)
    const least = (options.seconds ?? SECONDS) * 1000
    await sleep(Math.max(AFTER_MILLISECONDS, least - (Date.now() - began)))
    writing = false
    await written
    say(`${counts.transactions} transactions done`)
    const compare = (table: FuzzTable) => compareTable(databases.source, databases.destination, table)
    const settled = await settle(pipeline, joined.live, compare)
    const differences = [
      ...joined.lost.map((table) => differenceOf(table, 'was neither published nor refused')),
      ...judge(settled, ends, (table) => made.precreated.has(table)),
    ]
    if (options.meddle) {
      await options.meddle(databases, joined.live)
      const again = await compareAll(joined.live, compare)
      differences.push(...judge(again, new Map(), () => false))
    }
    for (const [table, { doubt }] of stoppedOf(settled))
      say(`stopped: ${table.sql} (${table.identity}): ${doubt}`)
    const seconds = Math.round((Date.now() - began) / 1000)
    return {
      kind: 'schemas',
      seed,
      tables: tables.length,
      statements: counts.statements,
      differences,
      falseAlarms: stoppedOf(settled).length,
      summary: `${tables.length} tables, ${describeSettled(settled)}, ${joined.refused.size} refused, ${counts.statements} statements, ${seconds} s`,
    }
  } finally {
    writing = false
    await written.catch(() => {})
    await pipeline.close()
    await databases.drop()
  }
}
