import { createBackoff } from '../../lib/backoff.ts'
import { type MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'

export interface RetryOptions {
  /** Ends the retrying at once, with the signal's reason. */
  readonly signal: AbortSignal
  /** First delay, milliseconds. Default 250. */
  readonly min?: number
  /** Longest delay, milliseconds. Default 30,000. */
  readonly max?: number
  /** Attempts in all; by default without limit. */
  readonly attempts?: number
  /** Whether to try again; by default what the error says of itself. */
  readonly retryable?: (error: MillraceError) => boolean
  /** Told before each wait; `delay` in milliseconds, `attempt` from 1. */
  readonly onRetry?: (error: MillraceError, delay: number, attempt: number) => void
}

/**
 * Calls `attempt` until it succeeds, with jittered, growing delays. Gives up with the last error when that is not retryable
 * or the attempts are used up. Whatever is not a MillraceError is a fault of the program and not tried again.
 */
export async function retry<T>(attempt: (number: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal } = options
  const backoff = createBackoff(options.min ?? 250, options.max ?? 30_000)
  for (let number = 1; ; number += 1) {
    signal.throwIfAborted()
    try {
      return await attempt(number)
    } catch (thrown) {
      if (signal.aborted) throw signal.reason
      const error = toMillraceError(thrown)
      const again = options.retryable?.(error) ?? error.retryable
      if (!again || number >= (options.attempts ?? Number.POSITIVE_INFINITY)) throw error
      const delay = backoff.next()
      options.onRetry?.(error, delay, number)
      await sleep(delay, signal)
    }
  }
}
