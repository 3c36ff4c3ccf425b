import { rm } from 'node:fs/promises'
import { resolve } from 'node:path'
import { startWorld } from '../cluster/world.ts'
import { type Outcome, runSchedule } from './schedule.ts'

/** `make torture SEEDS=n [SEED=s]`: seeded schedules of writes, faults and backfills on real parts. */

const first = Number(process.env.SEED ?? 1)
const count =
  process.env.SEED !== undefined && process.env.SEEDS === undefined ? 1 : Number(process.env.SEEDS ?? 20)
const dir = resolve('out/torture')

await rm(dir, { recursive: true, force: true })
const world = await startWorld(dir)
const outcomes: Outcome[] = []
try {
  for (let seed = first; seed < first + count; seed += 1) {
    const outcome = await runSchedule(world, String(seed))
    outcomes.push(outcome)
    const bad = outcome.divergences.length > 0
    console.log(
      `${bad ? 'DIVERGED' : 'equal   '} seed ${seed}: ${outcome.transactions} transactions, ${outcome.log.length} events, ${outcome.seconds.toFixed(0)} s`,
    )
    if (!bad) continue
    for (const line of outcome.divergences) console.log(`    ${line}`)
    for (const line of outcome.log) console.log(`    at ${line}`)
    console.log(`  repeat with: make torture SEED=${seed}; logs are in out/torture`)
  }
} finally {
  if (process.env.KEEP !== '1') await world.stop()
}
const divergences = outcomes.filter((outcome) => outcome.divergences.length > 0).length
console.log(`torture: schedules=${outcomes.length} divergences=${divergences}`)
process.exit(divergences === 0 ? 0 : 1)
