import { Client } from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'

export interface ComparedTable {
  readonly source: { readonly schema: string; readonly name: string }
  readonly destination: { readonly schema: string; readonly name: string }
  /** Columns that identify a row; none: all of them do. */
  readonly key: readonly string[]
  /** Columns to compare; all of the source's when not given. */
  readonly columns?: readonly string[]
}

export interface Comparison {
  readonly rows: number
  readonly different: number
  /** First differences, for a person: what, and the row as COPY text, cut short. */
  readonly examples: readonly string[]
}

export const MAX_EXAMPLES = 5
export const SETTINGS =
  '-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c timezone=UTC -c statement_timeout=0'

/**
 * Compares a table of two PostgreSQL servers row by row, to the letter, each under one snapshot. Streams both sides in
 * one order, so that memory does not depend on the table.
 */
export async function compareTable(
  sourceUrl: string,
  destinationUrl: string,
  table: ComparedTable,
): Promise<Comparison> {
  const source = new Client({ connectionString: sourceUrl, options: SETTINGS })
  const destination = new Client({ connectionString: destinationUrl, options: SETTINGS })
  for (const client of [source, destination]) client.on('error', () => {}) // shows in the next query
  await Promise.all([source.connect(), destination.connect()])
  try {
    const columns = table.columns ?? (await columnNames(source, table.source))
    const key = table.key.length > 0 ? table.key : columns
    return await merge(
      copyLines(source, query(table.source, key, columns)),
      copyLines(destination, query(table.destination, key, columns)),
    )
  } finally {
    await Promise.all([source.end(), destination.end()])
  }
}

async function columnNames(client: Client, table: { schema: string; name: string }): Promise<string[]> {
  const result = await client.query<{ attname: string }>(
    `SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
    [quoteTable(table)],
  )
  return result.rows.map((row) => row.attname)
}

// The hash of the key orders both sides alike, whatever their collations are.
function query(
  table: { schema: string; name: string },
  key: readonly string[],
  columns: readonly string[],
): string {
  const keyText = key.map((name) => `${quoteIdentifier(name)}::text`).join(', ')
  const list = columns.map((name) => quoteIdentifier(name)).join(', ')
  return `COPY (SELECT md5(ROW(${keyText})::text) AS k, ${list} FROM ${quoteTable(table)} ORDER BY 1, ${keyText}) TO STDOUT`
}

// Not node:readline, which also ends lines at U+2028, a character like any other in a row. A line may be larger than many
// chunks, so each chunk is looked at once.
export async function* copyLines(client: Client, sql: string): AsyncGenerator<string> {
  let begun: Buffer[] = []
  for await (const chunk of client.query(copyTo(sql)) as AsyncIterable<Buffer>) {
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const last = chunk.subarray(start, end)
      yield (begun.length === 0 ? last : Buffer.concat([...begun, last])).toString('utf8')
      begun = []
      start = end + 1
    }
    if (start < chunk.length) begun.push(Buffer.from(chunk.subarray(start)))
  }
}

async function merge(
  source: AsyncGenerator<string>,
  destination: AsyncGenerator<string>,
): Promise<Comparison> {
  let rows = 0
  let different = 0
  const examples: string[] = []
  const differ = (what: string, line: string) => {
    different += 1
    if (examples.length < MAX_EXAMPLES) examples.push(`${what}: ${line.slice(33, 233)}`)
  }
  let [a, b] = await Promise.all([source.next(), destination.next()])
  while (!a.done || !b.done) {
    const keyA = a.done ? undefined : a.value.slice(0, 32)
    const keyB = b.done ? undefined : b.value.slice(0, 32)
    if (keyA !== undefined && (keyB === undefined || keyA < keyB)) {
      differ('only in the source', a.value as string)
      rows += 1
      a = await source.next()
    } else if (keyB !== undefined && (keyA === undefined || keyB < keyA)) {
      differ('only in the destination', b.value as string)
      b = await destination.next()
    } else {
      if (a.value !== b.value) differ('different', `${a.value} <> ${(b.value as string).slice(33)}`)
      rows += 1
      ;[a, b] = await Promise.all([source.next(), destination.next()])
    }
  }
  return { rows, different, examples }
}
