import { createRandom } from './random.ts'

const COMPONENT = 'app.kubernetes.io/component'

/** Failpoints of each process that starts, by its schedule and how many came before it: many have none, the others fail now and then. */
export function randomFailpoints(): (
  labels: Readonly<Record<string, string>>,
  namespace: string,
) => Readonly<Record<string, string>> {
  const started = new Map<string, number>()
  return (labels, namespace) => {
    const pod = `${namespace}/${labels[COMPONENT]}`
    const number = (started.get(pod) ?? 0) + 1
    started.set(pod, number)
    const random = createRandom(`${pod}/${number}`)
    const kind = random.weighted({ none: 50, crash: 12, throw: 14, cut: 12, delay: 12 })
    if (kind === 'none') return {}
    const action = kind === 'delay' ? `delay(${1 + random.below(400)})` : kind
    const probability = random.pick(kind === 'delay' ? [0.05, 0.2] : [0.003, 0.01, 0.03])
    return { MILLRACE_FAILPOINTS: `*=${action}%${probability}; seed=${random.below(1 << 30)}` }
  }
}

/** Those of the operator, which all schedules share. Rare, because every start of it meets the same ones. */
export const operatorFailpoints = (seed: string): Readonly<Record<string, string>> => ({
  MILLRACE_FAILPOINTS: `operator.*=throw%0.01; operator.job.after=crash%0.05; operator.backfill.after=crash%0.05; operator.finalizer.after=crash%0.02; seed=${createRandom(`${seed}/operator`).below(1 << 30)}`,
})
