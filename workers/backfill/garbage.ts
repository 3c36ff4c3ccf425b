import { collector } from '../runtime/collector.ts'

/** Buffers that have passed and that nobody needs any more. */
export interface Garbage {
  add(bytes: number): void
}

/**
 * Frees them before they add up. To V8 a buffer is a small object, so that it would let some sixty megabytes of them lie; a
 * look at the young ones takes a millisecond, 40 of them for a table of 600 MB.
 */
export function createGarbage(collect: () => void = collector.recent, limit = 16 * 1024 * 1024): Garbage {
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
