import { createBackoff } from '../../../lib/backoff.ts'
import { type ErrorCode, MillraceError } from '../../../lib/errors.ts'
import { sleep } from '../../../lib/sleep.ts'

const PASSING: ReadonlySet<ErrorCode> = new Set(['QueueUnavailable', 'HostUnreachable'])

/**
 * Tries again while the brokers restart or elect leaders, for at most `patience` milliseconds; then throws the last error.
 * Wrong credentials, missing rights and lost data are thrown at once.
 */
export async function persist<T>(
  patience: number,
  signal: AbortSignal,
  attempt: () => Promise<T>,
): Promise<T> {
  const deadline = performance.now() + patience
  const backoff = createBackoff(50, 1_000)
  for (;;) {
    signal.throwIfAborted()
    try {
      return await attempt()
    } catch (thrown) {
      const passing = thrown instanceof MillraceError && PASSING.has(thrown.code)
      const delay = backoff.next()
      if (!passing || performance.now() + delay > deadline) throw thrown
      await sleep(delay, signal)
    }
  }
}
