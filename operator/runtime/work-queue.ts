import { backoffDelay } from '../../lib/backoff.ts'

/**
 * Keys that wait for work. A key waits at most once, and is never handed to two at the same time: what is added while it is
 * worked on comes afterwards.
 */
export interface WorkQueue {
  add(key: string): void
  /** Adds it after a while, milliseconds; the earliest of several counts. */
  addAfter(key: string, delay: number): void
  /** Adds it after a delay that grows with each failure since the last `forget`. Returns the delay, milliseconds. */
  addAfterFailure(key: string): number
  forget(key: string): void
  /** Waits for a key. Rejects with the signal's reason. */
  take(signal: AbortSignal): Promise<string>
  /** The work on a taken key has ended. */
  done(key: string): void
  /** Keys that wait now. */
  depth(): number
  /** Milliseconds that the key waited, for the one just taken. */
  waited(key: string): number
}

export interface WorkQueueOptions {
  /** Shortest and longest delay after failures, milliseconds. */
  readonly minDelay?: number
  readonly maxDelay?: number
  readonly random?: () => number
}

export function createWorkQueue(options: WorkQueueOptions = {}): WorkQueue {
  const { minDelay = 200, maxDelay = 120_000, random = Math.random } = options
  /** Keys to work on, with the time they were added; in the order of arrival. */
  const waiting = new Map<string, number>()
  const working = new Set<string>()
  /** Added while worked on. */
  const again = new Set<string>()
  const timers = new Map<string, { due: number; timer: NodeJS.Timeout }>()
  const failures = new Map<string, number>()
  const lastWait = new Map<string, number>()
  const takers: (() => void)[] = []

  function add(key: string): void {
    if (working.has(key)) {
      again.add(key)
      return
    }
    if (waiting.has(key)) return
    waiting.set(key, performance.now())
    takers.shift()?.()
  }

  function addAfter(key: string, delay: number): void {
    if (delay <= 0) {
      add(key)
      return
    }
    const due = performance.now() + delay
    const before = timers.get(key)
    if (before && before.due <= due) return
    clearTimeout(before?.timer)
    const timer = setTimeout(() => {
      timers.delete(key)
      add(key)
    }, delay)
    timer.unref()
    timers.set(key, { due, timer })
  }

  return {
    add,
    addAfter,
    addAfterFailure(key) {
      const count = failures.get(key) ?? 0
      failures.set(key, count + 1)
      const delay = backoffDelay(count, minDelay, maxDelay, random)
      addAfter(key, delay)
      return delay
    },
    forget: (key) => void failures.delete(key),
    async take(signal) {
      for (;;) {
        signal.throwIfAborted()
        const next = waiting.entries().next().value
        if (next !== undefined) {
          const [key, since] = next
          waiting.delete(key)
          working.add(key)
          lastWait.set(key, performance.now() - since)
          return key
        }
        await nextArrival(signal)
      }
    },
    done(key) {
      working.delete(key)
      lastWait.delete(key)
      if (again.delete(key)) add(key)
    },
    depth: () => waiting.size,
    waited: (key) => lastWait.get(key) ?? 0,
  }

  function nextArrival(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const taker = () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = () => {
        const at = takers.indexOf(taker)
        if (at >= 0) takers.splice(at, 1)
        reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      takers.push(taker)
    })
  }
}
