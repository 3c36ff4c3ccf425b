import { expect, it } from 'vitest'
import { createRate } from './rate.ts'

/** A rate on a clock that moves only while somebody waits. */
function world(highest: number) {
  let time = 0
  const rate = createRate(
    highest,
    () => time,
    async (milliseconds) => {
      time += milliseconds
    },
  )
  const { signal } = new AbortController()
  return {
    rate,
    seconds: () => time / 1000,
    pass: (milliseconds: number) => {
      time += milliseconds
    },
    take: async (calls: number) => {
      for (let n = 0; n < calls; n += 1) await rate.take(signal)
    },
  }
}

it('lets a burst of a second through, and then its rate', async () => {
  const { take, seconds } = world(20)
  await take(20)
  expect(seconds()).toBe(0)
  await take(100)
  expect(seconds()).toBeCloseTo(5, 1)
})

it('halves when it is refused, and comes back', async () => {
  const { rate, take, seconds, pass } = world(20)
  rate.throttled()
  rate.throttled()
  expect(rate.current()).toBe(5)
  const begun = seconds()
  await take(10)
  expect(seconds() - begun).toBeGreaterThan(1)
  pass(60_000)
  await take(1)
  expect(rate.current()).toBe(20)
})

it('never stops altogether', async () => {
  const { rate, take, seconds } = world(20)
  for (let n = 0; n < 30; n += 1) rate.throttled()
  await take(1)
  expect(seconds()).toBeLessThan(3)
})
