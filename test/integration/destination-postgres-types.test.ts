import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { Destination, RowImage } from '../../workers/destination/destination.ts'
import { readTableDefinition } from '../../workers/source/catalog.ts'
import { type Connection, openConnection, type TextRow } from '../../workers/source/connect.ts'
import { readChunk } from '../../workers/source/scan-read.ts'
import {
  batch,
  chunkOf,
  claim,
  hard,
  nameOf,
  never,
  openOn,
  prepare,
} from './destination-postgres-fixture.ts'
import { hostileSettings, unharmed } from './hostile-settings.ts'
import { targetOf } from './postgres-target.ts'
import { createDatabase } from './services.ts'

// Values as SQL literals, of every type that PostgreSQL has and of some that it gets from its users.
const BUILT_IN: Record<string, string[]> = {
  boolean: ['true', 'false'],
  smallint: ['-32768', '32767'],
  integer: ['-2147483648', '2147483647'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
  numeric: [
    '0',
    '1.10',
    '-0.000000000000000000000000000001',
    'NaN',
    'Infinity',
    `1${'0'.repeat(200)}.${'1'.repeat(200)}`,
  ],
  'numeric(12,2)': ['1.5', '-9999999999.99', 'NaN'],
  'numeric(3,-2)': ['12300'],
  real: ['0.1', '-0', '1e-45', '3.4028235e38', 'NaN', '-Infinity'],
  'double precision': ['0.1', '-0', '5e-324', '1.7976931348623157e308', 'NaN', 'Infinity'],
  money: ['-92233720368547758.08', '1234.5'],
  text: [
    '',
    ' ',
    '\\',
    '\\N',
    'a\tb\nc\rd\be\ff\vg',
    `it's "quoted"`,
    'äöü 漢字 𝄞',
    '\u00a0',
    '{NULL}',
    'x'.repeat(10_000),
  ],
  'character varying(5)': ['', 'abcde', 'a    '],
  'character varying': ['', 'any'],
  'character(5)': ['', 'a', 'abcde'],
  character: ['', 'a'],
  bpchar: ['', 'a  ', 'abc'],
  '"char"': ['', 'a', '\\', '\\377'],
  name: ['', "O'Reilly"],
  bytea: ['', '\\x00ff', '\\xdeadbeef5c4e'],
  date: ['4713-01-01 BC', '2000-02-29', '5874897-12-31', 'infinity', '-infinity'],
  'time without time zone': ['00:00:00', '24:00:00', '12:34:56.789012'],
  'time(3) without time zone': ['12:34:56.7894'],
  'time with time zone': ['12:34:56.789012+05:30', '00:00:00-15:59'],
  'timestamp without time zone': [
    '4713-01-01 00:00:00 BC',
    '2024-10-27 02:30:00.123456',
    '294276-12-31 23:59:59.999999',
    'infinity',
  ],
  'timestamp(0) without time zone': ['2024-10-27 02:30:00.6'],
  'timestamp with time zone': ['4713-01-01 00:00:00+00 BC', '2024-10-27 02:30:00.123456+02', '-infinity'],
  'timestamp(3) with time zone': ['2024-10-27 02:30:00.123456+02'],
  interval: ['-1 year 2 mons -3 days +04:05:06.789', '178000000 years', '00:00:00', '1 mon -1 day'],
  'interval day to second(2)': ['3 days 04:05:06.789'],
  'interval year to month': ['1 year 2 mons'],
  uuid: ['00000000-0000-0000-0000-000000000000', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'],
  json: ['null', '{"b":1,  "a" : 2, "b":3}', '"\\u0000"', '[1e400, -0.0]'],
  jsonb: ['null', '{"b":1,  "a" : 2, "b":3}', '"\\ud834\\udd1e"', '1.00'],
  xml: ['', '<a b="c">d</a>', 'no root &amp; all'],
  jsonpath: ['$.a[*] ? (@ > 1)'],
  'bit(3)': ['101'],
  bit: ['1'],
  'bit varying(8)': ['', '10101'],
  'bit varying': ['', '1'.repeat(100)],
  inet: ['10.0.0.1', '10.0.0.1/8', '::1', 'fe80::/10'],
  cidr: ['10.0.0.0/8', '::/0'],
  macaddr: ['08:00:2b:01:02:03'],
  macaddr8: ['08:00:2b:01:02:03:04:05'],
  point: ['(1,2)', '(-0,1e300)'],
  line: ['{1,2,3}'],
  lseg: ['[(0,0),(1,1)]'],
  box: ['(1,1),(0,0)'],
  path: ['[(0,0),(1,1)]', '((0,0),(1,1))'],
  polygon: ['((0,0),(1,1),(2,0))'],
  circle: ['<(0,0),1.5>'],
  tsvector: [`'a':1A,2 'b c':3`, ''],
  tsquery: [`'a' & !'b' <-> 'c':*`],
  oid: ['4294967295'],
  xid: ['4294967295'],
  xid8: ['18446744073709551615'],
  cid: ['1'],
  tid: ['(1,2)'],
  pg_lsn: ['16/B374D848'],
  pg_snapshot: ['10:20:10,14,15'],
  txid_snapshot: ['10:20:10,14,15'],
  int2vector: ['1 2 3'],
  oidvector: ['1 2 3'],
  int4range: ['empty', '[1,5)', '(,)'],
  int8range: ['[1,)'],
  numrange: ['[1.10,2.20]'],
  daterange: ['[2024-01-01,infinity)'],
  tsrange: ['["2024-01-01 00:00:00",)'],
  tstzrange: ['["2024-01-01 00:00:00+02","2024-01-02 00:00:00+02")'],
  int4multirange: ['{}', '{[1,3),[5,8)}'],
  tstzmultirange: ['{["2024-01-01 00:00:00+02","2024-01-02 00:00:00+02")}'],
  'integer[]': ['{}', '{1,NULL,3}', '{{1,2},{3,4}}', '[2:3]={1,2}'],
  'text[]': ['{}', `{a,NULL,"NULL","","a b","\\"q\\"","\\\\",{}}`.replace(',{}', ',"{}"')],
  'box[]': ['{(1,1),(0,0);(2,2),(1,1)}'],
  'timestamp with time zone[]': ['{"2024-01-01 00:00:00+02",infinity}'],
  'numeric(10,2)[]': ['{1.5,NULL}'],
  'bytea[]': ['{"\\\\x00ff"}'],
  'jsonb[]': ['{"{\\"a\\": 1}",NULL}'],
  'character(3)[]': ['{a,bc}'],
  'bit(3)[]': ['{101}'],
  regclass: ['pg_class', 'public.everything'],
  regtype: ['integer', 'public.mood'],
  regproc: ['now'],
  'regtype[]': ['{integer,public.mood}'],
}

const OF_USERS: Record<string, string[]> = {
  'public.mood': ['ok', 'it is, "so" so'],
  'public.mood[]': ['{ok,NULL,"it is, \\"so\\" so"}', '{{ok},{ok}}'],
  'public.positive': ['1'],
  'public.positive[]': ['{1,2}'],
  'public.short': ['abc'],
  'public.tags': ['{a,b}'],
  'public.feeling': ['ok'],
  'public.address': ['(1,"a ""b"", c",)', '(,,)'],
  'public.address[]': ['{"(1,\\"a,b\\",2024-01-01)"}'],
  'public.textrange': ['[a,"b c")', 'empty'],
  'public.citext': ['Mixed', ''],
  'public.citext[]': ['{A,a}'],
  'public.hstore': ['"a"=>"1", "b"=>NULL', ''],
  'public.ltree': ['a.b.c'],
  'public.cube': ['(1, 2),(3, 4)'],
  'public.isbn': ['978-0-393-04002-9'],
  'public."Od.d ""type"""': ['x'],
}

const TYPES = { ...BUILT_IN, ...OF_USERS }

const USERS_TYPES = `
  create extension citext schema public; create extension hstore schema public; create extension ltree schema public;
  create extension cube schema public; create extension isn schema public;
  create type public.mood as enum ('ok', 'it is, "so" so');
  create domain public.positive as integer check (value > 0);
  create domain public.short as character varying(3);
  create domain public.tags as text[];
  create domain public.feeling as public.mood;
  create type public.address as (no integer, street text, since date);
  create type public.textrange as range (subtype = text);
  create type public."Od.d ""type""" as enum ('x');`

let source: Connection
let destinationUrl: string
let destination: Destination

beforeAll(async () => {
  const from = await createDatabase('destination_types')
  await query(from.url, USERS_TYPES)
  const columns = Object.keys(TYPES).map((type, index) => `c${index} ${type}`)
  await query(from.url, `create table everything (id integer primary key, ${columns.join(', ')})`)
  // Row 0 is all NULL; row n has the n-th value of every type, or its first.
  const most = Math.max(...Object.values(TYPES).map((values) => values.length))
  const literal = (text: string) => `'${text.replaceAll(`'`, `''`)}'`
  const rows = Array.from({ length: most }, (_, n) => {
    const values = Object.values(TYPES).map((each) => literal(each[n] ?? each[0] ?? ''))
    return `(${n + 1}, ${values.join(', ')})`
  })
  await query(
    from.url,
    `insert into everything values ${rows.join(', ')}; insert into everything (id) values (0)`,
  )
  // Both sides have defaults that the settings of the sessions have to overcome, and not the same.
  await query(
    from.url,
    `${hostileSettings('destination_types')} alter database destination_types set timezone to 'Asia/Kolkata'`,
  )
  const to = await createDatabase('destination_types', 'destination')
  destinationUrl = unharmed(to.url)
  await query(to.url, hostileSettings('destination_types'))
  source = await openConnection(targetOf(from.url), { purpose: 'scan', signal: never })
  destination = openOn(to.url)
  await destination.ledger.open(never)
})

afterAll(async () => {
  await source.close()
  await destination.close()
})

/** Runs a query on the destination, in a session with Millrace's settings. */
async function look(sql: string, values?: string[]): Promise<TextRow[]> {
  const connection = await openConnection(targetOf(destinationUrl, { process: 'check' }), {
    purpose: 'query',
    signal: never,
  })
  try {
    return await connection.query(sql, values)
  } finally {
    await connection.close()
  }
}

const rowsOf = (table: string) => look(`select * from public.${table} order by id`)

async function definitionAs(name: string) {
  const definition = await readTableDefinition(
    source,
    { schema: 'public', name: 'everything' },
    { field: 'f' },
  )
  return { source: definition, renamed: { ...definition, name } }
}

describe.each(['lacks', 'has'])('a destination that %s the types of users', (types) => {
  beforeAll(async () => {
    if (types === 'has') await query(destinationUrl, USERS_TYPES)
  })

  async function columnTypes(name: string) {
    const rows = await look(
      `select format_type(atttypid, atttypmod) as type from pg_attribute
       where attrelid = to_regclass($1) and attnum > 1 order by attnum`,
      [`public.${name}`],
    )
    return rows.map(({ type }) => type)
  }

  it('has the same values by chunk and by flush, to the letter', async () => {
    const wanted = await source.query('select * from public.everything order by id')

    const chunked = await definitionAs(`by_chunk_${types}`)
    const { fence } = await prepare(destination, chunked.renamed, {
      uid: `append-${types}`,
      action: 'Truncate',
    })
    const chunk = chunkOf(fence, chunked.renamed, [], {
      read: () =>
        readChunk(source, {
          definition: chunked.source,
          range: { kind: 'all' },
          expression: destination.columnExpression,
          copyOptions: destination.copyOptions,
          snapshot: '',
        }),
      beforeCommit: async () => {
        await source.query('COMMIT')
      },
    })
    const written = await destination.writeChunk(chunk, never)
    expect(written.rows).toBe(BigInt(wanted.length))
    expect(await rowsOf(`by_chunk_${types}`)).toEqual(wanted)

    const found = await columnTypes(`by_chunk_${types}`)
    const expected = Object.keys(TYPES).map((type) => {
      if (type.startsWith('reg')) return type.endsWith('[]') ? 'text[]' : 'text'
      if (type === 'bit') return 'bit(1)'
      if (type === 'character') return 'character(1)'
      if (type === 'public.positive') return 'integer'
      if (type === 'public.short') return 'character varying(3)'
      if (type === 'public.tags') return 'text[]'
      if (type === 'public.feeling' && types === 'has') return 'public.mood'
      if (!type.startsWith('public.') || types === 'has') return type
      return type.endsWith('[]') ? 'text[]' : 'text'
    })
    expect(found).toEqual(expected)

    for (const way of ['inline', 'stage']) {
      const { renamed } = await definitionAs(`by_${way}_${types}`)
      await destination.ensureTable(nameOf(renamed), renamed, hard, never)
      const images = wanted.map(
        (row): RowImage =>
          renamed.columns.map((column) => {
            const text = row[column.name] ?? null
            return text === null ? null : destination.convertValue(column, text, renamed)
          }),
      )
      const first = await claim(destination, renamed)
      // As many more rows as make the batch go by way of a temporary table.
      const padding = Array.from(
        { length: way === 'stage' ? 1100 : 0 },
        (_, n): RowImage => [String(100_000 + n), ...renamed.columns.slice(1).map(() => null)],
      )
      const result = await destination.flush(
        batch(first, renamed, { upserts: [...images, ...padding] }),
        never,
      )
      expect(result.kind).toBe('applied')
      await query(destinationUrl, `delete from "by_${way}_${types}" where id >= 100000`)
      expect(await rowsOf(`by_${way}_${types}`)).toEqual(wanted)
    }
  })

  it('can be upserted by a chunk, which leaves equal rows alone', async () => {
    const { source: definition, renamed } = await definitionAs(`by_flush_${types}`)
    const wanted = await source.query('select * from public.everything order by id')
    const row = await claim(destination, renamed)
    await destination.ensureTable(nameOf(renamed), renamed, hard, never)
    const images = wanted.map((each): RowImage => renamed.columns.map(({ name }) => each[name] ?? null))
    await destination.flush(batch(row, renamed, { upserts: images }), never)
    const versions = () =>
      query<{ id: number; xmin: string }>(
        destinationUrl,
        `select id, xmin::text from "by_flush_${types}" order by id`,
      )
    await query(destinationUrl, `update "by_flush_${types}" set c0 = not c0 where id = 1`)
    await query(destinationUrl, `delete from "by_flush_${types}" where id = 2`)
    const before = await versions()
    const current = await destination.ledger.readTable(nameOf(renamed), never)
    if (!current) throw new Error('no row')
    const { fence } = await prepare(destination, renamed, {
      uid: `upsert-${types}`,
      action: 'DoNothing',
      row: current,
    })
    expect(await destination.ledger.readBackfill(`upsert-${types}`, never)).toMatchObject({ append: false })
    await destination.writeChunk(
      chunkOf(fence, renamed, [], {
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
      }),
      never,
    )
    expect(await rowsOf(`by_flush_${types}`)).toEqual(wanted)
    const after = await versions()
    expect(
      after.filter((each) => !before.some((old) => old.id === each.id && old.xmin === each.xmin)),
    ).toMatchObject([{ id: 1 }, { id: 2 }])
  })
})
