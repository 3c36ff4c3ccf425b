import { describe, expect, it } from 'vitest'
import type { Column, TableDefinition } from '../../source/table.ts'
import { digestSQL } from '../../source/verify-sql.ts'
import type { TargetColumn, TargetTable } from './catalog.ts'
import { comparedSides } from './comparison.ts'

function sides(
  types: readonly (readonly [source: string, destination: string])[],
  more: Partial<Column> = {},
) {
  const columns = types.map(
    ([type], index) => ({ name: `c${index}`, type, baseType: type, typeKind: 'base', ...more }) as Column,
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
  return comparedSides(definition, table)
}

describe('the key of a comparison', () => {
  it.each([
    ['bigint', 'bigint', 't."c0"', '::bigint'],
    ['integer', 'bigint', 't."c0"', '::integer'],
    ['uuid', 'uuid', 't."c0"', '::uuid'],
    ['text', 'text', `format('%s', t."c0") COLLATE "C"`, '::text COLLATE "C"'],
    ['uuid', 'text', `format('%s', t."c0") COLLATE "C"`, '::text COLLATE "C"'],
  ])('of %s in %s is ordered by %s', (from, to, term, bound) => {
    expect(sides([[from, to]]).source.key[0]).toMatchObject({ term, bound })
  })

  it('has its own type on each side', () => {
    expect(sides([['integer', 'bigint']]).destination.key[0]?.bound).toBe('::bigint')
  })
})

describe('values of a comparison', () => {
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
  ])('of %s in %s are %s', (from, to, expected) => {
    const pair = sides([
      ['bigint', 'bigint'],
      [from, to],
    ])
    expect(pair.source.columns[1]).toBe(expected)
    expect(pair.destination.columns[1]).toBe('t."c1"')
  })

  it('leave out rows that are softly deleted', () => {
    expect(sides([['bigint', 'bigint']]).destination.where).toBe('')
  })
})

describe('digestSQL', () => {
  it('binds the bounds in order', () => {
    const { text, values } = digestSQL(sides([['bigint', 'bigint']]).source, { from: ['1'], to: ['9'] })
    expect(text).toContain('WHERE t."c0" >= ($1::bigint) AND t."c0" < ($2::bigint)')
    expect(values).toEqual(['1', '9'])
  })
})
