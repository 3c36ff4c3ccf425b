import './hooks.ts'
import { installClock } from './clock.ts'
import { currentProcess, runAs } from './process.ts'

/**
 * `node test/model/idle.ts [SECONDS]`: a table is copied, streams, and then nothing changes any more. Every call of the apply worker
 * in the time after that (an hour of the simulated clock), by how often it was made. The destination is one that
 * cannot be looked at for nothing, as Redshift.
 */
const SECONDS = Number(process.argv[2] ?? 3600)

const write = process.stdout.write.bind(process.stdout)
const clock = installClock(currentProcess, runAs)
const { ACTIONS, manage, settled } = await import('./actions.ts')
const { createRandom } = await import('../torture/random.ts')
const { isTerminal } = await import('../../operator/backfill/facts.ts')
const { randomProfile } = await import('./profile.ts')
const { startBackfill } = await import('./workers.ts')
const { createWorld, world } = await import('./world.ts')

const random = createRandom('idle')
Math.random = random.next
createWorld(
  randomProfile(random.fork('profile'), { keyless: false, stale: false, seedRows: 3, readFrom: 'Primary' }),
  clock,
  random,
  startBackfill,
)
world().listedBefore = new Set()
await ACTIONS.list?.(0)
const counts = new Map<string, number>()

/** Lets all happen that can, and everybody wait for what comes next. */
async function turn(): Promise<void> {
  for (const name of ['commit', 'flush', 'visible', 'replayAll']) {
    for (let did = await ACTIONS[name]?.(0); did; did = await ACTIONS[name]?.(0)) await settled()
  }
  manage()
  await settled()
  const at = world()
  const pods = [...at.jobs.values()].flatMap(({ pod }) => pod ?? [])
  for (const each of [at.capture, at.apply, ...pods]) {
    if (!each || each.dead) continue
    for (let next = each.calls.find((call) => call.ready()); next; ) {
      if (each === at.apply) {
        const what = next.what.split(' ', 3).join(' ')
        counts.set(what, (counts.get(what) ?? 0) + 1)
      }
      next.happen(0)
      await settled()
      next = each.calls.find((call) => call.ready())
    }
  }
}

/** Runs until the clock is there; false when that is before `isDone`. */
async function run(until: number, isDone: () => boolean): Promise<boolean> {
  for (;;) {
    await turn()
    if (world().check.broken) throw new Error(world().check.broken)
    if (isDone()) return true
    const next = clock.next()
    if (next === undefined || next > until) return false
    await clock.advance(next, settled)
  }
}

const isStreaming = () => {
  const { cluster, store } = world()
  const backfills = [...cluster.backfills.values()]
  const done = backfills.length > 0 && backfills.every(({ status }) => isTerminal(status?.phase))
  return done && store.tables[0]?.historyComplete === true && store.tables[0].heldBy === ''
}
if (!(await run(1_200_000, isStreaming))) {
  write(`${world().log.slice(-40).join('\n')}\nidle: the table never streams\n`)
  process.exit(1)
}
// What has just ended is reported, and offsets behind it are given up.
await run(clock.now() + 120_000, () => false)
counts.clear()
const began = clock.now()
const version = world().store.tables[0]?.version
await run(began + SECONDS * 1000, () => false)
if (version !== world().store.tables[0]?.version) counts.set('the ledger moved', 1)
for (const [what, count] of [...counts].sort()) write(`${what}: ${count}\n`)
write(`idle: seconds=${SECONDS} kinds=${counts.size}\n`)
process.exit(0)
