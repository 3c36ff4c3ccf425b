import { describe, expect, it } from 'vitest'
import { MAX_STATEMENT_BYTES } from './data-api.ts'
import { missingStatements } from './missing-rows.ts'
import { varchar } from './redshift-type.ts'
import type { Writing } from './write-sql.ts'

const writing: Writing = {
  table: { id: '1', name: { schema: 'public', name: 't' }, attributes: 2, columns: [] },
  columns: [
    { name: 'v', type: varchar() },
    { name: 'k', type: varchar(1024) },
    { name: 'n', type: { kind: 'integer' } },
  ],
  key: [1, 2],
  softColumn: false,
  own: [],
}

const places = (sql: string) => [...sql.matchAll(/SELECT (\d+) AS n/g)].map(([, n]) => Number(n))

describe('missingStatements', () => {
  it.each([
    ['short keys by their number', 'k', 1_000, 3],
    ['long keys by their bytes', "it's \\ ünd ".repeat(22), 400, 2],
    ['the longest keys of an index', 'ü'.repeat(1_300), 100, 3],
  ])('cuts %s', (_, text, count, atLeast) => {
    const keys = Array.from({ length: count }, (_each, n) => [text, String(n)])
    const statements = missingStatements(writing, keys)
    for (const sql of statements) expect(Buffer.byteLength(sql)).toBeLessThanOrEqual(MAX_STATEMENT_BYTES)
    expect(statements.flatMap(places)).toEqual(keys.map((_key, n) => n))
    expect(statements.length).toBeGreaterThanOrEqual(atLeast)
    expect(statements.length).toBeLessThanOrEqual(atLeast + 1)
  })

  it('has none for no keys', () => {
    expect(missingStatements(writing, [])).toEqual([])
  })
})
