import type { Operation } from './options.ts'

/** When a fault happens, among the requests, statements or objects that it matches. Without anything: always. */
export interface Trigger {
  /** Chance, from 0 to 1, drawn from the seeded generator. */
  readonly probability?: number
  /** Only at the n-th match, from 1. */
  readonly nth?: number
  /** At every n-th match. */
  readonly every?: number
  /** At most so often. */
  readonly times?: number
}

interface RequestFault extends Trigger {
  /** Default: all operations. */
  readonly operations?: readonly Operation[]
}

interface StatementFault extends Trigger {
  /** Regular expression, not case-sensitive. Default: all statements. */
  readonly sql?: string
}

interface ObjectFault extends Trigger {
  /** Regular expression over `bucket/key`. Default: all objects. */
  readonly key?: string
}

export type Fault =
  /** ThrottlingException. */
  | (RequestFault & { readonly kind: 'throttle' })
  /** The connection ends before the request is looked at. */
  | (RequestFault & { readonly kind: 'drop-request' })
  /** InternalServerException before the request is looked at. */
  | (RequestFault & { readonly kind: 'internal-error' })
  /** The request is carried out, statements to their end, and then the connection ends without an answer. */
  | (RequestFault & { readonly kind: 'lose-response' })
  /** Error 1023 instead of the statement. */
  | (StatementFault & { readonly kind: 'serialization-error' })
  /** Any other error instead of the statement. */
  | (StatementFault & { readonly kind: 'fail'; readonly message: string })
  /** The statement is ABORTED after it ran and before it commits, as by an administrator. */
  | (StatementFault & { readonly kind: 'abort' })
  /** The statement begins so many milliseconds late. */
  | (StatementFault & { readonly kind: 'slow'; readonly ms: number })
  /** The connection to the database is cut after the statement ran and before it commits. */
  | (StatementFault & { readonly kind: 'disconnect' })
  /** S3 answers with this status. */
  | (ObjectFault & { readonly kind: 's3-error'; readonly status: number })
  /** The object breaks off after so many bytes. */
  | (ObjectFault & { readonly kind: 's3-cut'; readonly bytes: number })

export type FaultKind = Fault['kind']

const KINDS: readonly FaultKind[] = [
  'throttle',
  'drop-request',
  'internal-error',
  'lose-response',
  'serialization-error',
  'fail',
  'abort',
  'slow',
  'disconnect',
  's3-error',
  's3-cut',
]

export interface Faults {
  /** Replaces all faults and starts counting anew. Fails on one that is not of the form above. */
  set(faults: readonly Fault[]): void
  list(): readonly { readonly fault: Fault; readonly matched: number; readonly fired: number }[]
  /** The fault of one of these kinds that happens now. `subject` is an operation, a statement or `bucket/key`. */
  next<K extends FaultKind>(kinds: readonly K[], subject: string): Extract<Fault, { kind: K }> | undefined
}

export function createFaults(seed: number, initial: readonly Fault[] = []): Faults {
  const random = seededRandom(seed)
  let entries: { fault: Fault; matched: number; fired: number }[] = []
  const set = (faults: readonly Fault[]) => {
    for (const fault of faults) check(fault)
    entries = faults.map((fault) => ({ fault, matched: 0, fired: 0 }))
  }
  set(initial)
  return {
    set,
    list: () => entries.map((entry) => ({ ...entry })),
    next: (kinds, subject) => {
      for (const entry of entries) {
        const { fault } = entry
        if (!kinds.some((kind) => kind === fault.kind) || !matches(fault, subject)) continue
        entry.matched++
        if (!fires(fault, entry, random)) continue
        entry.fired++
        return fault as Extract<Fault, { kind: (typeof kinds)[number] }>
      }
      return undefined
    },
  }
}

function matches(fault: Fault, subject: string): boolean {
  if ('operations' in fault && fault.operations)
    return fault.operations.some((operation) => operation === subject)
  if ('sql' in fault && fault.sql !== undefined) return new RegExp(fault.sql, 'i').test(subject)
  if ('key' in fault && fault.key !== undefined) return new RegExp(fault.key).test(subject)
  return true
}

function fires(fault: Fault, counts: { matched: number; fired: number }, random: () => number): boolean {
  if (fault.times !== undefined && counts.fired >= fault.times) return false
  if (fault.nth !== undefined && counts.matched !== fault.nth) return false
  if (fault.every !== undefined && counts.matched % fault.every !== 0) return false
  return fault.probability === undefined || random() < fault.probability
}

function check(fault: Fault) {
  if (typeof fault !== 'object' || fault === null || !KINDS.includes(fault.kind)) {
    throw new Error(`not a fault: ${JSON.stringify(fault)}; kinds are ${KINDS.join(', ')}`)
  }
  const probability = fault.probability ?? 0
  if (probability < 0 || probability > 1) throw new Error(`probability ${probability} is not between 0 and 1`)
  for (const source of ['sql', 'key'] as const) {
    if (source in fault) new RegExp((fault as unknown as Record<string, string>)[source] ?? '')
  }
}

/** mulberry32: small, fast, and the same everywhere. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
