import { describe, expect, it } from 'vitest'
import type { Pod } from '../kube/resources.ts'
import { newestPodProblem, podProblem } from './problems.ts'

const pod = (status: object, metadata: object = {}): Pod =>
  ({ metadata: { name: 'p', ...metadata }, spec: { containers: [] }, status }) as unknown as Pod
const container = (state: object, lastState: object = {}) => ({
  containerStatuses: [{ name: 'apply', image: 'millrace:x', state, lastState }],
})
const killed = { terminated: { reason: 'OOMKilled', exitCode: 137 } }

describe('podProblem', () => {
  it.each<[string, Pod, string | undefined | RegExp]>([
    ['a running pod', pod(container({ running: {} })), undefined],
    ['a pod that starts', pod(container({ waiting: { reason: 'ContainerCreating' } })), undefined],
    [
      'a pod that goes',
      pod(container({ waiting: { reason: 'ImagePullBackOff' } }), { deletionTimestamp: 'x' }),
      undefined,
    ],
    ['one that has ended well', pod(container({ terminated: { exitCode: 0 } })), undefined],
    [
      'no node',
      pod({ conditions: [{ type: 'PodScheduled', status: 'False', message: '0/1 nodes' }] }),
      'pod p cannot be scheduled: 0/1 nodes',
    ],
    [
      'no image',
      pod(container({ waiting: { reason: 'ImagePullBackOff', message: 'not found' } })),
      'pod p: its image cannot be pulled (ImagePullBackOff): not found',
    ],
    [
      'a loop of crashes',
      pod(container({ waiting: { reason: 'CrashLoopBackOff' } }, { terminated: { exitCode: 1 } })),
      /ended with exit code 1: see kubectl logs --previous p/,
    ],
    [
      'too little memory',
      pod(container({ waiting: { reason: 'CrashLoopBackOff' } }, killed)),
      /raise spec.podTemplate.resources.apply.limits.memory/,
    ],
    [
      'too little memory in a Job',
      pod({ phase: 'Failed', ...container(killed) }),
      /raise spec.podTemplate.resources.apply.limits.memory/,
    ],
    ['an eviction', pod({ phase: 'Failed', reason: 'Evicted', message: 'disk' }), 'pod p was evicted: disk'],
  ])('with %s', (_, given, expected) => {
    if (expected instanceof RegExp) expect(podProblem(given)).toMatch(expected)
    else expect(podProblem(given)).toBe(expected)
  })

  it('asks the newest pod', () => {
    const old = pod({ phase: 'Failed', reason: 'Evicted' }, { creationTimestamp: '1' })
    const now = pod(container({ running: {} }), { creationTimestamp: '2' })
    expect(newestPodProblem([now, old])).toBeUndefined()
    expect(newestPodProblem([])).toBeUndefined()
  })
})
