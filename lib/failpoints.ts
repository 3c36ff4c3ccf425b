import { MillraceError } from './errors.ts'
import type { Logger } from './log.ts'

/**
 * Named places where a test can make a process fail: crash, throw, wait, or lose the connection at hand. They cannot
 * switch anything off, so the worst that they can do is what a bad day does. When none is configured, which is always
 * outside of tests, a place costs one comparison.
 *
 * An *effect* is something that others can see, such as a commit; it has a place before it and one after it, where it has
 * happened and this process does not know it yet.
 */
const EFFECTS = [
  // capture
  'capture.send',
  'capture.record',
  'capture.feedback',
  'capture.join',
  'capture.leave',
  'capture.gap',
  'capture.incarnation',
  'capture.slot.create',
  'capture.slot.drop',
  'capture.stream',
  'capture.heartbeat',
  'capture.compact',
  // queue
  'queue.topic',
  'queue.delete',
  // watermarks and whatever else is committed on a source
  'source.commit',
  'watermark.hold',
  'watermark.release',
  // destination and ledger, whichever kind it is
  'ledger.claim',
  'ledger.update',
  'ledger.free',
  'ledger.held',
  'ledger.close',
  'ledger.attempt',
  'ledger.copied',
  'ledger.plan',
  'ledger.split',
  'destination.ensure',
  'destination.flush',
  'destination.action',
  'destination.chunk',
  'destination.commit',
  // each request to the Data API that begins a statement, and each that writes or deletes in S3
  'redshift.statement',
  'redshift.put',
  'redshift.remove',
  // apply
  'apply.reread',
  // Kubernetes
  'status.write',
  'operator.status',
  'operator.job',
  'operator.backfill',
  'operator.workload',
  'operator.finalizer',
  'operator.remove',
  // cleanup
  'cleanup.slot',
  'cleanup.publication',
] as const
export type Effect = (typeof EFFECTS)[number]

const POINTS = [
  // each buffer that a chunk's read brings
  'backfill.chunk.read',
  // all of a chunk is read, nothing of it is committed
  'backfill.chunk.commit',
  // the copy is proven to be able to begin, and nothing was done to the destination yet
  'backfill.proven',
] as const

export type Failpoint = `${Effect}.before` | `${Effect}.after` | (typeof POINTS)[number]

/** All that there are. */
export const FAILPOINTS: readonly Failpoint[] = [
  ...EFFECTS.flatMap((effect) => [`${effect}.before`, `${effect}.after`] as const),
  ...POINTS,
]

/** Breaks the connection that is in use at a place. */
type Cut = () => void

let strike: ((name: Failpoint, cut: Cut | undefined) => Promise<void> | undefined) | undefined

/**
 * A place. Returns a promise only when it is to be waited for; where the code cannot wait, a delay has no effect.
 *
 * Throws `ConnectionLost` (retryable) when it is configured to.
 */
export function failpoint(name: Failpoint, cut?: Cut): Promise<void> | undefined {
  return strike?.(name, cut)
}

/** An effect, with the place before and the place after it. */
export function around<T>(effect: Effect, work: () => Promise<T>, cut?: Cut): Promise<T> {
  return strike === undefined ? work() : surrounded(effect, work, cut)
}

async function surrounded<T>(effect: Effect, work: () => Promise<T>, cut: Cut | undefined): Promise<T> {
  await failpoint(`${effect}.before`, cut)
  const result = await work()
  await failpoint(`${effect}.after`, cut)
  return result
}

/** Some place is configured to fail. */
export function hasFailpoints(): boolean {
  return strike !== undefined
}

/**
 * Sets the places that fail, in this process; undefined or empty: none.
 *
 *     destination.flush.after=crash@3; backfill.chunk.commit=throw%0.05; capture.*=delay(500)%0.1; seed=42
 *
 * `crash`, `throw`, `delay(milliseconds)` or `cut`; at every hit, at the n-th one only (`@n`), or with a probability
 * (`%p`) that `seed` decides. A name may end in `*`. Of two rules for a place the last counts. Throws `InvalidSpec`.
 */
export function configureFailpoints(text: string | undefined, log: Pick<Logger, 'warn'>): void {
  strike = undefined
  const settings = (text ?? '').split(';').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]))
  if (settings.length === 0) return
  const seed = settings.find((setting) => setting.startsWith('seed='))?.slice('seed='.length) ?? '0'
  const random = createRandom(seed)
  const rules = new Map<Failpoint, Rule>()
  for (const setting of settings.filter((each) => !each.startsWith('seed='))) {
    const { names, rule } = parse(setting)
    for (const name of names) rules.set(name, rule)
  }
  log.warn({ failpoints: settings }, 'This process is made to fail, as a test')
  const hits = new Map<Failpoint, number>()
  strike = (name, cut) => {
    const rule = rules.get(name)
    if (rule === undefined) return undefined
    const hit = (hits.get(name) ?? 0) + 1
    hits.set(name, hit)
    if (rule.at !== undefined ? hit !== rule.at : random() >= rule.probability) return undefined
    log.warn({ failpoint: name, action: rule.action, hit }, 'Failing on purpose')
    return act(name, rule, cut)
  }
}

interface Rule {
  readonly action: 'crash' | 'throw' | 'delay' | 'cut'
  readonly milliseconds: number
  readonly at: number | undefined
  readonly probability: number
}

function act(name: Failpoint, rule: Rule, cut: Cut | undefined): Promise<void> | undefined {
  switch (rule.action) {
    case 'crash':
      process.kill(process.pid, 'SIGKILL')
      return new Promise(() => {})
    case 'delay':
      return new Promise((resolve) => setTimeout(resolve, rule.milliseconds))
    case 'cut':
      // What this means shows at the next use of the connection, as in life.
      if (cut) {
        cut()
        return undefined
      }
  }
  throw new MillraceError('ConnectionLost', `failpoint ${name}`)
}

const RULE = /^([\w.*]+)=(crash|throw|cut|delay\((\d+)\))(?:@(\d+)|%(\d*\.?\d+))?$/

function parse(setting: string): { names: readonly Failpoint[]; rule: Rule } {
  const match = RULE.exec(setting)
  if (!match) throw invalid(`${JSON.stringify(setting)} is not <name>=crash|throw|cut|delay(<ms>)[@<n>|%<p>]`)
  const [, pattern = '', action = '', milliseconds, at, probability] = match
  const names = FAILPOINTS.filter((name) =>
    pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
  )
  if (names.length === 0) throw invalid(`there is no failpoint ${JSON.stringify(pattern)}`)
  return {
    names,
    rule: {
      action: action.replace(/\(.*/, '') as Rule['action'],
      milliseconds: Number(milliseconds ?? 0),
      at: at === undefined ? undefined : Number(at),
      probability: probability === undefined ? 1 : Number(probability),
    },
  }
}

function invalid(what: string): MillraceError {
  return new MillraceError('InvalidSpec', `environment: MILLRACE_FAILPOINTS: ${what}`)
}

/** mulberry32 */
function createRandom(seed: string): () => number {
  let state = 0x811c9dc5
  for (const char of seed) state = Math.imul(state ^ (char.codePointAt(0) ?? 0), 0x01000193)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
