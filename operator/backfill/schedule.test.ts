import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Candidate, schedule } from './schedule.ts'

function candidate(name: string, over: Partial<Candidate> = {}): Candidate {
  return {
    uid: name,
    name,
    table: name,
    initial: false,
    created: 0,
    state: 'waiting',
    ownsTable: over.state === 'running',
    ...over,
  }
}

const positions = (result: ReturnType<typeof schedule>) =>
  [...result.waiting].map(([uid, place]) => `${place.position} ${uid}`)

describe('schedule', () => {
  it('starts as many as there are places, in the order of the spec', () => {
    const tables = ['c', 'a', 'd', 'b']
    const candidates = ['a', 'b', 'c', 'd'].map((name) => candidate(name, { initial: true }))
    const result = schedule({ limit: 2, open: true, tables, candidates })
    expect(result.start).toEqual(['c', 'a'])
    expect(positions(result)).toEqual(['1 d', '2 b'])
  })

  it('keeps the order of the spec among initial ones that came into being in another order', () => {
    const candidates = [
      candidate('a', { initial: true, created: 30 }),
      candidate('b', { initial: true, created: 10 }),
      candidate('x', { created: 20 }),
      candidate('c', { initial: true, created: 40 }),
    ]
    const result = schedule({ limit: 0, open: true, tables: ['a', 'b', 'c'], candidates })
    expect(positions(result)).toEqual(['1 a', '2 b', '3 x', '4 c'])
  })

  it.each<[string, Candidate[], string[], string[]]>([
    ['the oldest first', [candidate('b', { created: 1 }), candidate('a', { created: 2 })], ['b'], ['1 a']],
    ['by name when they are equally old', [candidate('b'), candidate('a')], ['a'], ['1 b']],
    ['nobody while the place is taken', [candidate('r', { state: 'running' }), candidate('a')], [], ['1 a']],
    ['one more while another drains', [candidate('r', { state: 'apart' }), candidate('a')], ['a'], []],
  ])('with one place starts %s', (_, candidates, start, waiting) => {
    const result = schedule({ limit: 1, open: true, tables: [], candidates })
    expect(result.start).toEqual(start)
    expect(positions(result)).toEqual(waiting)
  })

  it('runs one backfill of a table at a time and lets others pass', () => {
    const candidates = [
      candidate('first', { table: 't', state: 'running' }),
      candidate('second', { table: 't', created: 1 }),
      candidate('third', { table: 't', created: 2 }),
      candidate('other', { table: 'o', created: 3 }),
    ]
    const result = schedule({ limit: 3, open: true, tables: [], candidates })
    expect(result.start).toEqual(['other'])
    expect([...result.waiting.values()].map((place) => place.behind)).toEqual(['first', 'first'])
  })

  it('gives a table to the first of two that wait for it', () => {
    const candidates = [candidate('one', { table: 't' }), candidate('two', { table: 't', created: 1 })]
    const result = schedule({ limit: 5, open: true, tables: [], candidates })
    expect(result.start).toEqual(['one'])
    expect(result.waiting.get('two')).toEqual({ position: 1, behind: 'one' })
  })

  it('lets one go on that was suspended while it had its table', () => {
    const candidates = [candidate('one', { table: 't', ownsTable: true })]
    expect(schedule({ limit: 1, open: true, tables: [], candidates }).start).toEqual(['one'])
  })

  it('starts nothing while it is closed, and still tells positions', () => {
    const result = schedule({
      limit: 5,
      open: false,
      tables: [],
      candidates: [candidate('a'), candidate('b')],
    })
    expect(result.start).toEqual([])
    expect(positions(result)).toEqual(['1 a', '2 b'])
  })

  it('starts nothing when the limit was lowered below what runs', () => {
    const running = ['a', 'b', 'c'].map((name) => candidate(name, { state: 'running' }))
    expect(
      schedule({ limit: 2, open: true, tables: [], candidates: [...running, candidate('d')] }).start,
    ).toEqual([])
  })

  it('never exceeds the limit, never runs a table twice, and starves nobody', () => {
    const arbitrary = fc.array(
      fc.record({
        table: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
        initial: fc.boolean(),
        created: fc.integer({ min: 0, max: 5 }),
      }),
      { maxLength: 25 },
    )
    fc.assert(
      fc.property(arbitrary, fc.integer({ min: 1, max: 4 }), (specs, limit) => {
        let candidates = specs.map((spec, at) => candidate(`n${at}`, { ...spec, uid: `u${at}` }))
        const tables = ['c', 'a', 'e', 'b', 'd']
        const first = schedule({ limit: 0, open: true, tables, candidates })
        expect([...first.waiting.values()].map((place) => place.position)).toEqual(
          candidates.map((_, at) => at + 1),
        )
        for (let round = 0; candidates.some((one) => one.state === 'waiting'); round += 1) {
          expect(round).toBeLessThanOrEqual(specs.length)
          const { start } = schedule({ limit, open: true, tables, candidates })
          candidates = candidates.map((one) =>
            start.includes(one.uid) ? { ...one, state: 'running', ownsTable: true } : one,
          )
          const running = candidates.filter((one) => one.state === 'running')
          expect(running.length).toBeGreaterThan(0)
          expect(running.length).toBeLessThanOrEqual(limit)
          expect(new Set(running.map((one) => one.table)).size).toBe(running.length)
          const ended = running[0]?.uid
          candidates = candidates.map((one) =>
            one.uid === ended ? { ...one, state: 'apart', ownsTable: false } : one,
          )
        }
      }),
    )
  })
})
