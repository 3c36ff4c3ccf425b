import { MillraceError } from '../../../lib/errors.ts'
import { quoteTable } from '../../../lib/sql.ts'
import { fromClause } from '../../source/catalog.ts'
import {
  type Column,
  comparable,
  comparableText,
  type TableDefinition,
  type TableName,
  tableLabel,
} from '../../source/table.ts'
import { readByKeys, readDigests, readRows } from '../../source/verify-read.ts'
import { column, joined, type KeyTerm, output, type VerifySide } from '../../source/verify-sql.ts'
import type { Comparison } from '../destination.ts'
import { marksDeleted, SOFT_DELETE_COLUMN } from '../names.ts'
import { parseTypeName } from '../type-name.ts'
import { readTarget, type TargetColumn, type TargetTable } from './catalog.ts'
import type { Sessions } from './sessions.ts'

/** `Destination.compare`: both sides write a row as PostgreSQL does, the source's values as the destination stores them. */
export async function openComparison(
  sessions: Sessions,
  target: TableName,
  definition: TableDefinition,
  encoding: string,
  signal: AbortSignal,
): Promise<Comparison> {
  const table = await sessions.use(signal, (session) => readTarget(session, target))
  if (!table) throw missing(`destination table ${tableLabel(target)}`)
  const { source, destination } = comparedSides(definition, table, encoding)
  return {
    source,
    rangesAtOnce: 1,
    keysAtOnce: 5_000,
    digests: (slices, abort) =>
      sessions.use(abort, (session) => readDigests(session.query, destination, slices)),
    rows: (slices, limit, abort) =>
      sessions.use(abort, (session) => readRows(session.query, destination, slices, limit)),
    byKeys: (keys, abort) => sessions.use(abort, (session) => readByKeys(session.query, destination, keys)),
    same: (a, b) => a === b,
  }
}

const CHECKSUM = `coalesce(bit_xor(h), 0) || ' ' || coalesce(sum(h >> 32), 0)`

/**
 * How the two sides are read. Throws `DestinationChanged` when the destination lacks a column.
 *
 * @param encoding of the source; a destination is always in UTF-8
 */
export function comparedSides(
  definition: TableDefinition,
  table: TargetTable,
  encoding: string,
): { source: VerifySide; destination: VerifySide } {
  const pairs = definition.columns.map((own) => {
    const there = table.columns.find(({ name }) => name === own.name)
    if (!there)
      throw missing(`column ${JSON.stringify(own.name)} of destination table ${tableLabel(table.name)}`)
    return { own, there }
  })
  const keys = definition.key.map((name) => {
    const pair = pairs.find(({ own }) => own.name === name)
    if (!pair) throw new MillraceError('Internal', `key column ${JSON.stringify(name)} is not replicated`)
    return pair
  })
  const types = keys.map(({ own, there }) => orderedAs(own, there))
  const isOrdered = types.every((type) => type !== undefined)
  const isSoft = marksDeleted(
    table.columns.map(({ name }) => name),
    definition.columns.map(({ name }) => name),
  )
  // What stands between the texts tells one key from another.
  const keyText = joined(keys.flatMap(({ own }) => [output(own.name), `E'\\x01'`]))
  const side = (which: 'source' | 'destination', columns: readonly string[], hashOf: Hash) => ({
    hash: hashOf(rowText(columns)),
    checksum: CHECKSUM,
    order: isOrdered
      ? types.map((type, index) => ({
          term: column(definition.key[index] ?? ''),
          text: output(definition.key[index] ?? ''),
          bound: `::${type?.[which]}`,
        }))
      : undefined,
    scatter: `(${hashOf(keyText)} & 4294967295)`,
    key: keys.map(({ own, there }) =>
      which === 'source' ? keyTerm(own) : keyTerm({ ...there, type: there.baseType ?? own.type }),
    ),
  })
  return {
    source: {
      from: fromClause(definition),
      where: '',
      ...side(
        'source',
        pairs.map(({ own, there }) => storedAs(own, there)),
        encoding === 'UTF8' ? hashOfText : hashOfUTF8,
      ),
    },
    destination: {
      from: quoteTable(table.name),
      where: isSoft ? `NOT ${column(SOFT_DELETE_COLUMN)}` : '',
      ...side(
        'destination',
        pairs.map(({ own }) => column(own.name)),
        hashOfText,
      ),
    },
  }
}

// Their order depends on nothing that could differ between two databases.
const ORDERED = new Set([
  'smallint',
  'integer',
  'bigint',
  'numeric',
  'uuid',
  'date',
  'boolean',
  'bytea',
  'timestamp without time zone',
  'timestamp with time zone',
  'time without time zone',
])
const INTEGERS = new Set(['smallint', 'integer', 'bigint'])

/** Types that both sides order a key column by, alike; undefined where they may not. */
function orderedAs(own: Column, there: TargetColumn): { source: string; destination: string } | undefined {
  const [from, to] = [parseTypeName(own.baseType), parseTypeName(there.baseType)]
  const same = from.name === to.name || (INTEGERS.has(from.name) && INTEGERS.has(to.name))
  const isArray = from.array || to.array || own.typeKind === 'array'
  if (!same || isArray || !ORDERED.has(from.name)) return undefined
  return { source: from.name, destination: to.name }
}

/** A row is found by its key's own operator, and so by its index. */
function keyTerm(of: Pick<Column, 'name' | 'type' | 'equals' | 'comparedAs'>): KeyTerm {
  return {
    text: output(of.name),
    place: comparable(of, column(of.name)),
    equals: of.equals,
    wanted: (text) => comparableText(of, `(${text})`),
  }
}

const TEXTS = new Set(['text', 'character varying'])

/** The source's value as the destination's column holds it: what a number or a document looks like depends on the type. */
export function storedAs(own: Column, there: TargetColumn): string {
  const name = column(own.name)
  const to = parseTypeName(there.baseType)
  const same = there.baseType === own.type || there.baseType === own.baseType
  if (same || !to.builtIn || TEXTS.has(to.name)) return name
  return `CASE WHEN ${name} IS NULL THEN NULL ELSE format('%s', ${name})::${there.baseType} END`
}

// concat() writes each value as its type does, and takes a third of the time of a whole row's text. What stands behind each
// value tells NULL from the empty text, and one column from the next.
function rowText(columns: readonly string[]): string {
  return joined(
    columns.flatMap((one) => [
      one,
      // IS NULL would be true for a composite value of nothing but NULLs.
      `CASE WHEN ${one} IS NOT DISTINCT FROM NULL THEN E'\\x01' ELSE E'\\x02' END`,
    ]),
  )
}

type Hash = (text: string) => string

/** Of the text's bytes in the server's encoding. */
const hashOfText: Hash = (text) => `hashtextextended((${text}) COLLATE "C", 0)`

/**
 * The same number as a server in UTF-8 has for the text. Before PostgreSQL 18 no function hashes a bytea by itself; the hash
 * of a row of one value is that value's.
 */
const hashOfUTF8: Hash = (text) => `hash_record_extended(ROW(convert_to(${text}, 'UTF8')), 0)`

function missing(what: string): MillraceError {
  return new MillraceError(
    'DestinationChanged',
    `${what} is not there: apply a TableBackfill with destinationTable Drop, which makes the table anew`,
  )
}
