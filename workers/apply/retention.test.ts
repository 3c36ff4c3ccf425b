import { describe, expect, it } from 'vitest'
import { createRetention } from './retention.ts'

describe('createRetention', () => {
  it('lets go of what was passed long enough ago', () => {
    const retention = createRetention()
    retention.passed(10n, 0)
    retention.passed(20n, 5_000)
    expect(retention.expired(9_999, 10_000)).toBeUndefined()
    expect(retention.expired(10_000, 10_000)).toBe(10n)
    retention.deleted(10n)
    expect(retention.expired(10_000, 10_000)).toBeUndefined()
    expect(retention.expired(15_000, 10_000)).toBe(20n)
  })

  it('lets go at once without a retention time', () => {
    const retention = createRetention()
    retention.passed(10n, 0)
    expect(retention.expired(0, 0)).toBe(10n)
    retention.deleted(10n)
    retention.passed(10n, 1)
    expect(retention.expired(1, 0)).toBeUndefined()
  })

  it('forgets what was passed in a topic in whose place there is another one', () => {
    const retention = createRetention()
    retention.passed(10n, 0)
    retention.passed(0n, 1)
    expect(retention.expired(60_000, 10_000)).toBeUndefined()
    retention.passed(3n, 60_000)
    expect(retention.expired(70_000, 10_000)).toBe(3n)
    retention.deleted(3n)
    retention.passed(1n, 71_000)
    expect(retention.expired(81_000, 10_000)).toBe(1n)
  })

  it('never lets go of what was passed later', () => {
    const retention = createRetention()
    retention.expired(0, 60_000)
    const passed: [offset: bigint, at: number][] = []
    for (let at = 0; at < 200_000; at += 137) {
      const offset = BigInt(at)
      retention.passed(offset, at)
      passed.push([offset, at])
      const expired = retention.expired(at, 60_000)
      if (expired === undefined) continue
      for (const [each, when] of passed) if (each <= expired) expect(at - when).toBeGreaterThanOrEqual(60_000)
      retention.deleted(expired)
    }
  })

  it('remembers few marks', () => {
    const retention = createRetention()
    let asked = 0
    retention.expired(0, 3_600_000)
    for (let at = 0; at < 3_600_000; at += 100) retention.passed(BigInt(at), at)
    for (let at = 3_600_000; at < 7_300_000; at += 1_000) {
      const expired = retention.expired(at, 3_600_000)
      if (expired === undefined) continue
      asked += 1
      retention.deleted(expired)
    }
    expect(asked).toBeLessThanOrEqual(62)
  })
})
