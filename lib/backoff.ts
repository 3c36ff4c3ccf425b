/** Delays between attempts: they double from `min` to `max`, each drawn at random from its upper half. */
export interface Backoff {
  /** Milliseconds to wait before the next attempt. */
  next(): number
  /** Begins again at `min`; call it after a success that deserves the name. */
  reset(): void
  /** Attempts since the last reset. */
  attempts(): number
}

/**
 * @param min shortest delay, milliseconds
 * @param max longest delay, milliseconds
 */
export function createBackoff(min: number, max: number, random: () => number = Math.random): Backoff {
  let attempts = 0
  return {
    next() {
      const delay = backoffDelay(attempts, min, max, random)
      attempts += 1
      return delay
    },
    reset() {
      attempts = 0
    },
    attempts: () => attempts,
  }
}

/** Delay before attempt number `attempt` (from 0), milliseconds. Half of it is random, so that many who fail together do not return together. */
export function backoffDelay(attempt: number, min: number, max: number, random: () => number): number {
  const ceiling = Math.min(max, min * 2 ** Math.min(attempt, 30))
  return Math.round(ceiling / 2 + (ceiling / 2) * random())
}
