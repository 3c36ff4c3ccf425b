import type { Clock } from '../options.ts'

/** A bucket that fills with `rate` requests a second and holds one second's worth. */
export interface RateLimit {
  /** Takes one request; false when there is none left. */
  take(): boolean
}

export function createRateLimit(rate: number, clock: Clock): RateLimit {
  let tokens = rate
  let last = clock.now()
  return {
    take: () => {
      const now = clock.now()
      tokens = Math.min(rate, tokens + ((now - last) / 1000) * rate)
      last = now
      if (tokens < 1) return false
      tokens -= 1
      return true
    },
  }
}
