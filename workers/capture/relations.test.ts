import { describe, expect, it } from 'vitest'
import type { HeaderType } from '../queue/format.ts'
import type { ColumnFilter } from '../source/table.ts'
import { createChannel } from './outgoing.ts'
import type { RelationMessage } from './pgoutput.ts'
import { keyOf, makeRelation, refilter } from './relations.ts'

const message = (replicaIdentity: string, identity: readonly string[]): RelationMessage => ({
  oid: 1,
  schema: 'public',
  name: 't',
  replicaIdentity,
  columns: ['a', 'b', 'c'].map((name) => ({
    name,
    typeOid: 25,
    typeModifier: -1,
    identity: identity.includes(name),
  })),
})

describe('keyOf', () => {
  it.each([
    ['the order of the catalog', 'd', ['a', 'b'], ['b', 'a'], ['b', 'a']],
    ['the log where the catalog has moved on', 'd', ['a'], ['b'], ['a']],
    ['the log where the table is gone', 'i', ['c'], [], ['c']],
    ['any key with identity full', 'f', ['a', 'b', 'c'], ['c'], ['c']],
    ['none with identity full when its key is not in the log', 'f', ['a', 'b', 'c'], ['new'], []],
    ['none when nothing identifies rows', 'd', [], [], []],
  ])('takes %s', (_, identity, logged, catalog, expected) => {
    expect(keyOf(message(identity, logged), catalog)).toEqual(expected)
  })
})

describe('makeRelation', () => {
  const channel = createChannel({ schema: 'public', name: 't' }, 'topic', 'inc')
  const facts = {
    types: ['x', 'y', 'z'],
    behind: new Map<string, HeaderType>([
      ['y', ['domain', 'integer']],
      ['z', ['enum']],
    ]),
    key: ['a'],
    added: new Map([['b', 'old'] as const, ['c', null] as const]),
  }

  it('finds the key columns in key order', () => {
    const relation = makeRelation(
      message('d', ['a', 'c']),
      channel,
      { ...facts, key: ['c', 'a'] },
      1,
      undefined,
    )
    expect(relation.keyColumns).toEqual([2, 0])
    expect(JSON.parse(relation.header.toString())).toMatchObject({
      columns: [
        ['a', 'x', 2],
        ['b', 'y', 0, 'old'],
        ['c', 'z', 1, null],
      ],
    })
  })

  it('says what is behind the types of the columns that it has', () => {
    const types = (filter?: ColumnFilter) =>
      JSON.parse(makeRelation(message('d', ['a']), channel, facts, 1, filter).header.toString()).types
    expect(types()).toEqual({ y: ['domain', 'integer'], z: ['enum'] })
    expect(types({ exclude: ['b'] })).toEqual({ z: ['enum'] })
    expect(types({ include: ['a'] })).toBeUndefined()
  })

  it('is made anew only for another filter', () => {
    const relation = makeRelation(message('d', ['a']), channel, facts, 1, {
      include: ['a', 'b'],
    })
    expect([...relation.included]).toEqual([1, 1, 0])
    expect(refilter(relation, 1, { include: ['a', 'b'] })).toBeUndefined()
    const other = refilter(relation, 1, { exclude: ['b'] })
    expect([...(other?.included ?? [])]).toEqual([1, 0, 1])
    expect(JSON.parse(String(other?.header))).toMatchObject({
      columns: [
        ['a', 'x', 1],
        ['c', 'z', 0, null],
      ],
    })
  })
})
