import { createHash } from 'node:crypto'
import type { Field } from '@aws-sdk/client-redshift-data'
import { Client } from 'pg'
import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import { type ComparedTable, type Comparison, copyLines, MAX_EXAMPLES, SETTINGS } from './compare.ts'
import type { WarehouseClient } from './warehouse.ts'

/** How a value of one type is asked for on both sides, and made comparable. */
interface Shape {
  readonly source: (column: string) => string
  readonly warehouse: (column: string) => string
  readonly canonical: (text: string) => string
}

const itself = (value: string) => value
const plain: Shape = { source: itself, warehouse: itself, canonical: itself }
const number: Shape = { ...plain, canonical: (text) => String(Number(text)) }
const json: Shape = {
  source: (column) => `to_jsonb(${column})`,
  // Of NULL it would make the document null.
  warehouse: (column) => `CASE WHEN ${column} IS NOT NULL THEN JSON_SERIALIZE(${column}) END`,
  canonical: (text) => JSON.stringify(JSON.parse(text), sortedKeys),
}
// Without trailing zeros of the fraction, which the two write differently.
const time: Shape = {
  ...plain,
  canonical: (text) => text.replace(/(\.\d*?)0+(?=$|[+-])/, '$1').replace(/\.(?=$|[+-])/, ''),
}

const SHAPES: Readonly<Record<string, Shape>> = {
  boolean: {
    source: (column) => `${column}::text`,
    warehouse: (column) => `CASE WHEN ${column} THEN 'true' WHEN NOT ${column} THEN 'false' END`,
    canonical: itself,
  },
  real: number,
  'double precision': number,
  // Without limits it has 18 digits behind the point there.
  numeric: { ...plain, source: (column) => `${column}::numeric(38,18)` },
  json: json,
  jsonb: json,
  bytea: {
    source: (column) => `encode(${column}, 'hex')`,
    warehouse: (column) => `TO_HEX(${column})`,
    canonical: (text) => text.toLowerCase(),
  },
  'timestamp without time zone': time,
  'timestamp with time zone': time,
  'time without time zone': time,
}

const shapeOf = (type: string): Shape => (type.endsWith('[]') ? json : (SHAPES[type] ?? plain))

/** Bytes of rows that are looked at together: a result may have 500 MB. */
const SLICE_BYTES = 64 * 1024 * 1024

/**
 * Compares a table of PostgreSQL with its copy in a warehouse, row by row, values as the reference of types says that
 * they are written. A row that is there twice counts as different: Redshift enforces no keys. Nothing may be written meanwhile.
 */
export async function compareWithWarehouse(
  sourceUrl: string,
  warehouse: WarehouseClient,
  table: ComparedTable,
  sliceBytes = SLICE_BYTES,
): Promise<Comparison> {
  const source = new Client({ connectionString: sourceUrl, options: SETTINGS })
  source.on('error', () => {}) // shows in the next query
  await source.connect()
  try {
    const columns = await columnsOf(source, table)
    const keyPlaces = table.key.map((name) => columns.findIndex((column) => column.name === name))
    const shapes = columns.map(({ type }) => shapeOf(type))
    const digest = (values: readonly (string | null)[]) => {
      const made = values.map((value, index) =>
        value === null ? null : (shapes[index] as Shape).canonical(value),
      )
      const key = JSON.stringify(keyPlaces.map((place) => made[place]))
      return { key, row: createHash('sha1').update(JSON.stringify(made)).digest('base64'), made }
    }

    const rows = new Map<string, string>()
    let bytes = 0
    const list = columns.map(({ name }, index) => (shapes[index] as Shape).source(quoteIdentifier(name)))
    for await (const line of copyLines(
      source,
      `COPY (SELECT ${list.join(', ')} FROM ${quoteTable(table.source)}) TO STDOUT`,
    )) {
      const { key, row } = digest(line.split('\t').map(fromCopy))
      rows.set(key, row)
      bytes += line.length
    }

    const result = { rows: rows.size, different: 0, examples: [] as string[] }
    const differ = (what: string, values: string) => {
      result.different += 1
      if (result.examples.length < MAX_EXAMPLES) result.examples.push(`${what}: ${values.slice(0, 200)}`)
    }
    const seen = new Set<string>()
    for (const sql of queries(table, columns, shapes, bytes / sliceBytes)) {
      for await (const fields of warehouse.rows(sql)) {
        const { key, row, made } = digest(fields.map(textOf))
        if (seen.has(key)) differ('twice in the destination', JSON.stringify(made))
        else if (!rows.has(key)) differ('only in the destination', JSON.stringify(made))
        else if (rows.get(key) !== row) differ('different in the destination', JSON.stringify(made))
        seen.add(key)
      }
    }
    for (const key of rows.keys()) if (!seen.has(key)) differ('only in the source', key)
    return result
  } finally {
    await source.end()
  }
}

interface ComparedColumn {
  readonly name: string
  readonly type: string
}

async function columnsOf(client: Client, { source, columns }: ComparedTable): Promise<ComparedColumn[]> {
  const result = await client.query<ComparedColumn>(
    `SELECT attname AS name, CASE WHEN atttypid = 'numeric'::regtype AND atttypmod >= 0 THEN 'numeric(p,s)'
            ELSE format_type(atttypid, NULL) END AS type
     FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
     ORDER BY attnum`,
    [quoteTable(source)],
  )
  return result.rows.filter(({ name }) => columns === undefined || columns.includes(name))
}

/** A name as Redshift keeps it: small letters, as far as they are ASCII. */
export function foldedName(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
}

/** Queries that together read the table once, in parts that a result has room for. */
function queries(
  { destination, key }: ComparedTable,
  columns: readonly ComparedColumn[],
  shapes: readonly Shape[],
  slices: number,
): string[] {
  const name = (text: string) => quoteIdentifier(foldedName(text))
  const list = columns.map((column, index) => (shapes[index] as Shape).warehouse(name(column.name)))
  const sql = `SELECT ${list.join(', ')} FROM ${name(destination.schema)}.${name(destination.name)}`
  if (slices <= 1) return [sql]
  const digits = slices <= 16 ? 1 : 2
  const hash = `LEFT(MD5(${key.map((column) => `${name(column)}::VARCHAR`).join(` || '/' || `)}), ${digits})`
  return Array.from({ length: 16 ** digits }, (_, index) => {
    return `${sql} WHERE ${hash} = '${index.toString(16).padStart(digits, '0')}'`
  })
}

function textOf(field: Field): string | null {
  if (field.isNull) return null
  const value = field.stringValue ?? field.longValue ?? field.doubleValue ?? field.booleanValue
  return String(value)
}

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' }

function fromCopy(text: string): string | null {
  if (text === '\\N') return null
  return text.replaceAll(/\\(.)/g, (_, character: string) => ESCAPES[character] ?? character)
}

function sortedKeys(_: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}
