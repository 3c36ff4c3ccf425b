import { describe, expect, it } from 'vitest'
import { compareFingerprints, type Fingerprint, isWidening } from './fingerprint.ts'

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
    ['a wider type', { columns: [column(1, 'id', 'bigint'), ...before.columns.slice(1)], leaves: rewritten }],
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

describe('isWidening', () => {
  it.each([
    ['integer', 'bigint', true],
    ['bigint', 'integer', false],
    ['smallint', 'numeric', true],
    ['integer', 'text', true],
    ['character varying(5)', 'character varying(9)', true],
    ['character varying(9)', 'character varying(5)', false],
    ['character varying(9)', 'text', true],
    ['character varying', 'character varying(5)', false],
    ['text', 'character varying', true],
    ['text', 'character varying(3)', false],
    ['numeric(5,2)', 'numeric(9,2)', true],
    ['numeric(5,2)', 'numeric(9,3)', false],
    ['numeric(5,2)', 'numeric', true],
    ['numeric', 'numeric(5,2)', false],
    // 0.1 as real is 0.1, as double precision 0.10000000149011612.
    ['real', 'double precision', false],
    ['text', 'integer', false],
    ['date', 'timestamp without time zone', false],
  ])('%s to %s: %s', (from, to, expected) => {
    expect(isWidening(from, to)).toBe(expected)
  })
})
