import { expect, it } from 'vitest'
import { parseTypeName } from './type-name.ts'

const table: [string, Partial<ReturnType<typeof parseTypeName>>][] = [
  ['integer', { name: 'integer', modifier: [], array: false, builtIn: true }],
  ['numeric(12,2)', { name: 'numeric', modifier: [12, 2], modifierText: '(12,2)' }],
  ['numeric(3,-2)', { name: 'numeric', modifier: [3, -2] }],
  ['character varying(10)[]', { name: 'character varying', modifier: [10], array: true, builtIn: true }],
  ['timestamp(3) with time zone', { name: 'timestamp with time zone', modifier: [3] }],
  ['timestamp with time zone[]', { name: 'timestamp with time zone', modifier: [], array: true }],
  ['interval day to second(3)', { name: 'interval day to second', modifier: [3] }],
  ['"char"', { name: '"char"', builtIn: true }],
  ['public.citext', { name: 'public.citext', builtIn: false, array: false }],
  ['public.vector(3)', { name: 'public.vector', modifier: [3], builtIn: false }],
  ['gis.geometry(Point,4326)', { name: 'gis.geometry', modifier: [], modifierText: '(Point,4326)' }],
  [
    '"My.Schema"."A type(1)"[]',
    { name: '"My.Schema"."A type(1)"', modifier: [], array: true, builtIn: false },
  ],
  ['"a.b"', { builtIn: true }],
]

it.each(table)('%s', (text, parts) => {
  expect(parseTypeName(text)).toMatchObject(parts)
})
