import { expect, it } from 'vitest'
import { guardSQL, lockSQL, writeSQL } from './transaction-sql.ts'

it('locks several tables at once', () => {
  expect(lockSQL(['"m"."tables"', '"m"."t"'])).toBe('LOCK "m"."tables", "m"."t"')
})

it('guards rows that are there and rows that are not in one statement', () => {
  expect(
    guardSQL('"m"."t"', [
      { id: 'table', version: 5n },
      { id: 'backfill a', version: undefined },
    ]),
  ).toBe(
    `SELECT 1 / CASE WHEN COALESCE(SUM(CASE WHEN id = 'table' AND version = 5 THEN 1 WHEN id = 'backfill a' THEN 2 ELSE 0 END), 0) = 1 THEN 1 ELSE 0 END AS held FROM "m"."t" WHERE id IN ('table', 'backfill a')`,
  )
})

const row = (id: string, facts: Record<string, unknown>, from?: bigint) => ({
  content: { id, state: 'planned', facts },
  from,
})

it('writes many rows with few statements, none of which is too long', () => {
  const rows = Array.from({ length: 3000 }, (_, n) =>
    row(`chunk u 1 ${n}`, { range: { kind: 'all', n }, x: '漢"\\'.repeat(10) }),
  )
  const statements = writeSQL('"m"."t"', [row('backfill u', {}, 1n), ...rows], 'token')
  expect(statements.length).toBeLessThan(12)
  for (const sql of statements) expect(Buffer.byteLength(sql)).toBeLessThanOrEqual(100_000)
  expect(statements[0]).toMatch(/^UPDATE .*"token":"token"/)
  expect(
    statements
      .slice(1)
      .join('')
      .match(/'chunk u 1 \d+'/g),
  ).toHaveLength(3000)
})

it('changes rows together, each to its own', () => {
  const [sql] = writeSQL('"m"."t"', [row('a', { n: 1 }, 1n), row('b', { n: 2 }, 4n)], 't')
  expect(sql).toContain(`facts = CASE id WHEN 'a' THEN '{"n":1,"token":"t"}' WHEN 'b' THEN '{"n":2}' END`)
  expect(sql).toContain(`WHERE id IN ('a', 'b')`)
})

it('cuts messages that a row of a result has no room for', () => {
  const [sql = ''] = writeSQL('"m"."t"', [row('table', { stopMessage: 'x'.repeat(70_000) }, 1n)], 't')
  expect(Buffer.byteLength(sql)).toBeLessThan(65_000)
})
