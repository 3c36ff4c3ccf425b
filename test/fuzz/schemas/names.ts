import type { Random } from '../../torture/random.ts'
import { between, noise } from '../random.ts'

/** What PostgreSQL lets a name have, bytes. */
const LONGEST = 63

/** Names that are reserved, need quotes, look like something else, or that the product's own statements use. */
const NAMES: readonly string[] = [
  ...`MixedCase¦with space¦quo"te¦it's¦dot.ted¦dol$lar¦back\\slash¦select¦user¦ünïcödé¦表¦😀`.split('¦'),
  ...'tab\tbed¦new\nline¦a_x2e_b¦100%¦$1¦semi;colon¦--c¦/*c*/¦comma,¦(par)¦[br]¦{cur}¦null¦NULL'.split('¦'),
  ...'é¦e\u0301¦ lead¦trail ¦*¦?¦:x¦@¦#¦`¦|¦^¦&¦\u00a0¦\u200b¦ctid2¦n¦u¦c0¦c1¦s¦t¦r¦k0¦k1¦w0'.split('¦'),
  ...'there¦count¦image¦millrace n¦millrace_rows¦row¦value¦b¦h¦v¦v0¦i¦d'.split('¦'),
]

/** A name that is not among the used ones, and is from then on. */
export function oddName(random: Random, used: Set<string>): string {
  for (;;) {
    const name = anyName(random)
    if (Buffer.byteLength(name) > LONGEST || used.has(name)) continue
    used.add(name)
    return name
  }
}

function anyName(random: Random): string {
  const way = random.below(10)
  if (way < 7) return random.pick(NAMES)
  if (way === 7) return longestName(random)
  if (way === 8) return random.pick(NAMES) + random.pick(NAMES)
  return noise(random, between(random, 1, 12))
}

function longestName(random: Random): string {
  const unit = random.pick(['x', 'é', '表', '"', 'Z'])
  let name = noise(random, 5)
  while (Buffer.byteLength(name + unit) <= LONGEST) name += unit
  return name
}
