import { expect, it } from 'vitest'
import { runNode } from '../../hack/process/run-node.ts'
import { LIVELY } from './profile.ts'

/** Besides the mix of everything, what found something once and is rare in it. */
const RUNS = [
  { what: 'whatever happens', count: 100, profile: {} },
  {
    what: 'types change',
    count: 30,
    profile: { steps: 500, seedRows: 4, weights: { ...LIVELY, retype: 0.6 } },
  },
  { what: 'topics are made anew', count: 30, profile: { weights: { remakeTopic: 2 } } },
  { what: 'the source fails over', count: 30, profile: { seedRows: 4, weights: { ...LIVELY, failOver: 2 } } },
]

// The model replaces the process's clock and half of its modules, so it has a process of its own.
it.each(RUNS)(
  'the workers end in what the source has, $what: $count schedules',
  {
    timeout: 300_000,
  },
  async ({ count, profile }) => {
    const { output } = await runNode(['test/model/main.ts', String(count)], {
      env: { SEED: '1', PROFILE: JSON.stringify(profile) },
    })
    expect(output).toMatch(new RegExp(`^model: schedules=${count} steps=\\d+ failures=0 `, 'm'))
  },
)
