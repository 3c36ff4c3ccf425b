import { MillraceError } from '../../../lib/errors.ts'
import { quoteTable } from '../../../lib/sql.ts'
import { fromClause } from '../../source/catalog.ts'
import type { Column, TableDefinition, TableName } from '../../source/table.ts'
import { tableLabel } from '../../source/table.ts'
import { readByKeys, readDigest, readRows } from '../../source/verify-read.ts'
import { column, type KeyTerm, orderedTerm, textTerm, type VerifySide } from '../../source/verify-sql.ts'
import type { Comparison } from '../destination.ts'
import { SOFT_DELETE_COLUMN } from '../names.ts'
import { parseTypeName } from '../type-name.ts'
import { readTarget, type TargetColumn, type TargetTable } from './catalog.ts'
import type { Sessions } from './sessions.ts'

/** `Destination.compare`: both sides write a row as PostgreSQL does, the source's values as the destination stores them. */
export async function openComparison(
  sessions: Sessions,
  target: TableName,
  definition: TableDefinition,
  signal: AbortSignal,
): Promise<Comparison> {
  const table = await sessions.use(signal, (session) => readTarget(session, target))
  if (!table) throw missing(`destination table ${tableLabel(target)}`)
  const { source, destination } = comparedSides(definition, table)
  return {
    source,
    digest: (range, abort) => sessions.use(abort, (session) => readDigest(session.query, destination, range)),
    rows: (range, abort) => sessions.use(abort, (session) => readRows(session.query, destination, range)),
    byKeys: (keys, abort) => sessions.use(abort, (session) => readByKeys(session.query, destination, keys)),
  }
}

/** How the two sides are read. Throws `DestinationChanged` when the destination lacks a column. */
export function comparedSides(
  definition: TableDefinition,
  table: TargetTable,
): { source: VerifySide; destination: VerifySide } {
  const pairs = definition.columns.map((own) => {
    const there = table.columns.find(({ name }) => name === own.name)
    if (!there)
      throw missing(`column ${JSON.stringify(own.name)} of destination table ${tableLabel(table.name)}`)
    return { own, there }
  })
  const terms = definition.key.map((name) => {
    const pair = pairs.find(({ own }) => own.name === name)
    if (!pair) throw new MillraceError('Internal', `key column ${JSON.stringify(name)} is not replicated`)
    return keyTerms(pair.own, pair.there)
  })
  const isSoft = table.columns.some(({ name }) => name === SOFT_DELETE_COLUMN)
  return {
    source: {
      from: fromClause(definition),
      where: '',
      columns: pairs.map(({ own, there }) => storedAs(own, there)),
      key: terms.map(({ source }) => source),
    },
    destination: {
      from: quoteTable(table.name),
      where: isSoft ? `NOT ${column(SOFT_DELETE_COLUMN)}` : '',
      columns: pairs.map(({ own }) => column(own.name)),
      key: terms.map(({ destination }) => destination),
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

function keyTerms(own: Column, there: TargetColumn): { source: KeyTerm; destination: KeyTerm } {
  const [from, to] = [parseTypeName(own.baseType), parseTypeName(there.baseType)]
  const same = from.name === to.name || (INTEGERS.has(from.name) && INTEGERS.has(to.name))
  const isArray = from.array || to.array || own.typeKind === 'array'
  if (!same || isArray || !ORDERED.has(from.name)) {
    return { source: textTerm(own.name), destination: textTerm(own.name) }
  }
  return { source: orderedTerm(own.name, from.name), destination: orderedTerm(own.name, to.name) }
}

const TEXTS = new Set(['text', 'character varying'])

/** The source's value as the destination's column holds it: what a number or a document looks like depends on the type. */
function storedAs(own: Column, there: TargetColumn): string {
  const name = column(own.name)
  const to = parseTypeName(there.baseType)
  const same = there.baseType === own.type || there.baseType === own.baseType
  if (same || !to.builtIn || TEXTS.has(to.name)) return name
  return `CASE WHEN ${name} IS NULL THEN NULL ELSE format('%s', ${name})::${there.baseType} END`
}

function missing(what: string): MillraceError {
  return new MillraceError(
    'DestinationChanged',
    `${what} is not there: apply a TableBackfill with destinationTable Drop, which makes the table anew`,
  )
}
