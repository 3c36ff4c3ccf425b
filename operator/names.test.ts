import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { childName, gapBackfillName, initialBackfillName } from './names.ts'

const VALID = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const owner = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,60}[a-z0-9])?$/)
const identifier = fc.string({ minLength: 1, maxLength: 63, unit: 'grapheme' })

describe('childName', () => {
  it.each([
    ['orders', 'capture', 'orders-capture'],
    ['a'.repeat(54), 'capture', `${'a'.repeat(54)}-capture`],
  ])('%s and %s', (name, suffix, expected) => {
    expect(childName(name, suffix)).toBe(expected)
  })

  it('is valid, short enough and different for different owners', () => {
    fc.assert(
      fc.property(owner, owner, (one, other) => {
        const [a, b] = [childName(one, 'capture'), childName(other, 'capture')]
        expect(a).toMatch(VALID)
        expect(a.length).toBeLessThanOrEqual(63)
        expect(a === b).toBe(one === other)
      }),
    )
  })

  it('tells a short owner from a long one that was shortened to look like it', () => {
    const shortened = childName('a'.repeat(70), 'capture')
    expect(childName(shortened.replace(/-capture$/, ''), 'capture')).not.toBe(shortened)
  })
})

describe('names of backfills', () => {
  it('reads well for plain tables', () => {
    expect(initialBackfillName('shop', { schema: 'public', name: 'orders' })).toBe(
      'shop-public-orders-initial',
    )
    expect(gapBackfillName('shop', { schema: 'public', name: 'orders' }, 3, 1)).toBe(
      'shop-public-orders-gap-3',
    )
  })

  it('tells tables apart that differ in case or odd characters only', () => {
    const names = ['orders', 'Orders', 'or-ders', 'or_ders', 'or ders', 'örders', '"orders"', '🐘'].map(
      (name) => initialBackfillName('shop', { schema: 'public', name }),
    )
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(name).toMatch(VALID)
  })

  it('never gives two tables one name', () => {
    fc.assert(
      fc.property(
        fc.tuple(owner, identifier, identifier),
        fc.tuple(owner, identifier, identifier),
        (a, b) => {
          const [one, other] = [a, b].map(([pipeline, schema, name]) =>
            initialBackfillName(pipeline, { schema, name }),
          )
          expect(one).toMatch(VALID)
          expect(one?.length).toBeLessThanOrEqual(63)
          expect(one === other).toBe(JSON.stringify(a) === JSON.stringify(b))
        },
      ),
    )
  })
})
