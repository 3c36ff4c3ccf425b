import { createRandom } from './random.ts'

/** Failpoints of each pod that starts, by seed: many have none, the others fail now and then at whatever they do. */
export function failpointsFor(
  seed: string,
): (labels: Readonly<Record<string, string>>) => Readonly<Record<string, string>> {
  const random = createRandom(`${seed}/failpoints`)
  return () => {
    const kind = random.weighted({ none: 50, crash: 12, throw: 14, cut: 12, delay: 12 })
    if (kind === 'none') return {}
    const action = kind === 'delay' ? `delay(${1 + random.below(400)})` : kind
    const probability = random.pick(kind === 'delay' ? [0.05, 0.2] : [0.003, 0.01, 0.03])
    return { MILLRACE_FAILPOINTS: `*=${action}%${probability}; seed=${random.below(1 << 30)}` }
  }
}
