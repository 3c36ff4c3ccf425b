/**
 * Lets many in that need the servers as they are, or one that stops a server. Nobody overtakes: who stops servers waits for
 * those inside only.
 */
export interface Gate {
  /** Servers stay up while this works. */
  calm<T>(work: () => Promise<T>): Promise<T>
  /** Nobody else is inside while this works. */
  alone<T>(work: () => Promise<T>): Promise<T>
}

export function createGate(): Gate {
  /** Resolves when the last one that works alone has ended. */
  let alone: Promise<unknown> = Promise.resolve()
  const inside = new Set<Promise<unknown>>()

  return {
    async calm(work) {
      for (let seen: unknown; seen !== alone; ) {
        seen = alone
        await alone
      }
      const working = work()
      const ended = working.then(
        () => {},
        () => {},
      )
      inside.add(ended)
      void ended.then(() => inside.delete(ended))
      return await working
    },
    async alone(work) {
      const before = alone
      const working = before.then(async () => {
        await Promise.all(inside)
        return await work()
      })
      alone = working.catch(() => {})
      return await working
    },
  }
}
