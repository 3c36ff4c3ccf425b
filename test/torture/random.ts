/** A random source that is wholly decided by its seed. */
export interface Random {
  /** 0 ≤ x < 1 */
  next(): number
  /** 0 ≤ x < n, whole. */
  below(n: number): number
  chance(probability: number): boolean
  pick<T>(items: readonly T[]): T
  /** Picks by weight. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T
  /** An independent source, decided by this seed and the name: adding a use of one does not move the others. */
  fork(name: string): Random
}

/** mulberry32: small, fast, good enough to shuffle schedules; not for secrets. */
export function createRandom(seed: string | number): Random {
  let state = hash(String(seed))
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const below = (n: number) => Math.floor(next() * n)
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick: (items) => items[below(items.length)] as (typeof items)[number],
    weighted(weights) {
      const entries = Object.entries(weights) as [keyof typeof weights, number][]
      let at = next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
      for (const [name, weight] of entries) {
        at -= weight
        if (at < 0) return name
      }
      return entries[0]?.[0] as keyof typeof weights
    },
    fork: (name) => createRandom(`${seed}/${name}`),
  }
}

// FNV-1a
function hash(text: string): number {
  let value = 0x811c9dc5
  for (const char of text) value = Math.imul(value ^ (char.codePointAt(0) ?? 0), 0x01000193)
  return value >>> 0
}
