import { sleep } from '../../../lib/sleep.ts'

/** Keeps calls of one operation below what the account allows, which is shared with everybody else in it. */
export interface Rate {
  /** Waits for a turn. */
  take(signal: AbortSignal): Promise<void>
  /** The service has refused a call: halves the rate. */
  throttled(): void
  /** Calls a second at present. */
  current(): number
}

/** Share of the highest rate that comes back with each second without refusals. */
const RECOVERY = 0.05
const LOWEST = 0.5

/**
 * A token bucket whose rate follows what the service lets through.
 *
 * @param highest calls a second
 * @param now milliseconds of a clock that never goes back
 */
export function createRate(
  highest: number,
  now: () => number = () => performance.now(),
  wait: typeof sleep = sleep,
): Rate {
  let rate = highest
  let tokens = highest
  let last = now()
  let quietSince = last

  function refill(): void {
    const time = now()
    tokens = Math.min(highest, tokens + ((time - last) / 1000) * rate)
    last = time
    const quiet = (time - quietSince) / 1000
    if (quiet >= 1 && rate < highest) {
      rate = Math.min(highest, rate + quiet * RECOVERY * highest)
      quietSince = time
    }
  }

  return {
    async take(signal) {
      refill()
      tokens -= 1
      // In debt: each that waits has its own place in the row.
      if (tokens < 0) await wait((-tokens / rate) * 1000, signal)
      else signal.throwIfAborted()
    },
    throttled() {
      refill()
      rate = Math.max(LOWEST, rate / 2)
      tokens = Math.min(tokens, 0)
      quietSince = now()
    },
    current: () => rate,
  }
}
