import { describe, expect, it } from 'vitest'
import { compareFingerprints, compareNames, type Fingerprint, withPast } from './fingerprint.ts'
import { column, leaves, none, rewritten } from './fingerprint-fixture.ts'

const before: Fingerprint = {
  oid: 10,
  columns: [column(1, 'id'), column(2, 'a', 'text'), { ...column(4, 'e', 'mood'), labels: { 7: 'ok' } }],
  lastNumber: 4,
  key: [1],
  leaves,
}
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
    [
      'a column that came and went, after another was added',
      { columns: [...before.columns, column(5, 'b')], lastNumber: 6, unseenNumbers: [6] },
    ],
    ['a partition created in place', { leaves: [...before.leaves, part(20)] }],
  ])('%s is told by the rows themselves', (_, change) => {
    expect(compareFingerprints(before, { ...before, ...change }, none)).toBeUndefined()
  })

  it.each<[string, Partial<Fingerprint>, RegExp, number[]?, Fingerprint['leaves']?]>([
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
      'column dropped and added again',
      { columns: [...before.columns.slice(0, 2), column(5, 'e')], lastNumber: 5 },
      /"e" was added after another one of that name/,
    ],
    [
      'column added after one that came and went',
      { columns: [...before.columns, column(6, 'b')], lastNumber: 6, unseenNumbers: [5] },
      /"b" was added after another one, whose name is not known/,
    ],
    [
      'volatile default where the last look saw no partition yet',
      {
        columns: [...before.columns, { ...column(5, 'b'), computed: true }],
        lastNumber: 5,
        leaves: [part(20)],
      },
      /"b" was added with a value of its own/,
      [],
      [],
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
  ])('%s is not', (_, change, message, filled = [], leaves = before.leaves) => {
    const history = { ...none, filled: new Set(filled) }
    const result = compareFingerprints({ ...before, leaves }, { ...before, ...change }, history)
    expect(result?.message).toMatch(message)
    expect(result?.message).toMatch(/Truncate or Drop/)
  })
})

describe('withPast', () => {
  const without: Fingerprint = { ...before, columns: before.columns.slice(0, 2) }
  const again: Fingerprint = { ...before, columns: [...without.columns, column(6, 'e')], lastNumber: 6 }
  const other: Fingerprint = { ...again, columns: [...again.columns, column(7, 'z')], lastNumber: 7 }

  it('keeps the name of a dropped column from look to look, also of one that only the log had', () => {
    const dropped = { ...without, lastNumber: 5, droppedNumbers: [3, 4, 5] }
    const seen = withPast(withPast(withPast(before, dropped, []), dropped, ['id', 'brief']), dropped, [])
    expect(seen).toMatchObject({ formerNames: ['brief', 'e'], unseenNumbers: [5] })
    expect(compareFingerprints(JSON.parse(JSON.stringify(seen)), again, none)?.message).toMatch(
      /"e" was added after another one of that name/,
    )
  })

  it('takes one name that only the log has for each column that came and went unseen', () => {
    const dropped = { ...without, lastNumber: 5, droppedNumbers: [3, 4, 5] }
    const seen = withPast(withPast(before, dropped, ['id', 'brief']), dropped, ['id', 'elsewhere'])
    expect(seen.formerNames).toEqual(['brief', 'e'])
    expect(compareNames(seen, ['id', 'brief'])).toBeUndefined()
    expect(compareNames(seen, ['id', 'elsewhere'])?.message).toMatch(/named "elsewhere" for a time/)
  })

  it('takes a column that the catalog does not show yet for one that is to come', () => {
    const dropped = { ...without, droppedNumbers: [3, 4] }
    for (const past of [undefined, before]) {
      const behind = withPast(past, dropped, ['id', 'b'])
      const came = { ...dropped, columns: [...without.columns, column(5, 'b')], lastNumber: 5 }
      expect(compareFingerprints(behind, withPast(behind, came, ['id', 'b']), none)).toBeUndefined()
    }
  })

  it('stops a table once for a name that came back, and again when it comes back once more', () => {
    const back = withPast(withPast(before, without, []), again, [])
    expect(back.formerNames).toEqual([])
    expect(compareFingerprints(back, other, none)).toBeUndefined()
    const more: Fingerprint = { ...without, lastNumber: 6 }
    const third: Fingerprint = { ...before, columns: [...without.columns, column(7, 'e')], lastNumber: 7 }
    expect(compareFingerprints(withPast(back, more, []), third, none)).toBeDefined()
  })

  it.each([
    ['what PostgreSQL keeps', { missing: 'old', literal: 'new' }, before.leaves, 'old'],
    ['nothing, if it keeps none: that default was set later', { literal: 'new' }, before.leaves, null],
    ['the literal, once PostgreSQL cannot know', { literal: 'new' }, rewritten, 'new'],
    ['nothing that is too long to be repeated', { missing: 'x'.repeat(1_001) }, before.leaves, undefined],
  ])('keeps what an added column gave to old rows: %s', (_, told, leaves, expected) => {
    const found = {
      ...before,
      columns: [...before.columns, { ...column(5, 'b'), ...told }],
      lastNumber: 5,
      leaves,
    }
    const seen = withPast(before, found, [])
    const later = withPast(seen, { ...found, columns: [...before.columns, column(5, 'b')] }, [])
    for (const { columns } of [seen, later]) expect(columns[3]?.added).toBe(expected)
    expect(seen.columns.slice(0, 3)).toEqual(before.columns)
    // At the first sight of a table nobody knows which of its columns are younger than its rows.
    expect(withPast(undefined, found, []).columns[3]).not.toHaveProperty('added')
  })

  it('takes a column that was altered by what rewrote the table for one with other values', () => {
    const altered = { ...none, altered: new Set(['a']) }
    const after = { ...before, leaves: rewritten }
    expect(compareFingerprints(before, after, altered)?.message).toMatch(/"a" was given other values/)
    expect(compareFingerprints(before, before, altered)).toBeUndefined()
  })

  it('takes a column for one with values of its own where older rows have another value than it is said to have given', () => {
    const after = {
      ...before,
      columns: [...before.columns, column(5, 'b')],
      lastNumber: 5,
      leaves: rewritten,
    }
    const odd = { ...none, odd: new Set(['b']) }
    expect(compareFingerprints(before, after, odd)?.message).toMatch(/"b" was added with a value of its own/)
    expect(compareFingerprints(before, after, none)).toBeUndefined()
  })

  it.each<[string, readonly string[], RegExp | undefined]>([
    ['the names of now', ['id', 'a', 'e'], undefined],
    ['names that were before', ['id', 'was', 'a', 'e'], undefined],
    ['fewer names', ['id', 'e'], undefined],
    ['a name that was never seen', ['id', 'tmp', 'e'], /a column was named "tmp" for a time/],
    ['names in another order', ['id', 'e', 'a'], /columns had exchanged their names for a time/],
  ])('compares with what the log says: %s', (_, named, message) => {
    const found = compareNames({ ...before, formerNames: ['was'] }, named)
    if (message) expect(found?.message).toMatch(message)
    else expect(found).toBeUndefined()
  })

  it('takes a label that has its name again for one that was renamed', () => {
    const mood = (labelled?: Record<string, string>) => ({
      ...before,
      columns: [{ ...column(4, 'e', 'mood'), labels: { 7: 'ok', 8: 'new' }, ...(labelled && { labelled }) }],
    })
    const change = compareFingerprints(mood({ 7: '100' }), mood({ 7: '101' }), none)
    expect(change?.message).toMatch(/renamed: ok for a time/)
    expect(compareFingerprints(mood({ 7: '100' }), mood({ 7: '100', 8: '101' }), none)).toBeUndefined()
    expect(compareFingerprints(mood(), mood({ 7: '100' }), none)).toBeUndefined()
  })

  it('takes another composite type for other values', () => {
    const pair = (attributes?: string) => ({
      ...before,
      columns: [column(1, 'id'), { ...column(2, 'a', 'pair'), ...(attributes && { attributes }) }],
    })
    const change = compareFingerprints(pair('1 integer'), pair('1 integer, 2 integer'), none)
    expect(change?.message).toMatch(/type of column "a" was altered/)
    expect(compareFingerprints(pair(), pair('1 integer'), none)).toBeUndefined()
  })

  it('reads records of before it was remembered', () => {
    expect(withPast(before, without, []).formerNames).toEqual(['e'])
    expect(withPast(undefined, before, []).formerNames).toEqual([])
  })
})
