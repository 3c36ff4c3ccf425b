import type { Pipeline } from '../../crds/pipeline.ts'
import { isTerminal } from '../../operator/backfill/facts.ts'
import { deleteBackfill, putBackfill, putPipeline } from './kube.ts'
import { controlJobs, makeBackfill, operate } from './operator.ts'
import type { Process } from './process.ts'
import { endIdle, shuffled, TYPES } from './sql.ts'
import { kill, startApply, startCapture } from './workers.ts'
import { world } from './world.ts'

/** Does something if it can; says what. All choices are taken from the number. */
export type Action = (number: number) => string | undefined | Promise<string | undefined>

/** Takes one choice after the other out of a number. */
export function choices(number: number): (n: number) => number {
  let left = number
  return (n) => {
    const chosen = n <= 1 ? 0 : left % n
    // Low bits are used up; what is left is mixed, so that any number of choices can be taken.
    left = (Math.imul(left ^ (left >>> 13), 0x5bd1e995) >>> 0) + chosen + 1
    return chosen
  }
}

const state = () => world().source.state
/** Everything that follows from what has just happened has been done. */
export const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)))

/** Lets the calls of a process happen. */
async function advance(process: Process | undefined, number: number): Promise<string | undefined> {
  if (!process || process.dead) return undefined
  const choose = choices(number)
  const times = 1 + choose(6)
  const done: string[] = []
  for (let i = 0; i < times; i += 1) {
    const ready = process.calls.filter((each) => each.ready())
    if (ready.length === 0) break
    const call = ready[choose(3) === 0 ? choose(ready.length) : 0] as (typeof ready)[number]
    done.push(call.what)
    call.happen(choose(1 << 16))
    await settled()
    if (process.dead) break
  }
  return done.length > 0 ? `${process.name}: ${done.join(' / ')}` : undefined
}

function pods(): Process[] {
  return [...world().jobs.values()].flatMap(({ pod }) => (pod && !pod.dead ? [pod] : []))
}

function pick<T>(items: readonly T[], choose: (n: number) => number): T | undefined {
  return items[choose(items.length)]
}

const active = () =>
  [...world().cluster.backfills.values()].filter(({ status }) => !isTerminal(status?.phase))

function lives(process: Process | undefined): process is Process {
  return process !== undefined && !process.dead
}

/** Kills it, or gives it up while it goes on working. */
const lose =
  (find: (choose: (n: number) => number) => Process | undefined, goesOn: boolean): Action =>
  (number) => {
    const choose = choices(number)
    const process = find(choose)
    if (!lives(process)) return undefined
    if (goesOn && world().ghosts.length < 3) {
      world().ghosts.push(process)
      forget(process)
      return `${process.name} is given up and lives on`
    }
    const arrives = choose(2) === 0
    kill(process, () => arrives)
    forget(process)
    return `${process.name} is killed${arrives ? '; what it has sent may arrive' : ''}`
  }

function forget(process: Process): void {
  const at = world()
  if (at.capture === process) at.capture = undefined
  if (at.apply === process) at.apply = undefined
  for (const job of at.jobs.values()) {
    if (job.pod !== process) continue
    job.pod = undefined
    job.failures += 1
  }
}

function setTables(listed: boolean): void {
  putPipeline((pipeline) => ({
    ...pipeline,
    spec: {
      ...pipeline.spec,
      tables: listed ? [{ schema: 'public', name: 't', initialBackfill: 'Enabled' }] : [],
    } as Pipeline['spec'],
  }))
}

/** Starts what is not there, and lets the operator and the Job controller look once. */
export function manage(): string | undefined {
  const at = world()
  const done: string[] = []
  if (!lives(at.capture)) {
    at.capture = startCapture()
    done.push(`${at.capture.name} starts`)
  }
  if (!lives(at.apply)) {
    at.apply = startApply()
    done.push(`${at.apply.name} starts`)
  }
  const operated = operate()
  if (operated) done.push(operated)
  for (let did = controlJobs(); did; did = controlJobs()) done.push(did)
  return done.length > 0 ? done.join('; ') : undefined
}

function cutLog(to: bigint, how: string): string {
  const at = world()
  at.source.cut(to)
  state().generation += 1
  return how
}

export const ACTIONS: Readonly<Record<string, Action>> = {
  begin() {
    if (state().quiet || world().source.unended().length >= 3) return undefined
    return `T${world().source.begin().xid} begins`
  },
  write(number) {
    if (state().quiet) return undefined
    const choose = choices(number)
    const open = workload().filter((each) => each.state === 'running')
    const transaction = pick(open, choose)
    return transaction && world().source.write(transaction, choose)
  },
  truncate(number) {
    const choose = choices(number)
    const transaction = pick(
      workload().filter((each) => each.state === 'running'),
      choose,
    )
    if (!transaction || readers() > 0) return undefined
    return world().source.truncate(transaction)
  },
  commit(number) {
    const choose = choices(number)
    const transaction = pick(
      workload().filter((each) => each.state === 'running'),
      choose,
    )
    if (!transaction) return undefined
    transaction.durable = !(world().profile.asynchronous && choose(2) === 0)
    world().source.commit(transaction)
    return `T${transaction.xid} commits at ${transaction.commit?.end}${transaction.durable ? '' : ' (asynchronously)'}`
  },
  abort(number) {
    const transaction = pick(
      workload().filter((each) => each.state === 'running'),
      choices(number),
    )
    if (!transaction) return undefined
    world().source.abort(transaction)
    return `T${transaction.xid} aborts`
  },
  flush() {
    if (state().flushed === state().end) return undefined
    state().flushed = state().end
    return `the log is flushed to ${state().flushed}`
  },
  visible(number) {
    const logged = world()
      .source.unended()
      .filter((each) => each.state === 'logged' && (each.commit?.end ?? 0n) <= state().flushed)
    const transaction = pick(logged, choices(number))
    if (!transaction) return undefined
    world().source.end(transaction)
    return `T${transaction.xid} becomes visible`
  },
  replay(number) {
    const choose = choices(number)
    const index = choose(2) as 0 | 1
    const replica = state().replicas[index]
    const behind = Number((state().flushed - replica.replayed) / 16n)
    if (behind <= 0) return undefined
    const before = replica.replayed
    replica.replayed += 16n * BigInt(1 + choose(behind))
    conflict(index, before)
    return `replica ${index} replays to ${replica.replayed}`
  },
  replayAll() {
    if (state().replicas.every(({ replayed }) => replayed >= state().flushed)) return undefined
    for (const index of [0, 1] as const) {
      const before = state().replicas[index].replayed
      state().replicas[index].replayed = state().flushed
      conflict(index, before)
    }
    return 'both replicas replay everything'
  },
  restartReplica(number) {
    const choose = choices(number)
    const index = choose(2) as 0 | 1
    const replica = state().replicas[index]
    replica.generation += 1
    const back = 16n * BigInt(choose(6))
    replica.replayed = replica.replayed > back + 0x1000n ? replica.replayed - back : replica.replayed
    world().source.breakServer(index)
    return `replica ${index} restarts at ${replica.replayed}`
  },
  switchReplica() {
    state().address = state().address === 0 ? 1 : 0
    return `the replica's address leads to replica ${state().address} (at ${state().replicas[state().address].replayed})`
  },
  loseSnapshot(number) {
    const found = pick([...world().exported.values()], choices(number))
    if (!found) return undefined
    breakSession(found.session)
    return `the session that holds snapshot ${found.snapshot.id} is lost`
  },
  breakSession(number) {
    const found = pick([...world().sessions], choices(number))
    if (!found) return undefined
    breakSession(found)
    return `a session on ${found.server} is lost`
  },
  rewrite() {
    if (!world().source.isQuietTable() || readers() > 0) return undefined
    const { source } = world()
    const file = source.catalog().file + 1
    source.define({ file, rewrite: 'shuffle' }, (row) => ({
      ...row,
      block: shuffled(row.block, Number(row.k), file),
    }))
    return 'VACUUM FULL'
  },
  addColumn() {
    const { source } = world()
    if (!source.isQuietTable() || readers() > 0 || source.catalog().wide) return undefined
    source.define({ wide: true }, (row) => ({ ...row, d: '7' }))
    return 'ALTER TABLE ADD COLUMN d integer DEFAULT 7'
  },
  retype() {
    const { source } = world()
    const { file, retypes } = source.catalog()
    // Never back to a type that it had: there and back between two looks is no different from a VACUUM FULL.
    const type = Object.values(TYPES)[retypes + 2]
    if (!source.isQuietTable() || readers() > 0 || type === undefined) return undefined
    source.define({ type, retypes: retypes + 1, file: file + 1, rewrite: 'empty' }, (row) => ({
      ...row,
      v: `${row.v}!`,
    }))
    return `ALTER TABLE ALTER v TYPE ${type} USING v || ‘!’`
  },
  loseSlot(number) {
    const { slot } = state()
    if (!slot) return undefined
    const choose = choices(number)
    const how = choose(3)
    if (how === 2 && slot.confirmed >= state().flushed) return undefined
    slot.reader?.cut()
    if (how === 0) state().slot = undefined
    else if (how === 1) slot.invalidated = 'wal_removed'
    else slot.confirmed = state().flushed
    return `the slot is ${['dropped', 'invalidated', 'dropped and made anew'][how]}`
  },
  crashPrimary() {
    if (state().flushed === state().end && world().source.unended().length === 0) return undefined
    return cutLog(state().flushed, `the primary crashes and comes back at ${state().flushed}`)
  },
  failOver(number) {
    const choose = choices(number)
    const { replayed } = state().replicas[choose(2) as 0 | 1]
    cutLog(replayed, '')
    const { slot } = state()
    if (slot && choose(2) === 0) slot.confirmed = slot.confirmed < replayed ? slot.confirmed : replayed
    else state().slot = undefined
    state().timeline += 1
    world().source.append()
    state().flushed = state().end
    return `a replica is promoted at ${replayed}; the slot is ${state().slot ? 'there' : 'not'}`
  },
  capture: (number) => advance(world().capture, number),
  apply: (number) => advance(world().apply, number),
  backfill: (number) => advance(pods()[number % Math.max(1, pods().length)], Math.floor(number / 3)),
  ghost(number) {
    const choose = choices(number)
    const { ghosts } = world()
    const ghost = pick(ghosts, choose)
    if (!ghost) return undefined
    if (ghost.dead) {
      ghosts.splice(ghosts.indexOf(ghost), 1)
      return `${ghost.name} is forgotten`
    }
    if (ghost.kind === 'capture' && choose(3) === 0) {
      const reader = state().slot?.reader
      if (!reader) return undefined
      reader.cut()
      return 'the source ends the session that reads the slot'
    }
    return advance(ghost, choose(1 << 20))
  },
  late(number) {
    const choose = choices(number)
    const { late } = world()
    if (late.length === 0) return undefined
    const [call] = late.splice(choose(late.length), 1) as [(typeof late)[number]]
    if (choose(4) === 0) {
      call.drop()
      return `never arrives: ${call.what}`
    }
    return arrive(call, choose(1 << 16))
  },
  operator() {
    const { version } = world().cluster
    // What it changes without a word is part of the schedule too.
    return manage() ?? (world().cluster.version === version ? undefined : '')
  },
  async tick() {
    const { clock } = world()
    const next = clock.next()
    if (next === undefined) return undefined
    await clock.advance(next, settled)
    endIdle()
    return ''
  },
  async jump(number) {
    const { clock } = world()
    await clock.advance(clock.now() + choices(number)(20_000), settled)
    endIdle()
    return `(${Math.round(clock.now() / 1000)} s)`
  },
  killCapture: lose(() => world().capture, false),
  killApply: lose(() => world().apply, false),
  killBackfill: lose((choose) => pick(pods(), choose), false),
  splitCapture: lose(() => world().capture, true),
  splitApply: lose(() => world().apply, true),
  splitBackfill: lose((choose) => pick(pods(), choose), true),
  list() {
    if (world().cluster.pipeline.spec.tables.length > 0) return undefined
    setTables(true)
    return 'the table is added to the Pipeline'
  },
  unlist() {
    if (world().cluster.pipeline.spec.tables.length === 0 || state().quiet) return undefined
    setTables(false)
    return 'the table is removed from the Pipeline'
  },
  adhoc(number) {
    const { cluster, profile } = world()
    const made = [...cluster.backfills.keys()].filter((name) => name.startsWith('adhoc')).length
    if (made >= profile.backfills || cluster.pipeline.spec.tables.length === 0 || state().quiet)
      return undefined
    const choose = choices(number)
    const action = profile.actions[choose(profile.actions.length)] ?? 'Truncate'
    putBackfill(makeBackfill(`adhoc-${made}`, { destinationTable: action, backfill: world().scanOf() }))
    return `TableBackfill adhoc-${made}: ${action}`
  },
  cancel(number) {
    const choose = choices(number)
    const found = pick(active(), choose)
    if (!found) return undefined
    const { name } = found.metadata
    if (choose(2) === 0) deleteBackfill(name)
    else putBackfill({ ...found, spec: { ...found.spec, cancel: true } })
    return `${name} is cancelled or deleted`
  },
  suspend(number) {
    const found = pick(active(), choices(number))
    if (!found) return undefined
    const suspend = !found.spec.suspend && !state().quiet
    putBackfill({ ...found, spec: { ...found.spec, suspend } })
    return `${found.metadata.name} is ${suspend ? 'suspended' : 'resumed'}`
  },
  recreateTopic() {
    const topic = world().topics.get('ns.p.public.t')
    if (!topic || topic.records.length === 0) return undefined
    world().topics.delete('ns.p.public.t')
    world().check.remade = true
    return 'the topic is deleted'
  },
  remakeTopic() {
    const topic = world().topics.get('ns.p.public.t')
    if (!topic || topic.records.length === 0) return undefined
    world().topics.set('ns.p.public.t', { base: 0n, records: [] })
    world().check.remade = true
    return 'the topic is deleted, and somebody else makes it anew at once'
  },
  expire(number) {
    const topic = world().topics.get('ns.p.public.t')
    if (!topic || topic.records.length === 0) return undefined
    const count = 1 + choices(number)(topic.records.length)
    topic.records.splice(0, count)
    topic.base += BigInt(count)
    return `the topic loses what is before ${topic.base}`
  },
}

/** Transactions of the table's users. */
function workload() {
  const own = new Set([...world().sessions].map(({ transaction }) => transaction))
  return world()
    .source.unended()
    .filter((each) => !own.has(each) && !each.items.some(({ op }) => op === 'M') && each.member === undefined)
}

/** Sessions on the primary that keep others from taking the table for themselves. */
function readers(): number {
  return [...world().sessions].filter((each) => each.server === 'primary' && each.reads).length
}

/** Replay that takes the table for itself ends what reads it. */
function conflict(index: 0 | 1, before: bigint): void {
  const { catalogs, replicas } = state()
  const passed = catalogs.some(({ end }) => end > before && end <= replicas[index].replayed)
  if (!passed) return
  for (const session of world().sessions)
    if (session.server === index && session.reads) session.conflict = true
}

function breakSession(session: { readonly server: 'primary' | 0 | 1 }): void {
  for (const each of [...state().breakers]) if (each.session === session) each.cut()
}

export async function arrive(call: Process['calls'][number], number: number): Promise<string> {
  const at = world()
  at.isLate = true
  try {
    call.happen(number)
  } finally {
    at.isLate = false
  }
  await settled()
  return `arrives late: ${call.what}`
}
