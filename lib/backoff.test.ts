import { describe, expect, it } from 'vitest'
import { backoffDelay, createBackoff } from './backoff.ts'

describe('backoffDelay', () => {
  it.each([
    [0, 0, 50],
    [0, 1, 100],
    [3, 0, 400],
    [3, 1, 800],
    [50, 1, 30_000],
    [5000, 0, 15_000],
  ])('attempt %i with chance %f: %i ms', (attempt, chance, delay) => {
    expect(backoffDelay(attempt, 100, 30_000, () => chance)).toBe(delay)
  })
})

describe('createBackoff', () => {
  it('grows until it is reset', () => {
    const backoff = createBackoff(10, 1000, () => 1)
    expect([backoff.next(), backoff.next(), backoff.next()]).toEqual([10, 20, 40])
    expect(backoff.attempts()).toBe(3)
    backoff.reset()
    expect(backoff.next()).toBe(10)
  })
})
