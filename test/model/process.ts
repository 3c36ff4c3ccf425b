import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * A worker process of the simulation: the real code, whose every call to the outside waits here until the schedule lets
 * it happen.
 */
export interface Process {
  readonly name: string
  readonly kind: 'capture' | 'apply' | 'backfill'
  /** metadata.uid of the TableBackfill it works for. */
  readonly uid: string | undefined
  /** Calls that have not happened yet, oldest first. */
  readonly calls: Call[]
  /** What servers do when the process is gone. */
  readonly onDeath: (() => void)[]
  readonly stop: AbortController
  dead: boolean
  /** Exit code once it has ended. */
  exit: number | undefined
}

export interface Call {
  readonly what: string
  readonly owner: Process | undefined
  /** Once sent, it may happen although nobody waits for it any more. */
  readonly lingers: boolean
  ready(): boolean
  /** Lets it happen; `random` decides whatever is left to chance. */
  happen(random: number): void
  /** It never happens. */
  drop(): void
  settled: boolean
}

/** An effect that has begun and ends later. */
export interface Later<T> {
  readonly until: () => boolean
  readonly then: (random: number) => T | Later<T>
}

export function later<T>(until: () => boolean, then: (random: number) => T | Later<T>): Later<T> {
  return { until, then }
}

const running = new AsyncLocalStorage<Process>()

/** The process whose code runs at this moment. */
export function currentProcess(): Process | undefined {
  return running.getStore()
}

export function runAs<T>(process: Process | undefined, work: () => T): T {
  return process ? running.run(process, work) : running.exit(work)
}

export function createProcess(name: string, kind: Process['kind'], uid?: string): Process {
  return {
    name,
    kind,
    uid,
    calls: [],
    onDeath: [],
    stop: new AbortController(),
    dead: false,
    exit: undefined,
  }
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  readonly ready?: () => boolean
  readonly lingers?: boolean
  /** Where a call goes whose caller has turned away. */
  readonly abandoned?: (call: Call) => void
  readonly onDrop?: () => void
}

/** A call of the running process to the outside. Its effect happens at once, at a moment that the schedule chooses. */
export function call<T>(
  what: string,
  effect: (random: number) => T | Later<T>,
  options: CallOptions = {},
): Promise<T> {
  const owner = currentProcess()
  const { signal } = options
  if (owner?.dead) return new Promise(() => {})
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const finish = (settle: () => void) => {
      if (made.settled) return
      made.settled = true
      if (owner) owner.calls.splice(owner.calls.indexOf(made), 1)
      signal?.removeEventListener('abort', onAbort)
      settle()
    }
    let next: Later<T> = later(options.ready ?? (() => true), effect)
    const made: Call = {
      what,
      owner,
      lingers: options.lingers === true,
      settled: false,
      drop() {
        finish(() => {})
        options.onDrop?.()
      },
      ready: () => next.until(),
      happen(random) {
        let result: T | Later<T>
        try {
          result = next.then(random)
        } catch (error) {
          return finish(() => reject(error))
        }
        if (isLater(result)) next = result
        else {
          const value = result
          finish(() => resolve(value))
        }
      },
    }
    const onAbort = () => {
      if (!made.lingers) options.onDrop?.()
      finish(() => reject(signal?.reason))
      if (made.lingers) options.abandoned?.(made)
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    owner?.calls.push(made)
  })
}

function isLater<T>(value: T | Later<T>): value is Later<T> {
  return typeof value === 'object' && value !== null && 'until' in value && 'then' in value
}
