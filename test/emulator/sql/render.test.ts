import { describe, expect, it } from 'vitest'
import type { Query } from './ast.ts'
import { collectReferences } from './collect.ts'
import { UnknownToEmulator } from './errors.ts'
import { postgresName, redshiftName } from './names.ts'
import { parseStatement } from './parse.ts'
import { renderQuery, renderTable } from './render.ts'

const parse = (sql: string) => parseStatement(sql).statement

function render(sql: string, parameters: Record<string, string> = {}): string {
  const { query } = parse(sql) as { query: Query }
  return renderQuery(query, { parameters: new Map(Object.entries(parameters)), table: renderTable })
}

describe('queries for PostgreSQL', () => {
  it.each([
    ['select 1', 'SELECT 1 AS "?column?"'],
    ['select A.b from S.T a', 'SELECT "a"."b" AS "b" FROM "s"."t" AS "a"'],
    [`select 'it''s \\\\ \\'x\\''`, `SELECT 'it''s \\ ''x''' AS "?column?"`],
    ['select a + b * c', 'SELECT ("a" + ("b" * "c")) AS "?column?"'],
    ['select -a - -1', 'SELECT ((- "a") - (- 1)) AS "?column?"'],
    ['select len(a)', 'SELECT redshift_emulator.len("a") AS "len"'],
    [`select a || 'b'`, `SELECT redshift_emulator.concat("a", 'b') AS "?column?"`],
    ["select a at time zone 'UTC' as b", `SELECT redshift_emulator.timezone('UTC', "a") AS "b"`],
    ['select nvl(a, b)', 'SELECT coalesce("a", "b") AS "nvl"'],
    ['select nvl2(a, 1, 2)', 'SELECT CASE WHEN ("a") IS NOT NULL THEN 1 ELSE 2 END AS "nvl2"'],
    ['select a::varchar(3)', 'SELECT redshift_emulator.cast_varchar("a", 3) AS "a"'],
    ["select 'a'::int", `SELECT CAST('a' AS integer) AS "int4"`],
    [
      'select a::super, b::double precision',
      'SELECT redshift_emulator.to_super("a") AS "a", CAST("b" AS double precision) AS "b"',
    ],
    [
      "select a from t where b like 'x%'",
      `SELECT "a" AS "a" FROM "t" WHERE (redshift_emulator.exact("b") LIKE redshift_emulator.exact('x%'))`,
    ],
    [
      'select a from t minus select b from u',
      '(SELECT "a" AS "a" FROM "t") EXCEPT (SELECT "b" AS "b" FROM "u")',
    ],
    ['select top 2 a from t', 'SELECT "a" AS "a" FROM "t" LIMIT 2'],
    ['select dateadd(day, 1, a)', `SELECT redshift_emulator.dateadd('day', 1, "a") AS "dateadd"`],
    [
      'select count(*), count(distinct a)',
      'SELECT pg_catalog.count(*) AS "count", pg_catalog.count(DISTINCT "a") AS "count"',
    ],
    [
      "select listagg(a, ',') within group (order by b desc)",
      `SELECT CAST(pg_catalog.string_agg(redshift_emulator.exact("a"), ',' ORDER BY "b" DESC) AS bpchar) AS "listagg"`,
    ],
    [
      'select row_number() over (partition by a order by b)',
      'SELECT pg_catalog.row_number() OVER (PARTITION BY "a" ORDER BY "b") AS "row_number"',
    ],
    ['with x as (select 1 a) select * from x', 'WITH "x" AS (SELECT 1 AS "a") SELECT * FROM "x"'],
    [
      'select x.* from t x left join u on x.a = u.a',
      'SELECT "x".* FROM ("t" AS "x" LEFT JOIN "u" ON ("x"."a" = "u"."a"))',
    ],
    ['select a between 1 and 2 or not b', 'SELECT (("a" BETWEEN 1 AND 2) OR (NOT "b")) AS "?column?"'],
    [
      'select (1, 2) in (select a, b from t)',
      'SELECT ((1, 2) IN (SELECT "a" AS "a", "b" AS "b" FROM "t")) AS "?column?"',
    ],
  ])('%s', (sql, expected) => {
    expect(render(sql)).toBe(expected)
  })

  it('puts parameters in as untyped constants', () => {
    expect(render('select :a::int, :b', { a: '1', b: "o'x" })).toBe(
      `SELECT CAST('1' AS integer) AS "int4", 'o''x' AS "?column?"`,
    )
  })

  it('keeps names of 127 bytes apart that PostgreSQL would cut off to the same', () => {
    const [a, b] = [`${'x'.repeat(126)}a`, `${'x'.repeat(126)}b`]
    const [first, second] = [postgresName(a), postgresName(b)]
    expect(first).not.toBe(second)
    expect(Buffer.byteLength(first)).toBeLessThanOrEqual(63)
    expect(redshiftName(first)).toBe(a)
    expect(postgresName('short')).toBe('short')
    expect(Buffer.byteLength(postgresName('ü'.repeat(60)))).toBeLessThanOrEqual(63)
  })
})

describe('refused', () => {
  it.each([
    ['select nosuch(a)', 'the function nosuch'],
    ["select to_char(a, 'x', 'y')", 'function to_char does not exist with 3 arguments'],
    ['select now()', 'Specified types or functions'],
    ['select generate_series(1, 2)', 'Specified types or functions'],
    ['select ctid from t', 'column "ctid" does not exist'],
    ['select sum(*)', 'syntax error at or near "*"'],
    ['select row_number()', 'window function row_number requires an OVER clause'],
    ['select lower(distinct a)', 'DISTINCT or WITHIN GROUP in lower'],
    ['select :a', 'syntax error at or near ":"'],
  ])('%s', (sql, message) => {
    expect(() => render(sql)).toThrow(message)
  })

  it('says when it is the emulator that does not know', () => {
    expect(() => render('select nosuch(a)')).toThrow(UnknownToEmulator)
    expect(() => render('select now()')).not.toThrow(UnknownToEmulator)
  })
})

describe('what a statement reads', () => {
  const names = (sql: string) =>
    collectReferences(parse(sql)).tables.map(({ schema, name }) => [schema, name].filter(Boolean).join('.'))
  it.each([
    ['select 1', []],
    ['select * from a, s.b join c on true', ['a', 's.b', 'c']],
    ['select (select max(x) from a) from b where exists (select 1 from c)', ['a', 'b', 'c']],
    ['with a as (select * from b) select * from a', ['b']],
    ['with a as (select * from b) select * from s.a', ['b', 's.a']],
    ['select * from (with a as (select 1 x) select * from a) q, a', ['a']],
    ['select * from a union select * from b', ['a', 'b']],
  ])('%s', (sql, expected) => {
    expect(names(sql)).toEqual(expected)
  })
})
