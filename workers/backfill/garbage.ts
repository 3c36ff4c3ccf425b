import { collector } from '../runtime/collector.ts'

/** Buffers that have passed and that nobody needs any more. */
export interface Garbage {
  add(bytes: number): void
}

/**
 * Frees them before they add up. To V8 a buffer is a small object, so that it would let some sixty megabytes of them lie; a
 * look at the young ones takes a millisecond, 75 of them for a table of 600 MB. With half as many V8 goes
 * through the whole heap in between all the same.
 */
export function createGarbage(collect: () => void = collector.recent, limit = 8 * 1024 * 1024): Garbage {
  let lying = 0
  return {
    add(bytes) {
      lying += bytes
      if (lying < limit) return
      lying = 0
      collect()
    },
  }
}
