import { describe, expect, it } from 'vitest'
import type { Column, TableDefinition } from '../../source/table.ts'
import { digestSQL, keysSQL, rowsSQL } from '../../source/verify-sql.ts'
import type { TargetColumn, TargetTable } from './catalog.ts'
import { comparedSides } from './comparison.ts'
import { storedAs } from './comparison-text.ts'

type Types = readonly (readonly [source: string, destination: string])[]

function sides(types: Types) {
  const columns = types.map(
    ([type], index) => ({ name: `c${index}`, type, baseType: type, typeKind: 'base' }) as Column,
  )
  const there = types.map(([, type], index) => ({ name: `c${index}`, type, baseType: type }) as TargetColumn)
  const definition = {
    schema: 's',
    name: 't',
    key: ['c0'],
    columns,
    partitioned: false,
  } as unknown as TableDefinition
  const table = { name: { schema: 's', name: 't' }, columns: there } as unknown as TargetTable
  return comparedSides(definition, table, 'UTF8')
}

describe('the ranges of a comparison', () => {
  it.each([
    ['bigint', 'bigint', '::bigint', '::bigint'],
    ['integer', 'bigint', '::integer', '::bigint'],
    ['uuid', 'uuid', '::uuid', '::uuid'],
  ])('are cut by a key of %s in %s itself', (from, to, source, destination) => {
    const pair = sides([[from, to]])
    expect(pair.source.order).toMatchObject([{ term: 't."c0"', bound: source }])
    expect(pair.destination.order).toMatchObject([{ term: 't."c0"', bound: destination }])
  })

  it.each([
    ['text', 'text'],
    ['uuid', 'text'],
    ['s.mood', 'text'],
  ])('are cut by a hash of a key of %s in %s, the same on both sides', (from, to) => {
    const { source, destination } = sides([[from, to]])
    expect([source.order, destination.order]).toEqual([undefined, undefined])
    expect(source.scatter).toBe(destination.scatter)
  })
})

describe('storedAs', () => {
  it.each([
    ['jsonb', 'jsonb', 't."c1"'],
    ['json', 'jsonb', `CASE WHEN t."c1" IS NULL THEN NULL ELSE format('%s', t."c1")::jsonb END`],
    ['character(3)', 'text', 't."c1"'],
    ['s.mood', 'text', 't."c1"'],
    [
      'real',
      'double precision',
      `CASE WHEN t."c1" IS NULL THEN NULL ELSE format('%s', t."c1")::double precision END`,
    ],
  ])('makes %s in %s %s', (type, baseType, expected) => {
    expect(storedAs({ name: 'c1', type, baseType: type } as Column, { baseType } as TargetColumn)).toBe(
      expected,
    )
  })
})

describe('a statement of a comparison', () => {
  const { source } = sides([['bigint', 'bigint']])

  it('binds the bounds in order', () => {
    const { text, values } = digestSQL(source, { ranges: [{ from: ['1'], to: ['9'] }] })
    expect(text).toContain('WHERE t."c0" >= ($1::bigint) AND t."c0" < ($2::bigint)')
    expect(values).toEqual(['1', '9'])
  })

  it('digests many ranges at once, by halving them', () => {
    const { text, values } = digestSQL(source, {
      ranges: [{ to: ['5'] }, { from: ['5'], to: ['7'] }, { from: ['7'] }],
    })
    expect(text).toContain(
      'CASE WHEN t."c0" < ($1::bigint) THEN 0 ELSE CASE WHEN t."c0" < ($2::bigint) THEN 1 ELSE 2 END END AS b',
    )
    expect(text).not.toContain('WHERE t.')
    expect(values).toEqual(['5', '7'])
  })

  it('lists the rows of parts without an order in one scan', () => {
    const parts = { scattered: 1024, picked: [3, 8] }
    const { text } = rowsSQL(sides([['text', 'text']]).source, parts, { rows: 10, keyBytes: 1000 })
    expect(text).toMatch(/ \/ 4194304 IN \(3, 8\) OFFSET 0/)
    expect(text).toMatch(/ LIMIT 11$/)
  })

  it("finds rows by their key's own type, for its index", () => {
    const { text, values } = keysSQL(sides([['s.mood', 'text']]).source, [['a"b'], ['c']])
    expect(text).toContain('ON t."c0" = (r.w0)::s.mood')
    expect(values).toEqual(['{"a\\"b","c"}'])
  })

  it('finds rows whose key the destination writes in another way, still by their index', () => {
    const { source, destination } = sides([['integer', 'numeric(12,2)']])
    const { text } = keysSQL(source, [['1.00']])
    expect(text).toContain('ON t."c0" = ((r.w0)::numeric(12,2))::integer')
    const stored = `CASE WHEN t."c0" IS NULL THEN NULL ELSE format('%s', t."c0")::numeric(12,2) END`
    expect([source.key[0]?.text, destination.key[0]?.text]).toEqual([
      `format('%s', ${stored})`,
      `format('%s', t."c0")`,
    ])
    expect(source.scatter).toContain(stored)
  })

  it('has one row of each key, of which the destination may have several', () => {
    const { source, destination } = sides([['bigint', 'bigint']])
    expect(keysSQL(destination, [['1']]).text).toMatch(
      /^SELECT k0 .*CASE count\(DISTINCT v\) WHEN 1 .* GROUP BY 1$/,
    )
    expect(keysSQL(source, [['1']]).text).not.toContain('GROUP BY')
  })
})
