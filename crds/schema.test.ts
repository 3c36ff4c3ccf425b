import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  boolean,
  described,
  type Infer,
  type Input,
  integer,
  list,
  listMap,
  map,
  object,
  oneOf,
  optional,
  quantity,
  set,
  string,
} from './schema.ts'

const rule = { rule: 'self == oldSelf', message: 'size cannot be changed: create another one' }

describe('scalars', () => {
  it('refuse the empty string unless told otherwise', () => {
    expect(string({ maxLength: 5 }).openApi).toEqual({ type: 'string', minLength: 1, maxLength: 5 })
    expect(string({ minLength: 0 }).openApi).toEqual({ type: 'string', minLength: 0 })
    expect(string({ format: 'date-time' }).openApi).toEqual({ type: 'string', format: 'date-time' })
  })

  it('carry description, default, bounds and rules', () => {
    expect(integer({ description: 'How big.', min: 1, max: 9, default: 3, rules: [rule] }).openApi).toEqual({
      type: 'integer',
      format: 'int64',
      description: 'How big.',
      minimum: 1,
      maximum: 9,
      default: 3,
      'x-kubernetes-validations': [rule],
    })
    expect(boolean({ default: false }).openApi).toEqual({ type: 'boolean', default: false })
    expect(oneOf(['Hard', 'Soft'], {}).openApi).toEqual({ type: 'string', enum: ['Hard', 'Soft'] })
    expect(quantity().openApi['x-kubernetes-int-or-string']).toBe(true)
  })

  it('turn an expression with a message into a rule', () => {
    const { openApi } = string({
      maxLength: 9,
      matches: { pattern: '^[a-z]+$', message: 'name must be low' },
    })
    expect(openApi['x-kubernetes-validations']).toEqual([
      {
        rule: "self.matches(r'^[a-z]+$')",
        message: 'name must be low',
        messageExpression: `"name must be low (" + ('found "' + self + '"') + ')'`,
      },
    ])
  })
})

describe('lists and maps', () => {
  const item = object({ name: string({}), port: integer({ default: 1 }) }, {})

  it('say how they are merged', () => {
    expect(list(string({}), { maxItems: 2 }).openApi).toMatchObject({
      'x-kubernetes-list-type': 'atomic',
      maxItems: 2,
    })
    expect(set(string({}), {}).openApi).toMatchObject({ 'x-kubernetes-list-type': 'set' })
    expect(listMap(item, ['name', 'port'], {}).openApi).toMatchObject({
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name', 'port'],
    })
    expect(map(string({}), { maxProperties: 4 }).openApi).toMatchObject({
      type: 'object',
      maxProperties: 4,
      additionalProperties: { type: 'string' },
    })
  })
})

describe('objects', () => {
  const thing = object(
    {
      name: string({}),
      size: integer({ default: 1 }),
      note: optional(string({ description: 'A word.' })),
      mode: oneOf(['Fast', 'Safe'], { default: 'Safe' }),
      part: object({ on: boolean({ default: true }) }, { default: {} }),
      lists: optional(list(object({ key: string({}), value: integer({ default: 0 }) }, {}), {})),
    },
    { description: 'A thing.', rules: [rule] },
  )

  it('require what has no default and is not optional', () => {
    expect(thing.openApi.required).toEqual(['name'])
    expect(object({ note: optional(string({})) }, {}).openApi.required).toBeUndefined()
    expect(Object.keys(thing.openApi.properties ?? {})).toEqual([
      'name',
      'size',
      'note',
      'mode',
      'part',
      'lists',
    ])
    expect(thing.openApi['x-kubernetes-validations']).toEqual([rule])
  })

  it('have the type that the API server stores', () => {
    expectTypeOf<Infer<typeof thing>>().toEqualTypeOf<{
      name: string
      size: number
      mode: 'Fast' | 'Safe'
      part: { on: boolean }
      note?: string | undefined
      lists?: { key: string; value: number }[] | undefined
    }>()
  })

  it('have the type that a person writes', () => {
    expectTypeOf<Input<typeof thing>>().toEqualTypeOf<{
      name: string
      size?: number | undefined
      mode?: 'Fast' | 'Safe' | undefined
      part?: { on?: boolean | undefined } | undefined
      note?: string | undefined
      lists?: { key: string; value?: number | undefined }[] | undefined
    }>()
  })

  it('can be described anew without changing the original', () => {
    const again = described(thing, { description: 'Another thing.', rules: [rule] })
    expect(again.openApi.description).toBe('Another thing.')
    expect(again.openApi['x-kubernetes-validations']).toHaveLength(2)
    expect(thing.openApi.description).toBe('A thing.')
  })
})
