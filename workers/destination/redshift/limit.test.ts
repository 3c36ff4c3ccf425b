import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createLimit } from './limit.ts'

it('lets so many in, the others in their order, and passes on those that give up', async () => {
  const limit = createLimit(2)
  const { signal } = new AbortController()
  const impatient = new AbortController()
  let inside = 0
  let most = 0
  const done: number[] = []
  const work = (number: number) => async () => {
    inside += 1
    most = Math.max(most, inside)
    await sleep(5)
    inside -= 1
    done.push(number)
    if (number === 1) throw new Error('failed')
  }
  const all = [0, 1, 2, 3, 4, 5].map((number) =>
    limit(number === 3 ? impatient.signal : signal, work(number)),
  )
  impatient.abort(new Error('gave up'))
  const results = await Promise.allSettled(all)
  expect(results.map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
  ])
  expect(done).toEqual([0, 1, 2, 4, 5])
  expect(most).toBe(2)
})
