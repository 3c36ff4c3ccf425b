import { describe, expect, it } from 'vitest'
import type { Header } from '../queue/format.ts'
import type { Column, TableDefinition } from '../source/table.ts'
import { headerDefinition, wideDefinition } from './definition.ts'
import { createLayout } from './layout.ts'

const column = (name: string, type: string, more: Partial<Column> = {}): Column => ({
  name,
  type,
  typeOid: 1,
  typeModifier: -1,
  typeKind: 'base',
  baseType: type,
  notNull: true,
  ...more,
})

const catalog: TableDefinition = {
  schema: 'public',
  name: 't',
  oid: 9,
  columns: [
    column('id', 'bigint'),
    column('mood', 'app.mood', { typeKind: 'enum' }),
    column('n', 'bigint', { constantDefault: '7' }),
    column('later', 'text'),
  ],
  key: ['id'],
  replicaIdentity: 'default',
  partitioned: true,
}

const header = (...columns: Header['columns']): Header => ({
  v: 1,
  inc: 'a',
  epoch: 1,
  table: ['public', 't'],
  columns,
})

describe('headerDefinition', () => {
  it('takes what the catalog knows of columns that are still the same', () => {
    const of = header(
      ['mood', 'app.mood', 0],
      ['n', 'integer', 0],
      ['gone', 'text[]', 0],
      ['id', 'bigint', 1],
    )
    expect(headerDefinition(of, catalog)).toEqual({
      schema: 'public',
      name: 't',
      oid: 9,
      columns: [
        catalog.columns[1],
        column('n', 'integer', { typeOid: 0, notNull: false }),
        column('gone', 'text[]', { typeOid: 0, notNull: false, typeKind: 'array', baseType: 'text' }),
        catalog.columns[0],
      ],
      key: ['id'],
      replicaIdentity: 'default',
      partitioned: true,
    })
  })

  it.each<[string, Header['types'], string, Partial<Column>]>([
    [
      'a domain',
      { 'app.posint': ['domain', 'integer'] },
      'app.posint',
      { typeKind: 'domain', baseType: 'integer' },
    ],
    ['an enum', { 'app.size': ['enum'] }, 'app.size', { typeKind: 'enum', baseType: 'app.size' }],
    [
      'an array of domains',
      { 'app.posint': ['domain', 'integer'] },
      'app.posint[]',
      { typeKind: 'array', baseType: 'app.posint' },
    ],
    ['nothing', undefined, 'app.posint', { typeKind: 'base', baseType: 'app.posint' }],
  ])(
    'knows what the header tells of the type of a column that is gone: %s',
    (_name, types, type, expected) => {
      const of = { ...header(['id', 'bigint', 1], ['gone', type, 0]), ...(types && { types }) }
      expect(headerDefinition(of, catalog).columns[1]).toMatchObject({ type, ...expected })
    },
  )

  it.each([
    ['as the header tells it', ['n', 'bigint', 0, '5'], '5'],
    ['none when the header says so', ['n', 'bigint', 0, null], undefined],
    ['as the catalog has it when the header does not say', ['n', 'bigint', 0], '7'],
    ['as the header tells it of a column that has another type by now', ['n', 'integer', 0, '5'], '5'],
  ] as const)('gives rows that are older than a column its value, %s', (_name, column, expected) => {
    const made = headerDefinition(header(['id', 'bigint', 1], column), catalog)
    expect(made.columns[1]?.constantDefault).toBe(expected)
  })

  it('keeps the key in its own order, and needs no catalog', () => {
    const made = headerDefinition(header(['a', 'text', 2], ['b', 'text', 1], ['c', 'text', 0]), undefined)
    expect(made.key).toEqual(['b', 'a'])
    expect(headerDefinition(header(['c', 'text', 0]), undefined)).toMatchObject({
      key: [],
      replicaIdentity: 'full',
    })
  })
})

describe('headerDefinition under the filter of now', () => {
  const of = header(['note', 'text', 0], ['id', 'bigint', 1], ['Note', 'text', 0])
  it.each([
    ['an excluded column is left out', { exclude: ['Note'] }, ['note', 'id']],
    ['so is one that is not included', { include: ['id', 'Note'] }, ['id', 'Note']],
    ['the key stays', { exclude: ['id'] }, ['note', 'id', 'Note']],
    ['without one all stay', undefined, ['note', 'id', 'Note']],
  ] as const)('%s', (_name, filter, expected) => {
    const made = headerDefinition(of, undefined, filter)
    expect(made.columns.map(({ name }) => name)).toEqual(expected)
    expect(made.key).toEqual(['id'])
  })

  it('the values of a column that is left out are skipped, and the others stand in their places', () => {
    const layout = createLayout(of.columns, headerDefinition(of, undefined, { exclude: ['note'] }))
    expect(layout.image(['no', '1', 'yes'])).toEqual(['1', 'yes'])
    expect(layout.identity(['1'])).toEqual(['1'])
    expect(layout.isWide).toBe(false)
  })
})

describe('wideDefinition', () => {
  const narrow = headerDefinition(header(['id', 'bigint', 1]), catalog)
  it.each([
    ['the destination has them already', ['id', 'n', 'own'], ['id', 'n']],
    ['it does not', ['id', 'own'], ['id']],
  ] as const)('adds columns that are younger than the header: %s', (_name, present, expected) => {
    const made = wideDefinition(narrow, catalog, present)
    expect(made.columns.map(({ name }) => name)).toEqual(expected)
  })

  it('adds none when the source has no such table any more', () => {
    expect(wideDefinition(narrow, undefined, ['id', 'n'])).toBe(narrow)
  })
})
