/** When which offsets of a topic were passed by the ledger; decides up to where its records can be deleted (rule R24). */
export interface Retention {
  /** The ledger has passed everything before `offset`. */
  passed(offset: bigint, now: number): void
  /** Offset before which everything has been passed for long enough; undefined when there is nothing new to delete. */
  expired(now: number, retention: number): bigint | undefined
  /** Everything before this is deleted. */
  deleted(offset: bigint): void
}

/** Offsets are remembered no finer than this share of the retention time, and no finer than every second. */
const STEPS = 60

export function createRetention(): Retention {
  let marks: { offset: bigint; at: number }[] = []
  let deletedBefore = 0n
  let retention = 0

  return {
    passed(offset, now) {
      const last = marks.at(-1)
      const highest = last?.offset ?? deletedBefore
      if (offset === highest) return
      if (offset < highest) {
        // Somebody has made the topic anew, and capture, which has not noticed yet, goes on in it as the same one.
        marks = [{ offset, at: now }]
        deletedBefore = 0n
        return
      }
      const previous = marks.at(-2)
      // A mark stands for its latest time: what was passed between two marks waits for the later one.
      if (last && previous && now - previous.at < Math.max(1_000, retention / STEPS)) {
        marks[marks.length - 1] = { offset, at: now }
      } else marks.push({ offset, at: now })
    },
    expired(now, wanted) {
      retention = wanted
      const old = marks.findLast(({ at }) => now - at >= wanted)
      return old && old.offset > deletedBefore ? old.offset : undefined
    },
    deleted(offset) {
      deletedBefore = offset
      marks = marks.filter((mark) => mark.offset > offset)
    },
  }
}
