/** What all tables together hold in memory, in estimated bytes. */
export interface Memory {
  add(bytes: number): void
  remove(bytes: number): void
  used(): number
  /** More is held than should be: nothing further is fetched until some of it is written. */
  isShort(): boolean
  /** Lets one holder at a time work with a row of tens of megabytes, which takes several times its size for a moment. */
  large<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>
  /** Resolves at the next change of what is held. */
  changed(signal: AbortSignal): Promise<void>
}

export function createMemory(limit: number): Memory {
  let used = 0
  let waiting: (() => void)[] = []
  let last: Promise<unknown> = Promise.resolve()

  function notify(): void {
    const woken = waiting
    waiting = []
    for (const wake of woken) wake()
  }

  return {
    add(bytes) {
      used += bytes
    },
    remove(bytes) {
      used -= bytes
      notify()
    },
    used: () => used,
    isShort: () => used >= limit,
    large(signal, work) {
      const turn = last.then(() => {
        signal.throwIfAborted()
        return work()
      })
      last = turn.catch(() => {})
      return turn
    },
    changed(signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const onAbort = () => {
          waiting = waiting.filter((wake) => wake !== done)
          reject(signal.reason)
        }
        const done = () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        }
        waiting.push(done)
        signal.addEventListener('abort', onAbort, { once: true })
      })
    },
  }
}
