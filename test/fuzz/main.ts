import { mkdir, rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { runDdl } from './ddl/run.ts'
import {
  describeOutcome,
  describeTotal,
  type FuzzKind,
  type FuzzOutcome,
  type FuzzSettings,
  fuzzSettings,
} from './report.ts'
import { type FuzzServers, startServers } from './rig/servers.ts'
import { runSchemas } from './schemas/run.ts'

/**
 * `make fuzz [SEEDS=n] [SEED=s] [KIND=schemas|ddl] [TABLES=n]`: random tables and random DDL against the real workers, one seed after
 * the other. What is random is decided by the seed; what happens at the same time is not.
 */

const dir = resolve('out/fuzz')
const settings = fuzzSettings(process.env)
await rm(dir, { recursive: true, force: true })
await mkdir(dir, { recursive: true })
const began = Date.now()
const servers = await startServers(dir)
const outcomes: FuzzOutcome[] = []
try {
  for (const seed of settings.seeds) for (const kind of settings.kinds) await runOne(kind, seed, settings)
} finally {
  await servers.stop()
}
const alarms = outcomes.reduce((sum, outcome) => sum + outcome.falseAlarms, 0)
console.log(`${elapsed()} s in all, ${alarms} tables stopped by what is harmless; logs are in ${dir}`)
console.log(describeTotal(outcomes))
process.exit(outcomes.every(({ differences }) => differences.length === 0) ? 0 : 1)

async function runOne(kind: FuzzKind, seed: number, { tables }: FuzzSettings): Promise<void> {
  const say = (line: string) => console.log(`${elapsed().padStart(5)} ${kind} ${seed}: ${line}`)
  const outcome = await run(kind, { servers, seed, say, tables }).catch((error) =>
    brokenOff(kind, seed, error),
  )
  outcomes.push(outcome)
  for (const line of describeOutcome(outcome)) console.log(line)
}

function run(
  kind: FuzzKind,
  options: {
    readonly servers: FuzzServers
    readonly seed: number
    readonly say: (line: string) => void
    readonly tables: number | undefined
  },
): Promise<FuzzOutcome> {
  return kind === 'schemas' ? runSchemas(options) : runDdl(options)
}

/** A run that has not come to its end has proven nothing. */
function brokenOff(kind: FuzzKind, seed: number, error: unknown): FuzzOutcome {
  const what = `the run broke off: ${error instanceof Error ? error.stack : error}`
  const differences = [{ table: 'all tables', what, script: [] }]
  return { kind, seed, tables: 0, statements: 0, differences, falseAlarms: 0, summary: 'broke off' }
}

function elapsed(): string {
  return ((Date.now() - began) / 1000).toFixed(0)
}
