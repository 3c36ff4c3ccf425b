import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import type { Random } from './random.ts'

/** A table of the random workload: small, awkward, with few keys so that everything meets everything. */
export interface TortureTable {
  readonly schema: string
  readonly name: string
  readonly key: readonly string[]
  readonly keyless: boolean
  readonly ddl: readonly string[]
  /** Columns that an update may set, with a generator of a literal or expression. */
  readonly values: Readonly<Record<string, (random: Random) => string>>
  /** Literals of one key, from a small space. */
  keyAt(index: number): readonly string[]
  readonly keySpace: number
}

const literal = (text: string) => `'${text.replaceAll("'", "''")}'`

const ODD_TEXTS = [
  '',
  ' ',
  'NULL',
  '\\N',
  '\\',
  'a\tb',
  'line\nbreak',
  '"q"',
  "it's",
  '{}',
  '0',
  '😀é\u2028x',
  '\u0001',
  'x'.repeat(300),
]

const oddText = (random: Random) => (random.chance(0.15) ? 'NULL' : literal(random.pick(ODD_TEXTS)))

/** Incompressible enough to be stored out of line, in one statement of moderate length. */
const large = (random: Random) =>
  random.chance(0.1)
    ? 'NULL'
    : `(SELECT string_agg(md5((${random.below(1e6)} + i)::text), '') FROM generate_series(1, ${100 + random.below(200)}) AS i)`

const number = (random: Random) =>
  random.pick([
    'NULL',
    '0',
    '-1',
    '1e20',
    '12345678901234567890.123456789',
    "'NaN'",
    '0.1',
    String(random.below(1000)),
  ])

const stamp = (random: Random) =>
  random.pick([
    'NULL',
    "'infinity'",
    "'-infinity'",
    "'0044-03-15 BC'",
    "'2026-01-01 00:00:00.000001+02'",
    'now()',
  ])

const json = (random: Random) =>
  random.pick(['NULL', `'{"a": [1, null, "x"]}'`, `'"\\u0041"'`, "'null'", "'1e400'", `'{"b":1,"a":2}'`])

/** Column of tables with a key; whoever makes the tables makes the sequence `torture.revision` too. */
export const REVISION = 'rev'

type Maker = (name: string) => TortureTable

function make(
  name: string,
  options: {
    key: readonly string[]
    columns: readonly string[]
    values: TortureTable['values']
    keyAt: TortureTable['keyAt']
    schema?: string
    after?: (table: string) => readonly string[]
    suffix?: string
    keyless?: boolean
  },
): TortureTable {
  const schema = options.schema ?? 'public'
  const table = quoteTable({ schema, name })
  const keyless = options.keyless ?? false
  // Each write gives a row another revision, so that no two versions of a row are the same.
  const [first = '', ...rest] = options.columns
  const columns = keyless ? options.columns : [first, `${REVISION} bigint`, ...rest]
  return {
    schema,
    name,
    key: options.key,
    keyless,
    ddl: [
      `CREATE SCHEMA IF NOT EXISTS ${quoteIdentifier(schema)}`,
      `CREATE TABLE ${table} (${columns.join(', ')})${options.suffix ?? ''}`,
      ...(options.after?.(table) ?? []),
    ],
    values: keyless ? options.values : { ...options.values, [REVISION]: () => `nextval('torture.revision')` },
    keyAt: options.keyAt,
    keySpace: 40,
  }
}

const MAKERS: readonly Maker[] = [
  (name) =>
    make(name, {
      key: ['id'],
      columns: ['id bigint PRIMARY KEY', 'n numeric', 'small text', 'big text', 'big2 text'],
      values: { n: number, small: oddText, big: large, big2: large },
      keyAt: (i) => [String(i - 10)],
      after: (table) => [
        `ALTER TABLE ${table} ALTER big SET STORAGE EXTERNAL, ALTER big2 SET STORAGE EXTERNAL`,
      ],
    }),
  (name) =>
    make(`${name} "odd" Ünïcode`, {
      schema: 'Select',
      key: ['b', 'A'],
      columns: [
        '"A" integer',
        'b text',
        '"order" jsonb',
        'at timestamptz',
        'tags text[]',
        'PRIMARY KEY (b, "A")',
      ],
      values: {
        order: json,
        at: stamp,
        tags: (r) => r.pick(['NULL', "'{}'", `'{a,NULL,"b c","q\\"x"}'`, "'{{1,2},{3,4}}'"]),
      },
      keyAt: (i) => [literal(['', ' ', 'a', 'B', 'é', 'z\t'][i % 6] ?? ''), String(Math.floor(i / 6))],
    }),
  (name) =>
    make(name, {
      key: ['id', 'region'],
      columns: [
        'id integer NOT NULL',
        'region integer NOT NULL',
        'v double precision',
        'big text',
        'PRIMARY KEY (id, region)',
      ],
      suffix: ' PARTITION BY RANGE (region)',
      values: { v: (r) => r.pick(['NULL', "'NaN'", "'-0'", "'Infinity'", '1e-300', '0.1']), big: large },
      keyAt: (i) => [String(i % 13), String(i % 4)],
      after: (table) => [
        `CREATE TABLE ${table.replace(/"$/, '_low"')} PARTITION OF ${table} FOR VALUES FROM (0) TO (2)`,
        `CREATE TABLE ${table.replace(/"$/, '_high"')} PARTITION OF ${table} FOR VALUES FROM (2) TO (9)`,
      ],
    }),
  (name) =>
    make(name, {
      key: ['code'],
      columns: ['code uuid NOT NULL', 'flag boolean', 'raw bytea', 'big text', 'd date', 'tm time'],
      values: {
        flag: (r) => r.pick(['NULL', 'true', 'false']),
        raw: (r) => r.pick(['NULL', "''", "'\\x00ff10'", "'\\x5c'"]),
        big: large,
        d: (r) => r.pick(['NULL', "'infinity'", "'2026-02-28'", "'0001-01-01 BC'"]),
        tm: (r) => r.pick(['NULL', "'24:00:00'", "'00:00:00.000001'"]),
      },
      keyAt: (i) => [`md5('${i}')::uuid`],
      after: (table) => [
        `CREATE UNIQUE INDEX ON ${table} (code)`,
        `ALTER TABLE ${table} REPLICA IDENTITY USING INDEX ${quoteIdentifier(`${name}_code_idx`)}`,
      ],
    }),
  (name) =>
    make(name, {
      key: ['k'],
      columns: ['k text PRIMARY KEY', 'v text', 'big text'],
      values: { v: oddText, big: large },
      keyAt: (i) => [literal(`key ${i}`)],
      after: (table) => [`ALTER TABLE ${table} REPLICA IDENTITY FULL`],
    }),
]

const KEYLESS: Maker = (name) =>
  make(name, {
    key: ['a'],
    keyless: true,
    columns: ['a integer', 'b text'],
    values: { b: oddText },
    keyAt: (i) => [String(i % 5)],
    after: (table) => [`ALTER TABLE ${table} REPLICA IDENTITY FULL`],
  })

/** What a warehouse holds as it is; what it does not hold is tested elsewhere. */
const WAREHOUSE: readonly Maker[] = [
  (name) =>
    make(name, {
      key: ['id'],
      columns: ['id bigint PRIMARY KEY', 'n numeric(20,4)', 'small text', 'big text', 'at timestamptz'],
      values: {
        n: (r) => r.pick(['NULL', '0', '-1.5', '123456789012.25']),
        small: oddText,
        big: large,
        at: (r) => r.pick(['NULL', 'now()', "'2026-01-01 00:00:00.000001+02'"]),
      },
      keyAt: (i) => [String(i - 10)],
      after: (table) => [`ALTER TABLE ${table} ALTER big SET STORAGE EXTERNAL`],
    }),
  (name) =>
    make(name, {
      key: ['region', 'code'],
      columns: [
        'region integer',
        'code text',
        'flag boolean',
        'd date',
        'big text',
        'PRIMARY KEY (region, code)',
      ],
      values: {
        flag: (r) => r.pick(['NULL', 'true', 'false']),
        d: (r) => r.pick(['NULL', "'2026-02-28'"]),
        big: large,
      },
      keyAt: (i) => [String(i % 4), literal(`code ${i}`)],
    }),
  (name) =>
    make(name, {
      key: ['k'],
      columns: ['k text PRIMARY KEY', 'v text', 'big text'],
      values: { v: oddText, big: large },
      keyAt: (i) => [literal(`key ${i}`)],
      after: (table) => [`ALTER TABLE ${table} REPLICA IDENTITY FULL`],
    }),
]

/** Some tables that are the same to a warehouse. */
export const warehouseTables = (random: Random, count: number) => pickTables(random, count, WAREHOUSE)

/** Some tables of different shapes, the same ones for the same seed. */
export function randomTables(random: Random, count: number, keyless: boolean): TortureTable[] {
  const tables = pickTables(random, count, MAKERS)
  return keyless ? [...tables, KEYLESS('without_key')] : tables
}

function pickTables(random: Random, count: number, from: readonly Maker[]): TortureTable[] {
  const makers = [...from].sort(() => random.next() - 0.5)
  return Array.from({ length: count }, (_, i) => (makers[i % makers.length] as Maker)(`t${i}`))
}
