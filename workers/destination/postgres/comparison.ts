import { MillraceError } from '../../../lib/errors.ts'
import { quoteTable } from '../../../lib/sql.ts'
import { fromClause } from '../../source/catalog.ts'
import { type TableDefinition, type TableName, tableLabel } from '../../source/table.ts'
import { readByKeys, readDigests, readRows } from '../../source/verify-read.ts'
import { column, joined, type VerifySide } from '../../source/verify-sql.ts'
import type { Comparison } from '../destination.ts'
import { marksDeleted, SOFT_DELETE_COLUMN } from '../names.ts'
import { readTarget, type TargetTable } from './catalog.ts'
import { destinationKey, orderOf, sourceKey } from './comparison-key.ts'
import { destinationValue, rowText, sourceValue } from './comparison-text.ts'
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
  const order = orderOf(keys)
  const isSoft = marksDeleted(
    table.columns.map(({ name }) => name),
    definition.columns.map(({ name }) => name),
  )
  const [ownHash, hash] = [encoding === 'UTF8' ? hashOfText : hashOfUTF8, hashOfText]
  const [ownKeys, otherKeys] = [keys.map(sourceKey), keys.map(destinationKey)]
  return {
    source: {
      from: fromClause(definition),
      where: '',
      hash: ownHash(rowText(pairs.map((pair) => sourceValue(pair, encoding)))),
      checksum: CHECKSUM,
      order: order?.source,
      scatter: scatterOf(
        ownHash,
        ownKeys.map(({ text }) => text),
      ),
      key: ownKeys,
    },
    destination: {
      from: quoteTable(table.name),
      where: isSoft ? `NOT ${column(SOFT_DELETE_COLUMN)}` : '',
      hash: hash(rowText(pairs.map(destinationValue))),
      checksum: CHECKSUM,
      order: order?.destination,
      scatter: scatterOf(
        hash,
        otherKeys.map(({ text }) => text),
      ),
      key: otherKeys,
      mayRepeat: true,
    },
  }
}

function scatterOf(hash: Hash, keyTexts: readonly string[]): string {
  return `(${hash(joined(keyTexts.flatMap((text) => [text, `E'\\x01'`])))} & 4294967295)`
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
