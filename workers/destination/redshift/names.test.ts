import { expect, it } from 'vitest'
import { checkNames, foldName, quoteName, quoteTableName } from './names.ts'

const table = { schema: 'public', name: 'orders' }
const columns = (...names: string[]) => ({
  ...table,
  columns: names.map((name) => ({ name }) as Parameters<typeof checkNames>[1]['columns'][number]),
})

it('folds ASCII letters and nothing else', () => {
  expect(foldName('Straße ÄÖ Id')).toBe('straße ÄÖ id')
  expect(quoteTableName({ schema: 'Public', name: 'User Data' })).toBe('"public"."user data"')
  expect(() => quoteName('a"b')).toThrow()
})

it.each([
  [columns('id', 'ID'), /columns "id" and "ID" of table public\.orders are one name/],
  [columns('a"b'), /column "a\\"b" of table public\.orders has a double quote/],
  [columns('é'.repeat(64)), /longer than the 127 bytes \(128\)/],
  [columns('ctid'), /"ctid" of table public\.orders has the name of a system column/],
])('refuses columns that are none in Redshift', (definition, message) => {
  expect(() => checkNames(table, definition)).toThrow(message)
  expect(() => checkNames(table, definition)).toThrow(expect.objectContaining({ code: 'InvalidSpec' }))
})

it('refuses names of tables and schemas, with the field to set', () => {
  expect(() => checkNames({ schema: 'public', name: 'a"b' }, columns('id'))).toThrow(
    expect.objectContaining({ field: 'spec.tables[].destination.name' }),
  )
  expect(() => checkNames({ schema: 'x'.repeat(128), name: 'a' }, columns('id'))).toThrow(
    expect.objectContaining({ field: 'spec.tables[].destination.schema' }),
  )
  expect(() => checkNames(table, columns('id', 'select', 'é'.repeat(63)))).not.toThrow()
})
