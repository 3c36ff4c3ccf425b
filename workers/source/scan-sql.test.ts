import { describe, expect, it } from 'vitest'
import type { ChunkRange } from '../destination/ledger.ts'
import {
  boundariesQuery,
  copyStatement,
  medianQuery,
  rangeBounds,
  rangeCondition,
  setBounds,
} from './scan-sql.ts'
import type { Column, TableDefinition } from './table.ts'

const column = (name: string, type: string): Column => ({
  name,
  type,
  typeOid: 0,
  typeModifier: -1,
  typeKind: 'base',
  baseType: type,
  notNull: true,
})
const definition: TableDefinition = {
  schema: 'public',
  name: 'or"der',
  oid: 1,
  columns: [column('note', 'text'), column('a', 'integer'), column('b "x"', 'character varying(20)')],
  key: ['b "x"', 'a'],
  replicaIdentity: 'default',
  partitioned: false,
}
const block = (fromBlock: number, toBlock?: number): ChunkRange => ({
  kind: 'ctid',
  leaf: { schema: 's', name: 'leaf' },
  filenode: '1',
  fromBlock,
  ...(toBlock === undefined ? {} : { toBlock }),
})
const asItIs = (_column: Column, source: string) => source

describe('rangeCondition', () => {
  const one = [column('id', 'bigint')]
  const two = [column('b "x"', 'character varying(20)'), column('a', 'integer')]
  it.each<[ChunkRange, Column[], string]>([
    [{ kind: 'all' }, [], ''],
    [{ kind: 'key' }, one, ''],
    [{ kind: 'key', from: ['1'] }, one, `"id" >= current_setting('millrace.from_1')::bigint`],
    [{ kind: 'key', to: ['1'] }, one, `"id" < current_setting('millrace.to_1')::bigint`],
    [
      { kind: 'key', from: ['x', '1'], to: ['y', '2'] },
      two,
      `("b ""x""", "a") >= (current_setting('millrace.from_1')::character varying(20), current_setting('millrace.from_2')::integer) AND ("b ""x""", "a") < (current_setting('millrace.to_1')::character varying(20), current_setting('millrace.to_2')::integer)`,
    ],
    [block(7), [], `ctid >= current_setting('millrace.from_1')::tid`],
    [
      block(7, 9),
      [],
      `ctid >= current_setting('millrace.from_1')::tid AND ctid < current_setting('millrace.to_1')::tid`,
    ],
  ])('%j', (range, key, expected) => {
    expect(rangeCondition(range, key)).toBe(expected)
  })
})

describe('bounds', () => {
  it('are values of settings, never part of a statement', () => {
    const range: ChunkRange = { kind: 'key', from: [`o'clock`, '1'], to: ['', '2'] }
    expect(rangeBounds(range)).toEqual([
      { setting: 'millrace.from_1', value: `o'clock` },
      { setting: 'millrace.from_2', value: '1' },
      { setting: 'millrace.to_1', value: '' },
      { setting: 'millrace.to_2', value: '2' },
    ])
    expect(setBounds(rangeBounds(block(7, 9)))).toEqual({
      text: 'SELECT num_nulls(set_config($1, $2, true), set_config($3, $4, true))',
      values: ['millrace.from_1', '(7,0)', 'millrace.to_1', '(9,0)'],
    })
    expect(setBounds([])).toBeUndefined()
  })
})

describe('statements', () => {
  it('copies a key range from the table alone, in the order of the definition', () => {
    expect(copyStatement(definition, { kind: 'key' }, (_c, source) => `f(${source})`, '(FORMAT text)')).toBe(
      'COPY (SELECT f("note"), f("a"), f("b ""x""") FROM ONLY "public"."or""der") TO STDOUT (FORMAT text)',
    )
  })

  it('copies blocks from the leaf', () => {
    expect(copyStatement({ ...definition, partitioned: true }, block(0), asItIs, '')).toBe(
      `COPY (SELECT "note", "a", "b ""x""" FROM ONLY "s"."leaf" WHERE ctid >= current_setting('millrace.from_1')::tid) TO STDOUT`,
    )
  })

  it('copies a partitioned table with its partitions', () => {
    expect(copyStatement({ ...definition, partitioned: true }, { kind: 'all' }, asItIs, '')).toBe(
      'COPY (SELECT "note", "a", "b ""x""" FROM "public"."or""der") TO STDOUT',
    )
  })

  it('orders by the columns, not by their texts of the same name', () => {
    const odd = { ...definition, columns: [column('k2', 'text'), column('k1', 'text')], key: ['k2', 'k1'] }
    expect(boundariesQuery(odd, true)).toBe(
      'SELECT k1, k2 FROM (SELECT t."k2"::text AS k1, t."k1"::text AS k2, row_number() OVER (ORDER BY t."k2", t."k1") - 1 AS i, count(*) OVER () AS n FROM ONLY "public"."or""der" AS t TABLESAMPLE SYSTEM ($2::real)) AS sample WHERE i > 0 AND i * $1::bigint / n <> (i - 1) * $1::bigint / n ORDER BY i',
    )
    expect(boundariesQuery(odd, false)).not.toContain('TABLESAMPLE')
    expect(medianQuery(odd, { kind: 'key', from: ['x', 'y'] })).toBe(
      `SELECT t."k2"::text AS k1, t."k1"::text AS k2 FROM ONLY "public"."or""der" AS t WHERE ("k2", "k1") >= (current_setting('millrace.from_1')::text, current_setting('millrace.from_2')::text) ORDER BY t."k2", t."k1" OFFSET $1::bigint LIMIT 1`,
    )
  })
})
