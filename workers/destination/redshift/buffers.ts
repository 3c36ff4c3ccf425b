/**
 * Large buffers that are used again. The collector sees a buffer as a small object and the megabytes behind it as pressure:
 * with new ones for each file it went through the whole heap every 10 MB, a third of what staging cost.
 */
export interface Buffers {
  /** A buffer of just this size, with anything in it. */
  take(bytes: number): Buffer
  /** Gives one back that nobody looks at any more. */
  give(buffer: Buffer): void
}

/** Buffers of one size that are kept: two for each of some readers. */
const MOST = 12

export function createBuffers(): Buffers {
  const free = new Map<number, Buffer[]>()
  return {
    take: (bytes) => free.get(bytes)?.pop() ?? Buffer.allocUnsafeSlow(bytes),
    give(buffer) {
      const found = free.get(buffer.length)
      if (!found) free.set(buffer.length, [buffer])
      else if (found.length < MOST) found.push(buffer)
    },
  }
}
