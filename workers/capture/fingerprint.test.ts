import { describe, expect, it } from 'vitest'
import { compareFingerprints, type Fingerprint } from './fingerprint.ts'

const column = (number: number, name: string, type = 'integer') => ({
  number,
  name,
  type,
  labels: null,
  computed: false,
})
const before: Fingerprint = {
  oid: 10,
  columns: [column(1, 'id'), column(2, 'a', 'text'), { ...column(4, 'e', 'mood'), labels: { 7: 'ok' } }],
  lastNumber: 4,
  key: [1],
  leaves: [{ oid: 10, name: 't', filenode: '100' }],
}
const rewritten = [{ oid: 10, name: 't', filenode: '101' }]
const none = new Set<number>()
const part = (oid: number) => ({ oid, name: `p${oid}`, filenode: String(oid) })

describe('compareFingerprints', () => {
  it.each<[string, Partial<Fingerprint>]>([
    ['nothing', {}],
    ['VACUUM FULL', { leaves: rewritten }],
    ['ADD COLUMN', { columns: [...before.columns, column(5, 'b')], lastNumber: 5 }],
    [
      'ADD COLUMN with a default that is kept once',
      { columns: [...before.columns, column(5, 'b')], lastNumber: 5 },
    ],
    [
      'SET DEFAULT on a column just added',
      { columns: [...before.columns, { ...column(5, 'b'), computed: true }], lastNumber: 5 },
    ],
    ['DROP COLUMN', { columns: before.columns.slice(0, 2) }],
    [
      'a type that was widened in place',
      {
        columns: [
          before.columns[0] ?? column(1, ''),
          column(2, 'a', 'character varying'),
          ...before.columns.slice(2),
        ],
      },
    ],
    [
      'a new value of an enum',
      {
        columns: [
          ...before.columns.slice(0, 2),
          { ...column(4, 'e', 'mood'), labels: { 7: 'ok', 8: 'new' } },
        ],
      },
    ],
    ['a partition created in place', { leaves: [...before.leaves, part(20)] }],
  ])('%s is told by the rows themselves', (_, change) => {
    expect(compareFingerprints(before, { ...before, ...change }, none)).toBeUndefined()
  })

  it.each<[string, Partial<Fingerprint>, RegExp, number[]?]>([
    ['re-created', { oid: 11 }, /dropped and created again/],
    [
      'renamed column',
      { columns: [column(1, 'id'), column(2, 'b', 'text'), ...before.columns.slice(2)] },
      /"a" was renamed to "b"/,
    ],
    [
      'volatile default',
      {
        columns: [...before.columns, { ...column(5, 'b'), computed: true }],
        lastNumber: 5,
        leaves: rewritten,
      },
      /"b" was added with a value of its own/,
    ],
    [
      'generated column made plain',
      { columns: [...before.columns, column(3, 'g')] },
      /"g", which was generated/,
    ],
    [
      'type change with rewriting',
      {
        columns: [before.columns[0] ?? column(1, ''), column(2, 'a', 'integer'), ...before.columns.slice(2)],
        leaves: rewritten,
      },
      /"a" was changed from text to integer/,
    ],
    [
      // `USING v || '!'` does the same to the catalog as a cast that changes nothing.
      'wider type with rewriting',
      { columns: [column(1, 'id', 'bigint'), ...before.columns.slice(1)], leaves: rewritten },
      /"id" was changed from integer to bigint/,
    ],
    [
      'renamed enum value',
      { columns: [...before.columns.slice(0, 2), { ...column(4, 'e', 'mood'), labels: { 7: 'fine' } }] },
      /ok to fine/,
    ],
    ['detached partition', { leaves: [] }, /partition t was detached/],
    ['attached partition', { leaves: [...before.leaves, part(20)] }, /p20 was attached/, [20]],
    ['another key', { key: [2] }, /key was changed/],
  ])('%s is not', (_, change, message, filled = []) => {
    const result = compareFingerprints(before, { ...before, ...change }, new Set(filled))
    expect(result?.message).toMatch(message)
    expect(result?.message).toMatch(/Truncate or Drop/)
  })
})
