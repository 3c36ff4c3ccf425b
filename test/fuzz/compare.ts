import { Client, type CustomTypesConfig } from 'pg'
import { ident, literal } from './sql.ts'

// Says whether a destination table has the rows of its source, as often as the source has them. On purpose it uses nothing of
// the product: no quoting, no types, no comparison, or a fault in one of them would hide itself.

export interface ComparedTable {
  readonly schema: string
  readonly name: string
}

export interface Comparison {
  /** Rows of the source. */
  readonly rows: number
  /** What is different; undefined when nothing is. */
  readonly difference: string | undefined
}

export interface CompareOptions {
  /** A column may be missing in the destination as long as the source has no value in it: it comes with the next row. */
  readonly lateColumns?: boolean
}

interface ComparedColumn {
  readonly name: string
  readonly type: string
}

/** How values are written, each setting unlike its default of somewhere. */
const SETTINGS = {
  DateStyle: 'ISO, YMD',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  extra_float_digits: '3',
  bytea_output: 'hex',
  search_path: 'pg_catalog',
  lc_monetary: 'C',
  xmlbinary: 'base64',
  client_encoding: 'UTF8',
}

/** Ways to write the same values in which other differences show; for columns whose types are the same on both sides. */
const OTHER_SETTINGS = {
  DateStyle: 'SQL, DMY',
  IntervalStyle: 'iso_8601',
  TimeZone: 'Asia/Kathmandu',
  bytea_output: 'escape',
}

const SHOWN = 600

/** Compares all rows of one table by the text that each server writes of them. */
export async function compareTable(
  sourceUrl: string,
  destinationUrl: string,
  table: ComparedTable,
  options: CompareOptions = {},
): Promise<Comparison> {
  const source = await open(sourceUrl)
  try {
    const destination = await open(destinationUrl)
    try {
      return await compare(source, destination, table, options)
    } finally {
      await destination.end()
    }
  } finally {
    await source.end()
  }
}

async function compare(
  source: Client,
  destination: Client,
  table: ComparedTable,
  { lateColumns }: CompareOptions,
): Promise<Comparison> {
  const kind = await kindOf(source, table)
  if (kind === undefined) return { rows: 0, difference: 'the source has no such table' }
  // Rows of tables that inherit from a plain one are not its own; those of partitions are.
  const from = `${kind === 'p' ? '' : 'only '}${quoted(table)}`
  const wanted = await columnsOf(source, table)
  const found = await columnsOf(destination, table)
  const there = wanted.filter(({ name }) => found.some((other) => other.name === name))
  for (const { name } of wanted.filter((column) => !there.includes(column))) {
    const valued = lateColumns ? await countValues(source, from, name) : 1
    if (valued > 0) return { rows: 0, difference: `column ${ident(name)} is missing in the destination` }
  }
  const names = there.map(({ name }) => name)
  const expected = await rowsOf(source, from, names)
  const difference = differenceOf(expected, await rowsOf(destination, quoted(table), names))
  if (difference !== undefined) return { rows: expected.length, difference: `${difference} [${names}]` }
  const alike = there.filter((column) =>
    found.some(({ name, type }) => name === column.name && type === column.type),
  )
  const written = alike.map(({ name }) => name)
  await apply(source, OTHER_SETTINGS)
  await apply(destination, OTHER_SETTINGS)
  const other = differenceOf(
    await rowsOf(source, from, written),
    await rowsOf(destination, quoted(table), written),
  )
  return { rows: expected.length, difference: other && `${other} [${written}], under other settings` }
}

/** What two lists of rows differ by, whatever their order; a row that is there twice counts twice. */
export function differenceOf(expected: readonly string[], found: readonly string[]): string | undefined {
  const counts = new Map<string, number>()
  for (const row of expected) counts.set(row, (counts.get(row) ?? 0) + 1)
  for (const row of found) counts.set(row, (counts.get(row) ?? 0) - 1)
  const missing: string[] = []
  const extra: string[] = []
  let [lacking, surplus] = [0, 0]
  for (const [row, count] of counts) {
    if (count > 0) missing.push(row)
    if (count < 0) extra.push(row)
    lacking += Math.max(0, count)
    surplus += Math.max(0, -count)
  }
  if (lacking + surplus === 0) return undefined
  const example = [
    ...missing.slice(0, 1).map((row) => `missing ${cut(row)}`),
    ...extra.slice(0, 1).map((row) => `extra ${cut(row)}`),
  ]
  return `${lacking} of ${expected.length} rows are missing, ${surplus} are there that should not be: ${example.join('; ')}`
}

const cut = (text: string): string =>
  text.length > SHOWN ? `${text.slice(0, SHOWN)}... of ${text.length} characters` : text

const quoted = ({ schema, name }: ComparedTable): string => `${ident(schema)}.${ident(name)}`

/** Values stay the text that the server sent. */
const asSent = { getTypeParser: () => (value: unknown) => value } as unknown as CustomTypesConfig

async function open(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'fuzz compare', types: asSent })
  client.on('error', () => {})
  await client.connect()
  await apply(client, SETTINGS)
  return client
}

async function apply(client: Client, settings: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(settings)) await client.query(`set ${name} = ${literal(value)}`)
}

async function kindOf(client: Client, table: ComparedTable): Promise<string | undefined> {
  const { rows } = await client.query<{ kind: string }>(
    'select relkind as kind from pg_class where oid = to_regclass($1)',
    [quoted(table)],
  )
  return rows[0]?.kind
}

async function columnsOf(client: Client, table: ComparedTable): Promise<ComparedColumn[]> {
  const { rows } = await client.query<ComparedColumn>(
    `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
     where attrelid = to_regclass($1) and attnum > 0 and not attisdropped and attgenerated = '' order by attnum`,
    [quoted(table)],
  )
  return rows
}

async function rowsOf(client: Client, from: string, columns: readonly string[]): Promise<string[]> {
  const text = `select ${columns.map(ident).join(', ')} from ${from}`
  const { rows } = await client.query<(string | null)[]>({ text, rowMode: 'array' })
  return rows.map((row) => JSON.stringify(row))
}

async function countValues(client: Client, from: string, column: string): Promise<number> {
  const { rows } = await client.query<{ count: string }>(
    `select count(*) as count from ${from} where ${ident(column)} is not null`,
  )
  return Number(rows[0]?.count ?? 0)
}
