/** Wakes one waiter; a ring that nobody waits for is remembered. */
export interface Bell {
  ring(): void
  /** Resolves at the next ring, or after `milliseconds`; rejects with the signal's reason when that aborts. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>
}

/** Longest delay that a timer takes. */
const LONGEST = 2 ** 31 - 1

export function createBell(): Bell {
  let rung = false
  let wake: (() => void) | undefined
  return {
    ring() {
      rung = true
      wake?.()
    },
    wait(milliseconds, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        if (rung || milliseconds <= 0) {
          rung = false
          return resolve()
        }
        const end = (settle: () => void) => {
          clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
          wake = undefined
          rung = false
          settle()
        }
        const onAbort = () => end(() => reject(signal.reason))
        const timer = setTimeout(() => end(resolve), Math.min(milliseconds, LONGEST))
        signal.addEventListener('abort', onAbort, { once: true })
        wake = () => end(resolve)
      })
    },
  }
}
