import type { Placements } from '../queue/queue.ts'

/**
 * Where the topics end, as far as capture knows. Nothing moves an end back: a record that comes to stand before a known end
 * stands in another topic, made anew under the old name (rule R24). Nobody else writes to them: one that stands behind it
 * has something before it that another writer has added.
 */
export interface Ends {
  /** From here on the topic ends there. */
  begin(topic: string, end: bigint): void
  /**
   * Takes over where a send has come to stand; returns the topics that are not the ones that were written before (`anew`), and
   * those that somebody else writes to (`shared`).
   */
  place(placements: Placements): { readonly anew: string[]; readonly shared: string[] }
  /** Ends that have moved since they were last taken. */
  takeMoved(): Map<string, bigint>
  all(): ReadonlyMap<string, bigint>
}

export function createEnds(): Ends {
  const ends = new Map<string, bigint>()
  const moved = new Set<string>()
  return {
    begin(topic, end) {
      ends.set(topic, end)
      moved.add(topic)
    },
    place(placements) {
      const anew: string[] = []
      const shared: string[] = []
      for (const [topic, { first, end }] of placements) {
        const known = ends.get(topic)
        if (known === undefined) continue
        if (first < known) anew.push(topic)
        else {
          if (first > known) shared.push(topic)
          ends.set(topic, end)
          moved.add(topic)
        }
      }
      return { anew, shared }
    },
    takeMoved() {
      const taken = new Map([...moved].map((topic) => [topic, ends.get(topic) ?? 0n]))
      moved.clear()
      return taken
    },
    all: () => ends,
  }
}
