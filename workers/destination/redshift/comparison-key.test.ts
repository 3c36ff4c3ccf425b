import { describe, expect, it } from 'vitest'
import { keysSQL, type VerifySide } from '../../source/verify-sql.ts'
import type { ComparedColumn, ComparedInput } from './comparison-columns.ts'
import { keyOf } from './comparison-key.ts'

describe('keyOf', () => {
  it.each([
    ['public.ltree', 'OPERATOR(public.=)', 't."k" OPERATOR(public.=) (r.w0)::public.ltree'],
    ['text', undefined, 't."k" = (r.w0)::text'],
  ])('finds a row of the source by the operator of %s', (type, equals, expected) => {
    const column = { name: 'k', type, baseType: type, typeKind: 'base', ...(equals && { equals }) }
    const input = { column, type: { kind: 'varchar', bytes: 100 } } as unknown as ComparedInput
    const { source } = keyOf(input, { source: '', destination: '' } as ComparedColumn)
    const side = { key: [source], from: 's.t', where: '', hash: '' } as unknown as VerifySide
    expect(keysSQL(side, [['a']]).text).toContain(`ON ${expected}`)
  })

  it('finds a row of the source by a number that has a fraction of nothing in the destination', () => {
    const column = { name: 'k', type: 'integer', baseType: 'integer', typeKind: 'base' }
    const input = { column, type: { kind: 'numeric', length: 12, scale: 2 } } as unknown as ComparedInput
    expect(keyOf(input, { source: '', destination: '' } as ComparedColumn).source.wanted('r.w0')).toBe(
      '(r.w0)::numeric::integer',
    )
  })
})
