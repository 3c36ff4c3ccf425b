import { describe, expect, it } from 'vitest'
import { createEnds } from './ends.ts'

const placed = (first: bigint, end: bigint) => new Map([['t', { first, end }]])

describe('the ends of topics', () => {
  it('move with what is sent, and tell when another writer has added something', () => {
    const ends = createEnds()
    ends.begin('t', 5n)
    expect(ends.place(placed(5n, 7n))).toEqual({ anew: [], shared: [] })
    expect(ends.place(placed(9n, 10n))).toEqual({ anew: [], shared: ['t'] })
    expect(ends.all().get('t')).toBe(10n)
  })

  it.each([
    ['the beginning', 0n],
    ['just before the end', 4n],
    ['before the beginning, since only the last records went into the new one', -2n],
  ])('never go back: the topic was made anew when a record stands at %s (R24)', (_name, first) => {
    const ends = createEnds()
    ends.begin('t', 5n)
    expect(ends.place(placed(first, first + 3n))).toEqual({ anew: ['t'], shared: [] })
    expect(ends.all().get('t')).toBe(5n)
  })

  it('are not kept for topics that are not of tables', () => {
    const ends = createEnds()
    expect(ends.place(placed(0n, 1n))).toEqual({ anew: [], shared: [] })
    expect(ends.all().get('t')).toBeUndefined()
  })

  it('are told once each time they move', () => {
    const ends = createEnds()
    ends.begin('t', 5n)
    ends.begin('u', 1n)
    expect(ends.takeMoved()).toEqual(
      new Map([
        ['t', 5n],
        ['u', 1n],
      ]),
    )
    ends.place(placed(5n, 6n))
    expect(ends.takeMoved()).toEqual(new Map([['t', 6n]]))
    expect(ends.takeMoved()).toEqual(new Map())
    expect(ends.all().get('u')).toBe(1n)
  })
})
