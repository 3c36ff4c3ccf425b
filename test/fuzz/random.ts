import type { Random } from '../torture/random.ts'

/** lo ≤ x ≤ hi, whole. */
export const between = (random: Random, lo: number, hi: number): number => lo + random.below(hi - lo + 1)

/** A copy in another order. */
export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items]
  const taken: T[] = []
  while (left.length > 0) taken.push(...left.splice(random.below(left.length), 1))
  return taken
}

/** Letters and digits that do not compress well, so that a long text is stored out of line. */
export function noise(random: Random, length: number): string {
  let text = ''
  while (text.length < length) text += Math.floor(random.next() * 2 ** 32).toString(36)
  return text.slice(0, length)
}

/** The same of hexadecimal digits. */
export function hexNoise(random: Random, length: number): string {
  let text = ''
  while (text.length < length) {
    text += Math.floor(random.next() * 2 ** 32)
      .toString(16)
      .padStart(8, '0')
  }
  return text.slice(0, length)
}
