import { describe, expect, it } from 'vitest'
import type { PipelineSpec } from '../../crds/pipeline.ts'
import { destinationTable, refuseSoftDeleteColumn } from './names.ts'

const orders = { schema: 'shop', name: 'orders' }

function spec(schema: string | undefined, destination: { schema?: string; name?: string } | undefined) {
  return {
    destination: { postgres: { schema } },
    tables: [{ ...orders, destination }],
  } as unknown as Pick<PipelineSpec, 'destination' | 'tables'>
}

describe('where a table is in the destination', () => {
  it.each([
    [undefined, undefined, 'shop.orders'],
    ['raw', undefined, 'raw.orders'],
    ['raw', { schema: 'own' }, 'own.orders'],
    ['raw', { name: 'o' }, 'raw.o'],
    [undefined, { name: 'o' }, 'shop.o'],
    [undefined, { schema: 'own', name: 'o' }, 'own.o'],
  ])('default schema %s, own %o', (schema, destination, expected) => {
    const found = destinationTable(spec(schema, destination), orders)
    expect(`${found.schema}.${found.name}`).toBe(expected)
  })

  it('is the default for a table that is not listed any more', () => {
    const found = destinationTable(spec('raw', { schema: 'own', name: 'o' }), {
      schema: 'shop',
      name: 'items',
    })
    expect(found).toEqual({ schema: 'raw', name: 'items' })
  })
})

it('refuses a column of the name that soft deletes need', () => {
  expect(() => refuseSoftDeleteColumn(orders, [{ name: 'id' }])).not.toThrow()
  expect(() => refuseSoftDeleteColumn(orders, [{ name: '__millrace_deleted' }])).toThrow(/columns\.exclude/)
})
