import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../lib/errors.ts'
import { retry } from './retry.ts'

const fast = { min: 1, max: 2 }
const never = new AbortController().signal

function failing(times: number, error: Error) {
  let calls = 0
  return {
    calls: () => calls,
    async attempt(number: number) {
      calls += 1
      expect(number).toBe(calls)
      if (calls <= times) throw error
      return 'done'
    },
  }
}

describe('retry', () => {
  const lost = new MillraceError('ConnectionLost', 'gone')

  it('tries again what is retryable, and tells', async () => {
    const told: number[] = []
    const { attempt } = failing(3, lost)
    const onRetry = (_: MillraceError, _delay: number, number: number) => void told.push(number)
    expect(await retry(attempt, { ...fast, signal: never, onRetry })).toBe('done')
    expect(told).toEqual([1, 2, 3])
  })

  it.each([
    ['an error that is not retryable', new MillraceError('InvalidSpec', 'no')],
    ['a fault of the program', new TypeError('undefined is not a function')],
  ])('gives up at once on %s', async (_, error) => {
    const { attempt, calls } = failing(9, error)
    await expect(retry(attempt, { ...fast, signal: never })).rejects.toThrow(error.message)
    expect(calls()).toBe(1)
  })

  it('gives up when the attempts are used up', async () => {
    const { attempt, calls } = failing(9, lost)
    await expect(retry(attempt, { ...fast, signal: never, attempts: 4 })).rejects.toThrow('gone')
    expect(calls()).toBe(4)
  })

  it('ends a wait when the signal aborts', async () => {
    const stop = new AbortController()
    const { attempt } = failing(9, lost)
    const retried = retry(attempt, {
      min: 60_000,
      max: 60_000,
      signal: stop.signal,
      onRetry: () => stop.abort(new Error('enough')),
    })
    await expect(retried).rejects.toThrow('enough')
  })
})
