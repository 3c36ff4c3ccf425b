import { rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { startWorld } from '../cluster/world.ts'
import { failpointsFor } from './failpoints.ts'
import { type Outcome, runSchedule } from './schedule.ts'

/**
 * `make torture [SEEDS=n] [SEED=s] [SIDE=m]`: seeded schedules of writes, faults and backfills on real parts. Several run
 * side by side on the same servers, so that what strikes a server strikes all of them; with SEED and no SEEDS one runs alone.
 */

const alone = process.env.SEED !== undefined && process.env.SEEDS === undefined
const first = Number(process.env.SEED ?? 1)
const count = alone ? 1 : Number(process.env.SEEDS ?? 20)
const sideBySide = Number(process.env.SIDE ?? 3)
const dir = resolve('out/torture')

await rm(dir, { recursive: true, force: true })
const began = Date.now()
const world = await startWorld(dir, failpointsFor(String(first)))
const outcomes: Outcome[] = []
let last: Promise<unknown> = Promise.resolve()
// Sites share roles, which two cannot make at once.
const oneByOne = {
  ...world,
  createSite(name: string) {
    const made = last.then(() => world.createSite(name))
    last = made.catch(() => {})
    return made
  },
}
let next = first
try {
  await Promise.all(Array.from({ length: Math.min(sideBySide, count) }, runNext))
} finally {
  if (process.env.KEEP !== '1') await world.stop()
}
const divergences = outcomes.filter((outcome) => outcome.divergences.length > 0).length
console.log(`${((Date.now() - began) / 1000).toFixed(0)} s in all`)
console.log(`torture: schedules=${outcomes.length} divergences=${divergences}`)
process.exit(divergences === 0 && outcomes.length === count ? 0 : 1)

async function runNext(): Promise<void> {
  while (next < first + count) {
    const seed = String(next)
    next += 1
    const outcome = await runSchedule(oneByOne, seed).catch(
      (error): Outcome => ({
        seed,
        divergences: [`it broke off: ${error instanceof Error ? error.stack : error}`],
        transactions: 0,
        log: [],
        seconds: 0,
      }),
    )
    outcomes.push(outcome)
    print(outcome)
  }
}

function print({ seed, divergences: found, transactions, log, seconds }: Outcome): void {
  const bad = found.length > 0
  console.log(
    `${bad ? 'DIVERGED' : 'equal   '} seed ${seed}: ${transactions} transactions, ${log.length} events, ${seconds.toFixed(0)} s`,
  )
  if (!bad) return
  for (const line of found) console.log(`    ${line}`)
  for (const line of log) console.log(`    at ${line}`)
  console.log(`  repeat with: make torture SEED=${seed}; logs are in out/torture`)
}
