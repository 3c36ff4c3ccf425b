import { describe, expect, it } from 'vitest'
import { plainNumber, sameValues } from './comparison-values.ts'
import type { RedshiftKind } from './redshift-type.ts'

describe('sameValues', () => {
  it.each<[RedshiftKind, string | null, string | null, boolean]>([
    ['varchar', 'a', 'a', true],
    ['varchar', 'a', 'a ', false],
    ['varchar', '', null, false],
    ['bigint', '1', '2', false],
    ['numeric', '1.50', '1.500', true],
    ['numeric', '.5', '0.50', true],
    [
      'numeric',
      '0.12345678901234567890123456789012345678',
      '0.12345678901234567890123456789012345679',
      false,
    ],
    ['numeric', '-1', '1', false],
    ['real', '0.1', '0.100000001', true],
    ['real', '0.1', '0.10001', false],
    ['double precision', '1e+20', '100000000000000000000', true],
    ['double precision', '0.30000000000000004', '0.3', true],
    ['double precision', '0.3000000000001', '0.3', false],
    ['double precision', null, '0', false],
    ['super', '{"a": 1, "b": [2.50, "x"]}', '{"b":[2.5,"x"],"a":1}', true],
    ['super', '{"a": 1}', '{"a": "1"}', false],
    ['super', '[1, 2]', '[2, 1]', false],
    ['super', '1.0', '1', true],
    ['super', '{"n": 1}', '1', false],
    ['super', '"\\u00e9"', '"é"', true],
    ['super', '12345678901234567890', '12345678901234567891', false],
    ['super', 'null', null, true],
    ['super', 'long', '{"a": 1}', true],
    ['super', 'long', null, false],
  ])('of %s: %s and %s: %s', (kind, a, b, expected) => {
    expect(sameValues([kind], JSON.stringify([a]), JSON.stringify([b]))).toBe(expected)
  })

  it('takes a row that is there twice for none', () => {
    expect(sameValues(['bigint', 'varchar'], '["1",null]', '[]')).toBe(false)
  })

  it('looks at all of them', () => {
    const kinds = ['integer', 'double precision'] as const
    expect(sameValues(kinds, '["1","0.1"]', '["1","0.10"]')).toBe(true)
    expect(sameValues(kinds, '["1","0.1"]', '["2","0.10"]')).toBe(false)
  })
})

describe('plainNumber', () => {
  it.each([
    ['0', '0'],
    ['-0.00', '0'],
    ['0.001', '1e-3'],
    ['1.5e3', '1500'],
    ['100', '1e2'],
    ['123456789012345678901234567890', '123456789012345678901234567890.0'],
    ['0.3333333333333333', '0.33333333333333331'],
    ['0.99999999999999999', '1'],
  ])('takes %s for %s', (a, b) => {
    expect(plainNumber(a)).toBe(plainNumber(b))
  })
})
