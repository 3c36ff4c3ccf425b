import type { Placement } from '../queue.ts'

/** Where the chunks of one send stand that are acknowledged so far; `count` records of them. */
export type Placed = Map<string, Placement & { readonly count: number }>

/**
 * Adds a chunk that was acknowledged.
 *
 * @param base offset of its first record; negative when the broker did not say, because it had the chunk already
 */
export function place(placed: Placed, topic: string, base: bigint, count: number): void {
  const before = placed.get(topic)
  const sent = before?.count ?? 0
  if (base < 0n) {
    if (before) placed.set(topic, { ...before, end: before.end + BigInt(count), count: sent + count })
    return
  }
  const first = base - BigInt(sent)
  placed.set(topic, {
    first: before && before.first < first ? before.first : first,
    end: base + BigInt(count),
    count: sent + count,
  })
}
