import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { destinationKind } from '../../hack/demo/stack-env.ts'
import { startWorld } from '../cluster/world.ts'
import { startDestination } from './destinations.ts'
import { operatorFailpoints, randomFailpoints } from './failpoints.ts'
import { watchCluster } from './history/watch.ts'
import { type Outcome, type Run, runSchedule } from './schedule.ts'

/**
 * `make torture [SEEDS=n] [SEED=s] [SIDE=m] [DEST=redshift]`: seeded schedules of writes, faults and backfills on real parts. Several run
 * side by side on the same servers, so that what strikes a server strikes all of them; with SEED and no SEEDS one runs alone.
 */

const alone = process.env.SEED !== undefined && process.env.SEEDS === undefined
const first = Number(process.env.SEED ?? 1)
const count = alone ? 1 : Number(process.env.SEEDS ?? 20)
const sideBySide = Number(process.env.SIDE ?? 4)
const dir = resolve('out/torture')

await rm(dir, { recursive: true, force: true })
const began = Date.now()
const world = await startWorld(join(dir, 'world'), {
  environment: randomFailpoints(),
  operator: operatorFailpoints(String(first)),
  // Nothing changes them here.
  secretRefresh: 60_000,
  impatientJobs: true,
})
const started = Date.now()
const outcomes: Outcome[] = []
const watch = watchCluster(world.local.cluster.transport)
const destination = await startDestination(destinationKind(), world, join(dir, 'world'))
const run: Run = { world, watch, dir, destination }
let next = first
try {
  await Promise.all(Array.from({ length: Math.min(sideBySide, count) }, runNext))
} finally {
  watch.stop()
  if (process.env.KEEP !== '1') {
    await destination.stop()
    await world.stop()
  }
}
const divergences = outcomes.filter((outcome) => outcome.divergences.length > 0).length
const seconds = (from: number) => ((Date.now() - from) / 1000).toFixed(0)
console.log(
  `${seconds(began)} s in all, ${(Number(seconds(started)) / Math.max(1, outcomes.length)).toFixed(1)} s a schedule`,
)
console.log(`torture: schedules=${outcomes.length} divergences=${divergences}`)
process.exit(divergences === 0 && outcomes.length === count ? 0 : 1)

async function runNext(): Promise<void> {
  while (next < first + count) {
    const seed = String(next)
    next += 1
    const outcome = await runSchedule(run, seed).catch(
      (error): Outcome => ({
        seed,
        divergences: [`it broke off: ${error instanceof Error ? error.stack : error}`],
        transactions: 0,
        log: [],
        seconds: 0,
        phases: {},
      }),
    )
    outcomes.push(outcome)
    print(outcome)
  }
}

function print({ seed, divergences: found, transactions, log, seconds, phases }: Outcome): void {
  const bad = found.length > 0
  const again = destinationKind() === 'redshift' ? 'DEST=redshift ' : ''
  const laps = Object.entries(phases).map(([name, took]) => `${name} ${took.toFixed(1)}`)
  console.log(
    `${bad ? 'DIVERGED' : 'equal   '} seed ${seed}: ${transactions} transactions, ${log.length} events, ${seconds.toFixed(0)} s (${laps.join(', ')})`,
  )
  if (!bad) return
  for (const line of found) console.log(`    ${line}`)
  for (const line of log) console.log(`    at ${line}`)
  console.log(
    `  repeat with: make torture ${again}SEED=${seed}; its history is in out/torture/${seed}, logs are in out/torture/world`,
  )
}
