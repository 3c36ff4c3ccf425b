import { describe, expect, it } from 'vitest'
import { digestStatement, keysStatements, rowsStatement, type WarehouseSide } from './comparison-sql.ts'

const term = (name: string) => ({ term: `t.${name}`, literal: (text: string) => text })
const key = (name: string) => ({ text: `TEXT(${name})`, place: `t.${name}`, literal: (text: string) => text })

const side = (names: readonly string[], more: Partial<WarehouseSide> = {}): WarehouseSide => ({
  table: '"s"."t"',
  where: '',
  hash: 'H',
  order: names.map(term),
  scatter: 'SCATTER',
  key: names.map(key),
  values: ['V'],
  ...more,
})

describe('digestStatement', () => {
  it('digests ranges that follow one another in one statement', () => {
    expect(
      digestStatement(side(['a']), {
        ranges: [
          { from: ['1'], to: ['5'] },
          { from: ['5'], to: ['9'] },
        ],
      }),
    ).toBe(
      'SELECT b, COUNT(*) AS n, SUM(STRTOL(SUBSTRING(h, 1, 8), 16)) AS s, SUM(STRTOL(SUBSTRING(h, 9, 8), 16)) AS s2 FROM (SELECT CASE WHEN t.a < 5 THEN 0 ELSE 1 END AS b, H AS h FROM "s"."t" AS t WHERE NOT (t.a < 1) AND (t.a < 9) AND t.a >= 1 AND t.a <= 9) AS r GROUP BY b',
    )
  })

  it('compares keys of several columns one after the other', () => {
    expect(digestStatement(side(['a', 'b', 'c']), { ranges: [{ to: ['1', '2', '3'] }] })).toContain(
      'WHERE (t.a < 1 OR (t.a = 1 AND (t.b < 2 OR (t.b = 2 AND (t.c < 3))))) AND t.a <= 1',
    )
  })

  it('digests all of a table by a hash of its key, but for rows that are softly deleted', () => {
    expect(
      digestStatement(side(['a'], { order: undefined, where: 'NOT D' }), {
        scattered: 4,
        picked: [0, 1, 2, 3],
      }),
    ).toContain('SELECT SCATTER / 1073741824 AS b, H AS h FROM "s"."t" AS t WHERE NOT D) AS r GROUP BY b')
  })
})

describe('rowsStatement', () => {
  const limit = { rows: 10, keyBytes: 500 }

  it('lists ranges that follow one another, as many rows as there is room for', () => {
    expect(rowsStatement(side(['a']), { ranges: [{ to: ['5'] }, { from: ['5'], to: ['9'] }] }, limit)).toBe(
      'SELECT *, CASE WHEN total >= 500 THEN 1 END AS cut FROM (SELECT r.k0, r.h, r.b, SUM(OCTET_LENGTH(r.k0)) OVER (ORDER BY r.k0 ROWS UNBOUNDED PRECEDING) AS total, OCTET_LENGTH(r.k0) AS own FROM (SELECT TEXT(a) AS k0, H AS h, CASE WHEN t.a < 5 THEN 0 ELSE 1 END AS b FROM "s"."t" AS t WHERE (t.a < 9) AND t.a <= 9) AS r) AS s WHERE total - own < 500 LIMIT 11',
    )
  })

  it('lists parts by a hash of the key in one scan', () => {
    expect(rowsStatement(side(['a']), { scattered: 65_536, picked: [1, 7] }, limit)).toContain(
      'SELECT TEXT(a) AS k0, H AS h, SCATTER / 65536 AS b FROM "s"."t" AS t WHERE SCATTER / 65536 IN (1, 7)) AS r',
    )
  })

  it('lists parts of a range', () => {
    const parts = { scattered: 65_536, picked: [1, 7], within: { from: ['5'] } }
    expect(rowsStatement(side(['a']), parts, limit)).toContain(
      'WHERE NOT (t.a < 5) AND t.a >= 5 AND SCATTER / 65536 IN (1, 7)) AS r',
    )
  })
})

describe('keysStatements', () => {
  it('asks for keys of one column by IN', () => {
    expect(keysStatements(side(['a']), [['1'], ['2']], 10_000)).toEqual([
      'SELECT * FROM (SELECT TEXT(a) AS k0, V AS x0, ROW_NUMBER() OVER (PARTITION BY t.a ORDER BY t.a) AS n FROM "s"."t" AS t WHERE t.a IN (1, 2)) AS r WHERE n <= 2',
    ])
  })

  it('asks for keys of several columns', () => {
    expect(keysStatements(side(['a', 'b']), [['1', '2']], 10_000)[0]).toMatch(
      /WHERE \(\(t\.a = 1 AND t\.b = 2\)\)\) AS r WHERE n <= 2$/,
    )
  })

  it('makes no statement longer than there is room', () => {
    const keys = Array.from({ length: 500 }, (_, index) => [String(1_000_000 + index)])
    const statements = keysStatements(side(['a']), keys, 2_000)
    expect(statements.length).toBeGreaterThan(1)
    for (const sql of statements) expect(Buffer.byteLength(sql)).toBeLessThanOrEqual(2_000)
    expect(statements.join(' ').match(/\d{7}/g)).toHaveLength(500)
  })
})
