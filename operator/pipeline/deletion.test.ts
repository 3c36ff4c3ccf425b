import { describe, expect, it } from 'vitest'
import { type DeletionFacts, mayHaveSlot, nextDeletionStep } from './deletion.ts'

const last: DeletionFacts = {
  policy: 'Delete',
  mayHaveSlot: true,
  deployments: 0,
  applyOwnsTables: false,
  ownBackfills: 0,
  backfillJobs: 0,
  pods: 0,
  cleanup: 'none',
  namespaceTerminating: false,
  elapsed: 0,
  deadline: 1_000_000,
}

describe('nextDeletionStep', () => {
  it.each<[string, Partial<DeletionFacts>, string]>([
    ['Deployments', { deployments: 2, pods: 2 }, 'remove-children'],
    ['backfills', { ownBackfills: 1 }, 'remove-children'],
    ['tables that apply owns', { deployments: 2, applyOwnsTables: true }, 'remove-children, keep apply'],
    [
      'tables that it does not give free',
      { deployments: 1, applyOwnsTables: true, elapsed: 40_000 },
      'remove-children',
    ],
    ['Jobs', { backfillJobs: 1 }, 'wait'],
    ['pods', { pods: 1 }, 'wait'],
    ['pods of a lost node', { pods: 1, elapsed: 400_000 }, 'start-cleanup'],
    ['nothing but the slot', {}, 'start-cleanup'],
    ['a cleanup under way', { cleanup: 'running' }, 'wait'],
    ['a cleanup that failed', { cleanup: 'failed' }, 'restart-cleanup'],
    ['a cleanup that succeeded', { cleanup: 'succeeded' }, 'finish'],
    ['Retain', { policy: 'Retain' }, 'finish'],
    ['Retain and pods', { policy: 'Retain', pods: 1 }, 'wait'],
    ['Retain while a cleanup runs', { policy: 'Retain', cleanup: 'running' }, 'finish'],
    ['no slot ever', { mayHaveSlot: false }, 'finish'],
    ['a namespace that goes', { namespaceTerminating: true }, 'finish, left behind'],
    [
      'a namespace that goes while a cleanup runs',
      { namespaceTerminating: true, cleanup: 'running' },
      'wait',
    ],
    [
      'a source that cannot be reached for too long',
      { cleanup: 'running', elapsed: 1_000_000 },
      'finish, left behind',
    ],
    ['a cleanup that succeeded at last', { cleanup: 'succeeded', elapsed: 2_000_000 }, 'finish'],
  ])('with %s', (_, facts, expected) => {
    const step = nextDeletionStep({ ...last, ...facts })
    const leftBehind = step.do === 'finish' && step.leftBehind !== undefined ? ', left behind' : ''
    const keepApply = step.do === 'remove-children' && step.keepApply ? ', keep apply' : ''
    expect(`${step.do}${leftBehind}${keepApply}`).toBe(expected)
  })
})

describe('mayHaveSlot', () => {
  const problem = (code: string) => ({ component: 'Source' as const, code, message: 'm' })
  it.each<[string, Parameters<typeof mayHaveSlot>[0], boolean]>([
    ['a capture that never reported', undefined, false],
    ['one that is about to make it', {}, true],
    ['a slot', { slot: 's', problems: [problem('HostUnreachable')] }, true],
    ['no connection', { problems: [problem('AuthenticationFailed')] }, false],
    ['a server that is not set up for it', { problems: [problem('WrongWALLevel')] }, true],
  ])('with %s', (_, capture, expected) => {
    expect(mayHaveSlot(capture)).toBe(expected)
  })
})
