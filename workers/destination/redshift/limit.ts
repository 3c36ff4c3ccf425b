/** Lets at most so many at work at the same time; the others wait in line. */
export function createLimit(most: number): <T>(signal: AbortSignal, work: () => Promise<T>) => Promise<T> {
  let free = most
  const waiting: (() => void)[] = []

  async function enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (free > 0) {
      free -= 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        const place = waiting.indexOf(turn)
        if (place >= 0) waiting.splice(place, 1)
        reject(signal.reason)
      }
      const turn = () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      waiting.push(turn)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  return async (signal, work) => {
    await enter(signal)
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else free += 1
    }
  }
}
