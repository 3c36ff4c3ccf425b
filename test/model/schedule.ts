import { isTerminal } from '../../operator/backfill/facts.ts'
import { createRandom, type Random } from '../torture/random.ts'
import { ACTIONS, arrive, manage, settled } from './actions.ts'
import type { Clock } from './clock.ts'
import { putBackfill } from './kube.ts'
import { makeBackfill } from './operator.ts'
import type { Process } from './process.ts'
import { type Profile, randomProfile } from './profile.ts'
import { endIdle } from './sql.ts'
import { kill, startBackfill } from './workers.ts'
import { createWorld, world } from './world.ts'

/** A schedule: what is done, each with the number that all its choices come from. */
export type Schedule = readonly (readonly [action: string, number: number])[]

export interface Outcome {
  /** Undefined: all is as it must be. */
  readonly failure: string | undefined
  readonly schedule: Schedule
  readonly profile: Profile
  readonly log: readonly string[]
}

/** How long everything may take to come to rest once nothing more happens, milliseconds of the simulation. */
const PATIENCE = 3 * 3_600_000
const MOST_ROUNDS = 6_000
/** Capture has looked at the catalog by then, even if it had to connect again before. */
const LOOKED = 100_000
/** After this a person looks what does not go on by itself. */
const HAND = 600_000

/** Makes a schedule while it is run; what changed nothing is left out. */
export async function generate(seed: string, clock: Clock, fixed: Partial<Profile> = {}): Promise<Outcome> {
  const random = createRandom(seed)
  const profile = randomProfile(random.fork('profile'), fixed)
  begin(profile, clock, seed)
  const schedule: [string, number][] = []
  const names = Object.keys(profile.weights).filter((name) => (profile.weights[name] ?? 0) > 0)
  let tries = 0
  while (schedule.length < profile.steps && tries < profile.steps * 6 && !world().check.broken) {
    // What is quick and what is slow changes, so that each part lags behind in its turn.
    const weights = Object.fromEntries(
      names.map((name) => [name, (profile.weights[name] ?? 0) * random.pick([0.15, 1, 1, 1, 4])]),
    )
    for (let left = 20 + random.below(100); left > 0 && !world().check.broken; left -= 1) {
      tries += 1
      const name = random.weighted(weights)
      const number = random.below(1 << 30)
      if ((await perform(name, number)) !== undefined) schedule.push([name, number])
      if (schedule.length >= profile.steps) break
    }
  }
  return { failure: await finish(), schedule, profile, log: world().log }
}

/** Runs a schedule again. */
export async function replay(
  profile: Profile,
  schedule: Schedule,
  clock: Clock,
  seed: string,
): Promise<Outcome> {
  begin(profile, clock, seed)
  for (const [name, number] of schedule) {
    await perform(name, number)
    if (world().check.broken) break
  }
  return { failure: await finish(), schedule, profile, log: world().log }
}

/** Leaves steps out as long as it goes on failing in the same way. */
export async function shrink(
  found: Outcome,
  clock: Clock,
  seed: string,
  isTooLong: () => boolean,
): Promise<Outcome> {
  let best = found
  const kind = kindOf(found.failure)
  for (let size = Math.ceil(best.schedule.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < best.schedule.length && !isTooLong(); ) {
      const shorter = [...best.schedule.slice(0, from), ...best.schedule.slice(from + size)]
      const tried = await replay(best.profile, shorter, clock, seed)
      if (kindOf(tried.failure) === kind) best = tried
      else from += size
    }
  }
  return best
}

function kindOf(failure: string | undefined): string {
  return failure === undefined ? '' : (/^(hang|I\d+|drained|[\w-]+ threw)/.exec(failure)?.[0] ?? 'wrong')
}

function begin(profile: Profile, clock: Clock, seed: string): void {
  const random: Random = createRandom(`${seed}/choices`)
  Math.random = random.next
  createWorld(profile, clock, random, startBackfill)
  world().listedBefore = new Set()
  void ACTIONS.list?.(0)
}

async function perform(name: string, number: number): Promise<string | undefined> {
  const done = await ACTIONS[name]?.(number)
  if (done) world().log.push(done)
  await settled()
  return done
}

async function finish(): Promise<string | undefined> {
  const at = world()
  at.source.state.quiet = true
  at.log.push('--- nothing more happens ---')
  const failure =
    (await rest()) ?? (await lateOnes()) ?? (await rest()) ?? at.check.broken ?? at.check.final()
  for (const each of everyone()) kill(each, () => false)
  at.clock.reset()
  return at.check.broken ?? failure
}

function everyone(): Process[] {
  const at = world()
  const pods = [...at.jobs.values()].flatMap(({ pod }) => pod ?? [])
  return [at.capture, at.apply, ...pods, ...at.ghosts].filter(
    (each) => each !== undefined && !each.dead,
  ) as Process[]
}

/**
 * A COMMIT that somebody sent who is gone keeps its transaction running; no network holds one back for hours. It arrives,
 * or the server notices that its client is gone.
 */
async function commitsOnTheirWay(): Promise<void> {
  const { late, log } = world()
  for (const [index, call] of [...late].entries()) {
    if (!call.what.endsWith(': COMMIT')) continue
    late.splice(late.indexOf(call), 1)
    if (index % 2 === 0) log.push(await arrive(call, index))
    else call.drop()
  }
}

/** The worst that can be left over: what was sent arrives, and who was given up goes on. */
async function lateOnes(): Promise<string | undefined> {
  const at = world()
  at.log.push('--- but what was left over ---')
  for (let round = 0; round < 40 && !at.check.broken; round += 1) {
    await perform('ghost', round * 7919)
    await perform('tick', 0)
    while (at.late.length > 0) at.log.push(await arrive(at.late.shift() as Process['calls'][number], round))
  }
  for (const ghost of at.ghosts.splice(0)) kill(ghost, () => false)
  return at.check.broken
}

/** Lets everything go on until nothing is left to do. */
async function rest(): Promise<string | undefined> {
  const at = world()
  const began = at.clock.now()
  const deadline = began + PATIENCE
  await commitsOnTheirWay()
  await perform('list', 0)
  for (const found of at.cluster.backfills.values()) {
    if (found.spec.suspend) putBackfill({ ...found, spec: { ...found.spec, suspend: false } })
  }
  for (let round = 0; ; round += 1) {
    if (at.check.broken) return at.check.broken
    let idle = true
    for (const name of ['commit', 'flush', 'visible', 'replayAll']) {
      while ((await perform(name, 0)) !== undefined) idle = false
    }
    const managed = manage()
    if (managed) {
      at.log.push(managed)
      idle = false
    }
    for (const process of everyone().filter((each) => !at.ghosts.includes(each))) {
      for (let count = 0; count < 60; count += 1) {
        const call = process.calls.find((each) => each.ready())
        if (!call) break
        idle = false
        at.log.push(`${process.name}: ${call.what}`)
        call.happen(round + count)
        await settled()
      }
    }
    if (!idle) {
      if (round > MOST_ROUNDS) return `hang: it never comes to rest (${situation()})`
      continue
    }
    if (isAtRest() && (at.source.catalog().retypes === 0 || at.clock.now() > began + LOOKED)) {
      const asked = askForCopy()
      if (!asked) return undefined
      at.log.push(asked)
      continue
    }
    const isLong = at.clock.now() > deadline - PATIENCE + HAND || round > MOST_ROUNDS / 3
    const mended = isLong ? mendByHand() : undefined
    if (mended) at.log.push(mended)
    const next = at.clock.next()
    if (next === undefined || next > deadline || round > MOST_ROUNDS) return `hang: ${situation()}`
    // The slot is read by somebody who was given up: a server notices in the end.
    const reader = at.source.state.slot?.reader
    if (reader && at.ghosts.some((ghost) => ghost === reader.owner)) reader.cut()
    await commitsOnTheirWay()
    await at.clock.advance(next, settled)
    endIdle()
  }
}

/** A table without a key is copied only on demand (rule R14). */
function askForCopy(): string | undefined {
  const { store, profile } = world()
  if (!profile.keyless || store.tables[0]?.historyComplete) return undefined
  const name = `demand-${world().cluster.backfills.size}`
  putBackfill(makeBackfill(name, { destinationTable: 'Truncate', backfill: world().scanOf() }))
  return `TableBackfill ${name}: Truncate`
}

/** What nobody mends any more because the backfill that was to do it was cancelled, a person does. */
function mendByHand(): string | undefined {
  const { cluster, store } = world()
  const [row] = store.tables
  const isActive = [...cluster.backfills.values()].some(({ status }) => !isTerminal(status?.phase))
  if (!row || isActive || (!row.needsEmptying && row.state !== 'stopped')) return undefined
  const name = `mend-${cluster.backfills.size}`
  if (cluster.backfills.size > 12) return undefined
  putBackfill(makeBackfill(name, { destinationTable: 'Truncate', backfill: world().scanOf() }))
  return `TableBackfill ${name}: Truncate`
}

function lastCommit(): bigint {
  const { state, isPublished } = world().source
  let last = 0n
  for (const { items, commit } of state.commits) {
    const counts = items.some((item) => item.op === 'M' || isPublished(item.lsn))
    if (counts && commit && commit.end > last) last = commit.end
  }
  return last
}

function isAtRest(): boolean {
  const { cluster, store, topics, jobs, source } = world()
  if ([...cluster.backfills.values()].some(({ status }) => !isTerminal(status?.phase))) return false
  // A table that is complete already gets no initial backfill.
  const hasInitial =
    [...cluster.backfills.keys()].some((name) => name.endsWith('initial')) ||
    cluster.pipeline.status?.tables?.[0]?.initialBackfill !== undefined
  if (!hasInitial && !store.tables[0]?.historyComplete) return false
  if ([...jobs.values()].some(({ pod }) => pod)) return false
  const [row] = store.tables
  const topic = topics.get('ns.p.public.t')
  if (
    !row ||
    !topic ||
    row.heldBy !== '' ||
    (row.needsEmptying && !world().profile.keyless) ||
    row.state !== 'active'
  )
    return false
  if ([...store.backfills.values()].some(({ state }) => state === 'held' || state === 'copied')) return false
  if (row.nextOffset < topic.base + BigInt(topic.records.length)) return false
  return source.state.slot !== undefined && source.state.slot.confirmed >= lastCommit()
}

/** For a person who has to find out why nothing goes on. */
function situation(): string {
  const { cluster, store, topics, source } = world()
  const backfills = [...cluster.backfills.values()].map(
    ({ metadata, status }) => `${metadata.name} ${status?.phase}: ${status?.message}`,
  )
  const [row] = store.tables
  const topic = topics.get('ns.p.public.t')
  const facts = row
    ? `the table is ${row.state}, held by '${row.heldBy}', needsEmptying ${row.needsEmptying}, next offset ${row.nextOffset} of ${topic && topic.base + BigInt(topic.records.length)}`
    : 'the ledger has no table'
  const { capture } = cluster.pipeline.status ?? {}
  const problems = JSON.stringify([capture?.problems, cluster.pipeline.status?.apply?.problems])
  return `${backfills.join('; ') || 'no backfills'}; ${facts}; slot ${source.state.slot?.confirmed} of ${lastCommit()}; ${problems}`
}
