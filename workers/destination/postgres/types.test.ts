import { describe, expect, it } from 'vitest'
import type { Column } from '../../source/table.ts'
import { compareTypes, destinationType, typesToAsk } from './types.ts'

function column(type: string, typeKind: Column['typeKind'] = 'base', baseType = type): Column {
  return { name: 'c', type, typeKind, baseType, typeOid: 0, typeModifier: -1, notNull: false }
}

const nothing = () => false
const everything = () => true

describe('the destination type of a column', () => {
  const table: [Column, (type: string) => boolean, string][] = [
    [column('integer'), nothing, 'integer'],
    [column('numeric(12,2)'), nothing, 'numeric(12,2)'],
    [column('integer[]', 'array', 'integer'), nothing, 'integer[]'],
    [column('int4range', 'range'), nothing, 'int4range'],
    [column('"char"'), nothing, '"char"'],
    [column('public.positive', 'domain', 'integer'), everything, 'integer'],
    [column('public.price', 'domain', 'numeric(10,2)'), nothing, 'numeric(10,2)'],
    [column('public.tags', 'domain', 'text[]'), nothing, 'text[]'],
    [column('public.feeling', 'domain', 'public.mood'), nothing, 'text'],
    [column('public.feeling', 'domain', 'public.mood'), everything, 'public.mood'],
    [column('public.mood', 'enum'), nothing, 'text'],
    [column('public.mood', 'enum'), everything, 'public.mood'],
    [column('public.mood[]', 'array', 'public.mood'), nothing, 'text[]'],
    [column('public.mood[]', 'array', 'public.mood'), everything, 'public.mood[]'],
    [column('public.address', 'composite'), nothing, 'text'],
    [column('public.span', 'range'), nothing, 'text'],
    [column('public.citext'), nothing, 'text'],
    [column('public.citext'), everything, 'public.citext'],
    [column('public.vector(3)'), (type) => type === 'public.vector(3)', 'public.vector(3)'],
    [column('regclass'), everything, 'text'],
    [column('regtype[]', 'array', 'regtype'), everything, 'text[]'],
    [column('aclitem[]', 'array', 'aclitem'), everything, 'text[]'],
  ]
  it.each(table)('%o', (from, known, type) => {
    expect(destinationType(from, known)).toBe(type)
  })

  it('asks only for what not every PostgreSQL has', () => {
    expect(typesToAsk(column('integer'))).toEqual([])
    expect(typesToAsk(column('public.mood[]', 'array', 'public.mood'))).toEqual([
      'public.mood[]',
      'public.mood',
    ])
    expect(typesToAsk(column('public.positive', 'domain', 'integer'))).toEqual(['public.positive'])
  })
})

describe('how a column that is there stands to the type wanted', () => {
  const table: [found: string, wanted: string, 'fits' | 'widen' | 'differs'][] = [
    ['integer', 'integer', 'fits'],
    ['bigint', 'smallint', 'fits'],
    ['smallint', 'integer', 'widen'],
    ['integer', 'bigint', 'widen'],
    ['integer[]', 'bigint[]', 'widen'],
    ['bigint[]', 'integer[]', 'fits'],
    ['integer', 'numeric', 'widen'],
    ['numeric', 'bigint', 'fits'],
    ['integer', 'numeric(12,2)', 'widen'],
    ['bigint', 'numeric(12,2)', 'differs'],
    ['numeric(10,2)', 'numeric(12,2)', 'widen'],
    ['numeric(10,2)', 'numeric(12,4)', 'widen'],
    ['numeric(10,2)', 'numeric(10,4)', 'differs'],
    ['numeric(10,2)', 'numeric(8,2)', 'fits'],
    ['numeric(10,2)', 'numeric', 'widen'],
    ['numeric', 'numeric(10,2)', 'fits'],
    ['numeric(5)', 'numeric(7,2)', 'widen'],
    ['real', 'double precision', 'widen'],
    ['double precision', 'real', 'fits'],
    ['double precision', 'numeric', 'differs'],
    ['numeric', 'double precision', 'differs'],
    ['character varying(10)', 'character varying(20)', 'widen'],
    ['character varying(20)', 'character varying(10)', 'fits'],
    ['character varying(10)', 'character varying', 'widen'],
    ['character varying(10)', 'text', 'widen'],
    ['character varying', 'text', 'fits'],
    ['text', 'character varying(10)', 'fits'],
    ['character(5)', 'character(8)', 'widen'],
    ['character(8)', 'character(5)', 'fits'],
    ['character(5)', 'text', 'widen'],
    ['character(5)', 'character varying(5)', 'widen'],
    ['character(5)', 'character varying(4)', 'differs'],
    ['character varying(5)', 'character(5)', 'fits'],
    ['bit(4)', 'bit(8)', 'differs'],
    ['bit varying(4)', 'bit varying(8)', 'widen'],
    ['timestamp(3) with time zone', 'timestamp with time zone', 'widen'],
    ['timestamp with time zone', 'timestamp(3) with time zone', 'fits'],
    ['timestamp without time zone', 'timestamp with time zone', 'differs'],
    ['date', 'timestamp without time zone', 'differs'],
    ['text', 'integer', 'fits'],
    ['text', 'jsonb', 'fits'],
    ['integer', 'text', 'differs'],
    ['jsonb', 'json', 'fits'],
    ['json', 'jsonb', 'fits'],
    ['jsonb', 'text', 'differs'],
    ['text[]', 'public.mood[]', 'fits'],
    ['text', 'integer[]', 'fits'],
    ['text[]', 'text', 'differs'],
    ['integer[]', 'text[]', 'differs'],
    ['public.citext', 'text', 'fits'],
    ['public.mood', 'text', 'fits'],
    ['public.mood', 'integer', 'differs'],
    ['uuid', 'text', 'differs'],
    ['boolean', 'integer', 'differs'],
  ]
  it.each(table)('%s for %s: %s', (found, wanted, fit) => {
    expect(compareTypes(found, wanted)).toBe(fit)
  })
})
