import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { Destination, RowImage } from '../../workers/destination/destination.ts'
import { columnRules, type UnfitPolicy } from '../../workers/destination/redshift/columns.ts'
import { redshiftSettings } from '../../workers/destination/redshift/settings.ts'
import { isLarge, lineShare } from '../../workers/destination/redshift/types.ts'
import { readTableDefinition } from '../../workers/source/catalog.ts'
import { type Connection, openConnection } from '../../workers/source/connect.ts'
import { readChunk } from '../../workers/source/scan-read.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import { type RowDigest, readByKeys, readDigests, readRows } from '../../workers/source/verify-read.ts'
import { batch, chunkOf, claim, hard, nameOf, never, prepare } from './destination-postgres-fixture.ts'
import { type AnyWarehouse, openAnyWarehouse, useS3 } from './destination-redshift-fixture.ts'
import { targetOf } from './postgres-target.ts'
import { createDatabase } from './services.ts'

/** A value that fits as it is, or one that does not, with what Truncate makes of it. */
type Value = string | { readonly sql: string; readonly near: string | null }

const unfit = (sql: string, near: string | null = null): Value => ({ sql, near })
/** Bytes of a bytea, and of half a document, for each of so many large columns in one table. */
const BINARY = Math.floor(lineShare(19) / 2)
const LONG = 'x'.repeat(65_535)

const VALUES: Readonly<Record<string, readonly Value[]>> = {
  boolean: ['true', 'false'],
  smallint: ['-32768', '32767'],
  integer: ['-2147483648', '2147483647'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
  real: ['0.1', '-0', '3.4028235e38', '-1.5', unfit('1e-45', '0'), unfit('NaN'), unfit('-Infinity')],
  'double precision': [
    '0.1',
    '-0',
    '1.7976931348623157e308',
    unfit('5e-324', '0'),
    unfit('NaN'),
    unfit('Infinity'),
  ],
  numeric: [
    '0',
    '1.10',
    '-12345678901234567890.123456789012345678',
    '0.1000000000000000000000000',
    unfit('-0.0000000000000000015', '-0.000000000000000002'),
    unfit('0.00000000000000000049', '0.000000000000000000'),
    unfit('99999999999999999999.9999999999999999999'),
    unfit('123456789012345678901'),
    unfit('NaN'),
    unfit('Infinity'),
    unfit('-Infinity'),
  ],
  'numeric(12,2)': ['1.5', '-9999999999.99', '0.00', unfit('NaN')],
  'numeric(19,0)': ['9999999999999999999', '-9999999999999999999'],
  'numeric(38,10)': ['1234567890123456789012345678.0123456789', unfit('NaN')],
  'numeric(38,38)': ['0.12345678901234567890123456789012345600', unfit('NaN')],
  'numeric(5,5)': ['0.12345', '-0.99999'],
  'numeric(3,-2)': ['12300', '-99900'],
  'numeric(50,10)': [
    '1.5',
    '1234567890123456789012345678.5',
    unfit('1234567890123456789012345678901234567890.5'),
  ],
  'numeric(60,40)': [
    '1.5',
    unfit('1.1234567890123456789', '1.123456789012345679'),
    unfit('-1.12345678901234567850', '-1.123456789012345679'),
    unfit('99999999999999999999.9999999999999999999'),
  ],
  money: ['-92233720368547758.08', '1234.5'],
  text: [
    '',
    ' ',
    ' a ',
    '\\',
    '\\N',
    'NULL',
    `it's "quoted", and so on`,
    'a\tb\nc\rd\r\ne\be\ff\vg\u0001',
    'äöü 漢字 𝄞 e\u0301 \u00a0\u200b\ufeff',
    '\ufffe\uffff\u{1ffff}\ufdd0',
    '<~m',
    LONG,
    `${'x'.repeat(65_533)}é`,
    unfit('<~mr>', '<~ mr>'),
    unfit('a <~mr:3> b', 'a <~ mr:3> b'),
    unfit(`${LONG}y`, LONG),
    unfit(`${'x'.repeat(65_534)}é`, 'x'.repeat(65_534)),
    unfit(`${'x'.repeat(65_533)}漢`, 'x'.repeat(65_533)),
    unfit(`${'x'.repeat(65_532)}𝄞`, 'x'.repeat(65_532)),
    unfit('𝄞'.repeat(20_000), '𝄞'.repeat(16_383)),
  ],
  'character varying(5)': ['', 'abcde', 'a    ', '𝄞𝄞𝄞𝄞𝄞'],
  'character varying(20000)': ['𝄞', unfit('𝄞'.repeat(20_000), '𝄞'.repeat(16_383))],
  'character varying': ['', 'any'],
  'character(5)': ['', 'a', 'abcde', '漢'],
  bpchar: ['', 'a  ', 'abc'],
  '"char"': ['a', '\\', '\\377'],
  name: ['', "O'Reilly"],
  bytea: [
    '\\x00ff',
    '\\xdeadbeef5c4e',
    unfit('\\x'),
    unfit(`\\x${'ab'.repeat(200_000)}`, 'ab'.repeat(BINARY)),
  ],
  date: [
    '0001-01-01',
    '2000-02-29',
    '9999-12-31',
    unfit('10000-01-01', '9999-12-31'),
    unfit('infinity', '9999-12-31'),
    unfit('-infinity', '0001-01-01'),
    unfit('4713-01-01 BC', '0001-01-01'),
  ],
  'timestamp without time zone': [
    '0001-01-01 00:00:00',
    '2024-10-27 02:30:00.123456',
    '9999-12-31 23:59:59.999999',
    unfit('10000-01-01 00:00:00', '9999-12-31 23:59:59.999999'),
    unfit('4713-01-01 00:00:00 BC', '0001-01-01 00:00:00'),
    unfit('infinity', '9999-12-31 23:59:59.999999'),
    unfit('-infinity', '0001-01-01 00:00:00'),
  ],
  'timestamp(0) without time zone': ['2024-10-27 02:30:00'],
  'timestamp with time zone': [
    '0001-01-01 00:00:00+00',
    '2024-10-27 02:30:00.123456+02',
    '9999-12-31 23:59:59.999999+00',
    unfit('10000-01-01 00:00:00+00', '9999-12-31 23:59:59.999999+00'),
    unfit('0001-01-01 00:00:00+01', '0001-01-01 00:00:00+00'),
    unfit('-infinity', '0001-01-01 00:00:00+00'),
    unfit('infinity', '9999-12-31 23:59:59.999999+00'),
  ],
  'time without time zone': [
    '00:00:00',
    '12:34:56.789012',
    '23:59:59.999999',
    unfit('24:00:00', '23:59:59.999999'),
  ],
  'time with time zone': ['12:34:56.789012+05:30', '00:00:00-15:59', '24:00:00+00'],
  interval: ['-1 year 2 mons -3 days +04:05:06.789', '178000000 years', '00:00:00'],
  uuid: ['00000000-0000-0000-0000-000000000000', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'],
  jsonb: [
    'null',
    '{}',
    '{"b":1,  "a" : [1, 2.50, "x\\ny", true, null]}',
    '"\\ud834\\udd1e"',
    '1.00',
    JSON.stringify({ s: 'x'.repeat(65_535) }),
    JSON.stringify(Array.from({ length: 2 }, () => 'é"'.repeat(5_000))),
    unfit(JSON.stringify({ s: 'x'.repeat(65_536) })),
    unfit(JSON.stringify(['é'.repeat(32_768)])),
    unfit('{"<~mr:1>": 1}'),
    unfit(JSON.stringify(Array.from({ length: 1000 }, () => 'x'.repeat(2_000)))),
  ],
  json: [
    'null',
    '{"b":1,  "a" : 2}',
    '"\\ud834\\udd1e \\\\ud834"',
    '[1.5e3]',
    unfit('"\\u0000"'),
    unfit('{"a": "\\ud834"}'),
    unfit('["\\udd1e\\ud834"]'),
    unfit(JSON.stringify({ s: 'x'.repeat(65_536) })),
  ],
  'integer[]': ['{}', '{1,NULL,-3}', '{{1,2},{3,4}}', '[2:3]={1,2}'],
  'bigint[]': ['{9223372036854775807}'],
  'boolean[]': ['{t,f,NULL}'],
  'double precision[]': ['{1.5,-0,NaN,Infinity,1e300}'],
  'numeric(10,2)[]': ['{1.50,NULL}'],
  'text[]': ['{}', `{a,NULL,"NULL","","a b","\\"q\\"","\\\\","{}","é,"}`, unfit(`{${'x'.repeat(65_536)}}`)],
  'character(3)[]': ['{a,bc}'],
  'uuid[]': ['{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'],
  'timestamp with time zone[]': ['{"2024-01-01 00:00:00+02",infinity}'],
  'bytea[]': ['{"\\\\x00ff"}'],
  'jsonb[]': ['{"{\\"a\\": 1}",NULL}'],
  'inet[]': ['{10.0.0.1,10.0.0.0/8}'],
  'box[]': ['{(1,1),(0,0);(2,2),(1,1)}'],
  xml: ['', '<a b="c">d</a>', unfit(`<a>${LONG}</a>`, `<a>${'x'.repeat(65_532)}`)],
  'bit(3)': ['101'],
  'bit varying': ['1', '1'.repeat(100)],
  inet: ['10.0.0.1', '10.0.0.1/8', '::1', 'fe80::/10'],
  cidr: ['10.0.0.0/8', '::/0'],
  macaddr: ['08:00:2b:01:02:03'],
  macaddr8: ['08:00:2b:01:02:03:04:05'],
  point: ['(1,2)', '(-0,1e300)'],
  line: ['{1,2,3}'],
  lseg: ['[(0,0),(1,1)]'],
  box: ['(1,1),(0,0)'],
  path: ['[(0,0),(1,1)]'],
  polygon: ['((0,0),(1,1),(2,0))'],
  circle: ['<(0,0),1.5>'],
  tsvector: [`'a':1A,2 'b c':3`, ''],
  tsquery: [`'a' & !'b' <-> 'c':*`],
  jsonpath: ['$."a"[*]?(@ > 1)'],
  oid: ['4294967295'],
  xid: ['4294967295'],
  xid8: ['18446744073709551615'],
  pg_lsn: ['16/B374D848'],
  int4range: ['empty', '[1,5)', '(,)'],
  numrange: ['[1.10,2.20]'],
  tstzrange: ['["2024-01-01 00:00:00+02",infinity)'],
  int4multirange: ['{}', '{[1,3),[5,8)}'],
  'public.mood': ['ok', 'it is, "so" so'],
  'public.mood[]': ['{ok,NULL,"it is, \\"so\\" so"}'],
  'public.positive': ['1'],
  'public.short': ['abc'],
  'public.tags': ['{a,b}'],
  'public.amount': ['1.25', unfit('NaN')],
  'public.feeling': ['ok'],
  'public.address': ['(1,"a ""b"", c",2024-01-01)', '(,,)'],
  'public.address[]': ['{"(1,\\"a,b\\",2024-01-01)"}'],
  'public.textrange': ['[a,"b c")', 'empty'],
  'public.citext': ['Mixed', '', unfit(`${LONG}z`, LONG)],
  'public.hstore': ['"a"=>"1", "b"=>NULL', ''],
  'public.ltree': ['a.b.c'],
}

const USERS_TYPES = `
  create extension citext schema public; create extension hstore schema public; create extension ltree schema public;
  create type public.mood as enum ('ok', 'it is, "so" so');
  create domain public.positive as integer check (value > 0);
  create domain public.short as character varying(3);
  create domain public.tags as text[];
  create domain public.amount as numeric(12,2);
  create domain public.feeling as public.mood;
  create type public.address as (no integer, street text, since date);
  create type public.textrange as range (subtype = text);`

const types = Object.keys(VALUES)
const most = Math.max(...Object.values(VALUES).map((values) => values.length))
const givenValue = (type: string, row: number): Value => {
  const values = VALUES[type] ?? []
  return values[row] ?? values[0] ?? ''
}

useS3()
let warehouse: AnyWarehouse
let source: Connection
let definition: TableDefinition
/** Output text of every value, by row; row 0 is all NULL. */
let texts: (string | null)[][]

beforeAll(async () => {
  const from = await createDatabase('redshift_types')
  await query(from.url, USERS_TYPES)
  const columns = types.map((type, index) => `c${index} ${type}`)
  await query(from.url, `create table everything (id integer primary key, ${columns.join(', ')})`)
  await query(from.url, `alter database redshift_types set timezone to 'Asia/Kolkata'`)
  source = await openConnection(targetOf(from.url), { purpose: 'scan', signal: never })
  await source.query('insert into public.everything (id) values (0)')
  const places = types.map((type, index) => `$${index + 2}::${type}`)
  for (let row = 0; row < most; row += 1) {
    const values = types.map((type) => {
      const value = givenValue(type, row)
      return typeof value === 'string' ? value : value.sql
    })
    await source.query(`insert into public.everything values ($1, ${places.join(', ')})`, [
      String(row + 1),
      ...values,
    ])
  }
  definition = await readTableDefinition(source, { schema: 'public', name: 'everything' }, { field: 'f' })
  const rows = await source.query('select * from public.everything order by id')
  expect(definition.columns.filter(isLarge)).toHaveLength(19)
  texts = rows.map((row) => definition.columns.map(({ name }) => row[name] ?? null))
  warehouse = await openAnyWarehouse('redshift_types_warehouse')
}, 600_000)

afterAll(async () => {
  await source?.close()
  await warehouse?.close()
})

/** The rows of a table of the warehouse as text, by row. */
async function look(destination: Destination, name: string): Promise<unknown[][]> {
  void destination
  const rules = columnRules(definition, redshiftSettings({}))
  const rows: unknown[][] = []
  for (let from = 0; from < rules.length; from += 20) {
    const group = rules.slice(from, from + 20)
    const list = group.map(({ name: column, type }) => {
      if (type.kind === 'super')
        return `case when json_size("${column}") <= 65535 then md5(json_serialize("${column}")) else json_typeof("${column}") end || '/' || json_size("${column}")::varchar(20)`
      if (type.kind === 'varbyte') return `md5(to_hex("${column}")) || '/' || len("${column}")::varchar(20)`
      if (type.kind === 'varchar')
        return `case when len("${column}") > 300 then md5("${column}") else "${column}" end`
      return `"${column}"`
    })
    for (const [index, row] of (
      await warehouse.rows(`select ${list.join(', ')} from "public"."${name}" order by id`)
    ).entries()) {
      rows[index] = [...(rows[index] ?? []), ...row]
    }
  }
  return rows
}

describe.each(['Truncate', 'Null'] as const)('with onUnfit %s', (onUnfit: UnfitPolicy) => {
  const counts = new Map<string, Map<string, number>>()
  let destination: Destination

  beforeAll(async () => {
    destination = warehouse.open(`pipeline-${onUnfit}`, {
      spec: { onUnfit },
      onUnfit: (table, column, count) => {
        const columns = counts.get(table.name) ?? new Map<string, number>()
        columns.set(column, (columns.get(column) ?? 0) + count)
        counts.set(table.name, columns)
      },
    })
    await destination.ledger.open(never)
  })
  afterAll(() => destination?.close())

  const named = (name: string): TableDefinition => ({
    ...definition,
    name: `${name}_${onUnfit}`.toLowerCase(),
  })

  async function byChunk(): Promise<unknown[][]> {
    const renamed = named('by_chunk')
    const { fence } = await prepare(destination, renamed, { uid: `chunk-${onUnfit}`, action: 'Truncate' })
    const chunk = chunkOf(fence, renamed, [], {
      read: () =>
        readChunk(source, {
          definition,
          range: { kind: 'all' },
          expression: destination.columnExpression,
          copyOptions: destination.copyOptions,
          snapshot: '',
        }),
      beforeCommit: async () => {
        await source.query('COMMIT')
      },
    })
    expect((await destination.writeChunk(chunk, never)).rows).toBe(BigInt(most + 1))
    return look(destination, renamed.name)
  }

  function images(renamed: TableDefinition): RowImage[] {
    return texts.map((row) =>
      row.map((text, index) => {
        const column = renamed.columns[index]
        return text === null || !column ? null : destination.convertValue(column, text, renamed)
      }),
    )
  }

  async function byFlush(name: string, together: boolean): Promise<unknown[][]> {
    const renamed = named(name)
    await destination.ensureTable(nameOf(renamed), renamed, hard, never)
    let ledger = await claim(destination, renamed)
    const rows = images(renamed)
    for (const upserts of together ? [rows] : rows.map((row) => [row])) {
      const result = await destination.flush(batch(ledger, renamed, { upserts }), never)
      if (result.kind !== 'applied') throw new Error('missing')
      ledger = result.ledger
    }
    return look(destination, renamed.name)
  }

  it('gives the same by backfill, by file and by statement, and counts the same', async () => {
    const chunk = await byChunk()
    const file = await byFlush('by_file', true)
    const inline = await byFlush('by_inline', false)
    for (const [row, values] of chunk.entries()) {
      for (const [index, value] of values.entries()) {
        const what = `${definition.columns[index]?.type}, row ${row}`
        expect([what, file[row]?.[index]]).toEqual([what, value])
        expect([what, inline[row]?.[index]]).toEqual([what, value])
      }
    }
    const suffix = onUnfit.toLowerCase()
    const counted = counts.get(`by_file_${suffix}`)
    expect(Object.fromEntries(counts.get(`by_chunk_${suffix}`) ?? [])).toEqual(
      Object.fromEntries(counted ?? []),
    )
    for (const [index, type] of types.entries()) {
      const expected = Array.from({ length: most }, (_, row) => givenValue(type, row)).filter(
        (value) => typeof value !== 'string',
      )
      expect([type, counted?.get(`c${index}`) ?? 0]).toEqual([type, expected.length])
    }
  }, 900_000)

  it('compares equal to the source, in every type', async () => {
    const comparison = await destination.compare(nameOf(named('by_chunk')), definition, 'UTF8', never)
    const keys = texts.map((_, row) => [String(row)])
    const here = await readByKeys(source.query, comparison.source, keys)
    const there = new Map((await comparison.byKeys(keys, never)).map((row) => [row.key[0], row.hash]))
    const unequal = new Set<string>()
    for (const { key, hash } of here) {
      const [own, found] = [JSON.parse(hash), JSON.parse(there.get(key[0] ?? '') ?? '[]')] as string[][]
      for (const [index, column] of definition.columns.entries()) {
        const wanted = (texts: string[] | undefined) =>
          JSON.stringify(definition.columns.map((_, place) => (place === index ? texts?.[index] : null)))
        const isSame = comparison.same(wanted(own), wanted(found))
        if (!isSame)
          unequal.add(`${column.type}: ${own?.[index]?.slice(0, 80)} ${found?.[index]?.slice(0, 80)}`)
      }
    }
    expect([...unequal]).toEqual([])
  }, 300_000)

  it('has the same digests as the source', async () => {
    // Of documents that is not certain; and without them, binary values might be larger.
    const columns = definition.columns.filter((column) => !isLarge(column))
    const some = { ...definition, columns }
    const comparison = await destination.compare(nameOf(named('by_chunk')), some, 'UTF8', never)
    const ranges = [{ to: ['2'] }, { from: ['2'], to: ['5'] }, { from: ['5'] }]
    for (const listed of [{ ranges }, { scattered: 4, picked: [0, 1, 2, 3] }]) {
      const text = ({ key, hash, slice }: RowDigest) => `${key} ${hash} ${slice}`
      const limit = { rows: 1000, keyBytes: 1_000_000 }
      const own = await readRows(source.query, comparison.source, listed, limit)
      const others = await comparison.rows(listed, limit, never)
      expect([own.isWhole, others.isWhole]).toEqual([true, true])
      expect(others.rows.map(text).sort()).toEqual(own.rows.map(text).sort())
      for (const less of [
        { ...limit, rows: 2 },
        { ...limit, keyBytes: 2 },
      ]) {
        const cut = await Promise.all([
          readRows(source.query, comparison.source, listed, less),
          comparison.rows(listed, less, never),
        ])
        expect(cut.map(({ isWhole, rows }) => [isWhole, rows.length])).toEqual([
          [false, 2],
          [false, 2],
        ])
      }
    }
    for (const slices of [{ ranges: [{}] }, { ranges }, { scattered: 4, picked: [0, 1, 2, 3] }]) {
      const [own, others] = [
        await readDigests(source.query, comparison.source, slices),
        await comparison.digests(slices, never),
      ]
      expect(others).toEqual(own)
      expect(own.reduce((sum, { rows }) => sum + rows, 0)).toBe(texts.length)
    }
  }, 300_000)

  it('makes of each what the mapping says', () => {
    const renamed = named('judged')
    for (const [index, column] of renamed.columns.entries()) {
      if (index === 0) continue
      const type = types[index - 1] ?? ''
      for (let row = 0; row < most; row += 1) {
        const value = givenValue(type, row)
        const text = texts[row + 1]?.[index] ?? ''
        const converted = destination.convertValue(column, text, renamed)
        const what = `${type}: ${text.slice(0, 60)}`
        if (typeof value === 'string') expect([what, converted === null]).toEqual([what, false])
        else expect([what, converted]).toEqual([what, onUnfit === 'Null' ? null : value.near])
      }
    }
  })
})

it('stops at what does not fit with onUnfit Fail, by either way, and names the column', async () => {
  const destination = warehouse.open('pipeline-fail', { spec: { onUnfit: 'Fail' } })
  await destination.ledger.open(never)
  const renamed = { ...definition, name: 'by_fail' }
  for (const [index, column] of renamed.columns.entries()) {
    const type = types[index - 1] ?? ''
    const row = (VALUES[type] ?? []).findIndex((value) => typeof value !== 'string')
    if (row < 0) continue
    expect(() => destination.convertValue(column, texts[row + 1]?.[index] ?? '', renamed)).toThrow(
      expect.objectContaining({
        code: 'ValueRejected',
        message: expect.stringContaining(`"${column.name}"`),
      }),
    )
  }
  const { fence } = await prepare(destination, renamed, { uid: 'chunk-fail', action: 'Truncate' })
  const chunk = chunkOf(fence, renamed, [], {
    read: () =>
      readChunk(source, {
        definition,
        range: { kind: 'all' },
        expression: destination.columnExpression,
        copyOptions: destination.copyOptions,
        snapshot: '',
      }),
  })
  await expect(destination.writeChunk(chunk, never)).rejects.toMatchObject({ code: 'ValueRejected' })
  await destination.close()
}, 300_000)
