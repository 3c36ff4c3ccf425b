import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  /** What is being waited for, as the error names it. */
  what: string
  timeoutMs: number
  intervalMs?: number
  /** Called between tries; throws when waiting any longer is pointless (the process has exited). */
  assertPossible?: () => void
}

/**
 * Tries `check` until it returns something other than `undefined` or `false`, and returns that.
 * An error thrown by `check` counts as "not yet" and becomes the cause of the time-out error.
 */
export async function until<T>(
  check: () => Promise<T | undefined | false> | T | undefined | false,
  options: UntilOptions,
): Promise<T> {
  const deadline = Date.now() + options.timeoutMs
  let last: unknown
  for (;;) {
    try {
      const result = await check()
      if (result !== undefined && result !== false) return result
      last = undefined
    } catch (error) {
      last = error
    }
    options.assertPossible?.()
    if (Date.now() > deadline) {
      const seconds = Math.round(options.timeoutMs / 1000)
      const reason = last instanceof Error ? `: ${last.message}` : ''
      throw new Error(`${options.what}: not there after ${seconds} s${reason}`, { cause: last })
    }
    await sleep(options.intervalMs ?? 50)
  }
}
