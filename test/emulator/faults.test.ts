import { describe, expect, it } from 'vitest'
import { createFaults, type Fault, seededRandom } from './faults.ts'

const times = (fault: Fault, count: number, subject = 'x', seed = 1) => {
  const faults = createFaults(seed, [fault])
  return Array.from({ length: count }, () => faults.next([fault.kind], subject) !== undefined)
}
const at = (hits: boolean[]) => hits.flatMap((hit, index) => (hit ? [index + 1] : []))

describe('triggers', () => {
  it('always, without one', () => {
    expect(at(times({ kind: 'throttle' }, 3))).toEqual([1, 2, 3])
  })

  it('the n-th, every n-th, at most so often', () => {
    expect(at(times({ kind: 'slow', ms: 1, nth: 2 }, 5))).toEqual([2])
    expect(at(times({ kind: 'slow', ms: 1, every: 2 }, 5))).toEqual([2, 4])
    expect(at(times({ kind: 'slow', ms: 1, times: 2 }, 5))).toEqual([1, 2])
    expect(at(times({ kind: 'slow', ms: 1, every: 2, times: 1 }, 5))).toEqual([2])
  })

  it('by chance, the same for the same seed', () => {
    const fault: Fault = { kind: 'throttle', probability: 0.3 }
    const hits = at(times(fault, 1000, 'x', 7))
    expect(hits).toEqual(at(times(fault, 1000, 'x', 7)))
    expect(hits).not.toEqual(at(times(fault, 1000, 'x', 8)))
    expect(hits.length).toBeGreaterThan(250)
    expect(hits.length).toBeLessThan(350)
  })

  it('by operation, statement and object', () => {
    const faults = createFaults(1, [
      { kind: 'throttle', operations: ['DescribeStatement'] },
      { kind: 'fail', sql: '^copy', message: 'no' },
      { kind: 's3-error', key: 'part-2', status: 503 },
    ])
    expect(faults.next(['throttle'], 'ExecuteStatement')).toBeUndefined()
    expect(faults.next(['throttle'], 'DescribeStatement')).toBeDefined()
    expect(faults.next(['fail'], 'select 1')).toBeUndefined()
    expect(faults.next(['fail'], 'COPY t')).toMatchObject({ message: 'no' })
    expect(faults.next(['s3-error'], 'bucket/part-1')).toBeUndefined()
    expect(faults.next(['s3-error'], 'bucket/part-2')).toMatchObject({ status: 503 })
    expect(faults.list().map(({ matched, fired }) => [matched, fired])).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ])
  })
})

it.each([[{ kind: 'nosuch' }], [{ kind: 'throttle', probability: 2 }], [{ kind: 'fail', sql: '(' }]])(
  'refuses %j',
  (fault) => {
    expect(() => createFaults(1, [fault as Fault])).toThrow()
  },
)

it('draws numbers from 0 to 1', () => {
  const random = seededRandom(42)
  const numbers = Array.from({ length: 1000 }, random)
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...numbers)).toBeLessThan(1)
  expect(new Set(numbers).size).toBeGreaterThan(990)
})
