import { MillraceError } from '../../../lib/errors.ts'
import { fromClause } from '../../source/catalog.ts'
import { type TableDefinition, type TableName, tableLabel } from '../../source/table.ts'
import { inOrder, type RowDigest, toListing } from '../../source/verify-read.ts'
import { joined, type VerifySide } from '../../source/verify-sql.ts'
import type { Comparison } from '../destination.ts'
import { marksDeleted, SOFT_DELETE_COLUMN } from '../names.ts'
import { readTarget, type TargetTable } from './catalog.ts'
import {
  type ComparedColumn,
  type ComparedInput,
  comparedColumns,
  destinationParts,
  sourceParts,
} from './comparison-columns.ts'
import { keyOf, orderOf } from './comparison-key.ts'
import {
  digestStatement,
  hashNumber,
  keysStatements,
  rowsStatement,
  type WarehouseSide,
} from './comparison-sql.ts'
import { sameValues } from './comparison-values.ts'
import type { RedshiftContext } from './context.ts'
import { MAX_STATEMENT_BYTES, type TextRow } from './data-api.ts'
import { foldName, quoteName, quoteTableName } from './names.ts'

/** So many ranges have short bounds, and results of a few kilobytes. */
const RANGES = 64
/** Rows that are fetched for one bracket. */
const KEYS = 1_000
/** The same where a row can have up to 64 KB, three times over. */
const LONG_KEYS = 250
/** Bytes of a statement, with some to spare. */
const ROOM = MAX_STATEMENT_BYTES - 10_000

/** Stands for the values of a row that is there more than once; no row has so few. */
const TWICE = '[]'

type Context = Pick<RedshiftContext, 'store' | 'rules' | 'policy'>

/** `Destination.compare`: both sides write the text of a row as it was loaded, and hash that. */
export async function openComparison(
  { store, rules, policy }: Context,
  target: TableName,
  definition: TableDefinition,
  signal: AbortSignal,
): Promise<Comparison> {
  const table = await readTarget(store, target, signal)
  if (!table) throw missing(`destination table ${tableLabel(target)}`)
  const inputs = comparedInputs(definition, rules(definition), table)
  const columns = comparedColumns(inputs, policy)
  const { source, destination } = comparedSides(definition, table, inputs, columns)
  const kinds = columns.map(({ kind }) => kind)
  const query = (sql: string, abort: AbortSignal) => store.query(sql, 'millrace verify', abort)
  return {
    source,
    rangesAtOnce: RANGES,
    keysAtOnce: kinds.includes('super') ? LONG_KEYS : KEYS,
    async digests(slices, abort) {
      const rows = await query(digestStatement(destination, slices), abort)
      return inOrder(
        slices,
        rows.map((row) => ({
          slice: Number(row.b),
          rows: Number(row.n),
          checksum: `${whole(row.s)} ${whole(row.s2)}`,
        })),
      )
    },
    async rows(slices, limit, abort) {
      const rows = await query(rowsStatement(destination, slices, limit), abort)
      return toListing(rows, destination.key.length, slices, limit)
    },
    async byKeys(wanted, abort) {
      const statements = keysStatements(destination, wanted, ROOM)
      const results = await Promise.all(statements.map((sql) => query(sql, abort)))
      const found = new Map<string, RowDigest>()
      for (const row of results.flat()) {
        const values = destination.values.map((_, index) => row[`x${index}`] ?? null)
        const one = toRow(row, destination, JSON.stringify(values))
        const text = JSON.stringify(one.key)
        // Redshift enforces no key.
        found.set(text, found.has(text) ? { ...one, hash: TWICE } : one)
      }
      return [...found.values()]
    },
    same: (a, b) => sameValues(kinds, a, b),
  }
}

function toRow(row: TextRow, { key }: WarehouseSide, hash: string): RowDigest {
  return { key: key.map((_, index) => row[`k${index}`] ?? ''), hash, version: '', slice: 0 }
}

/** A sum without the point that some types of one have. */
const whole = (text: string | null | undefined) => (text ?? '0').replace(/\..*$/, '')

function comparedInputs(
  definition: TableDefinition,
  rules: ReturnType<Context['rules']>,
  table: TargetTable,
): ComparedInput[] {
  return definition.columns.map((column, index) => {
    const rule = rules[index]
    const there = table.columns.find(({ name }) => name === foldName(column.name))
    if (!rule || !there) {
      throw missing(`column ${JSON.stringify(column.name)} of destination table ${tableLabel(table.name)}`)
    }
    if (!there.type) {
      throw new MillraceError(
        'UnsupportedServer',
        `spec.verify: column ${JSON.stringify(column.name)} of destination table ${tableLabel(table.name)} has type ${there.typeText}, which Millrace does not know: apply a TableBackfill with destinationTable Drop, which makes the table anew`,
        { field: 'spec.verify' },
      )
    }
    return { column, rule, type: there.type }
  })
}

/** How the two sides are read. */
export function comparedSides(
  definition: TableDefinition,
  table: TargetTable,
  inputs: readonly ComparedInput[],
  columns: readonly ComparedColumn[],
): { source: VerifySide; destination: WarehouseSide } {
  const keys = definition.key.map((name) => {
    const index = inputs.findIndex(({ column }) => column.name === name)
    const [input, column] = [inputs[index], columns[index]]
    if (!input || !column) {
      throw new MillraceError('Internal', `key column ${JSON.stringify(name)} is not replicated`)
    }
    return { input, column, ...keyOf(input, column) }
  })
  const order = orderOf(keys.map(({ input }) => input))
  const hash = `md5(convert_to(${joined(sourceParts(columns))}, 'UTF8'))`
  const keyColumns = keys.map(({ column }) => column)
  const keyHash = `md5(convert_to(${joined(sourceParts(keyColumns))}, 'UTF8'))`
  const isSoft = marksDeleted(
    table.columns.map(({ name }) => name),
    definition.columns.map(({ name }) => foldName(name)),
  )
  return {
    source: {
      from: fromClause(definition),
      where: '',
      hash,
      checksum: `coalesce(sum(${ownNumber('h', 0)}), 0) || ' ' || coalesce(sum(${ownNumber('h', 1)}), 0)`,
      order: order?.source,
      scatter: ownNumber(keyHash, 0),
      key: keys.map(({ source }) => source),
      values: columns.map(({ sourceValue }) => sourceValue),
    },
    destination: {
      table: quoteTableName(table.name),
      where: isSoft ? `NOT COALESCE(t.${quoteName(SOFT_DELETE_COLUMN)}, FALSE)` : '',
      hash: `MD5(${destinationParts(columns)})`,
      order: order?.destination,
      scatter: hashNumber(`MD5(${destinationParts(keyColumns)})`, 0),
      key: keys.map(({ destination }) => destination),
      values: columns.map(({ destinationValue }) => destinationValue),
    },
  }
}

/** `hashNumber` in SQL of the source. */
function ownNumber(hash: string, place: 0 | 1): string {
  return `('x' || substr(${hash}, ${place * 8 + 1}, 8))::bit(32)::bigint`
}

function missing(what: string): MillraceError {
  return new MillraceError(
    'DestinationChanged',
    `${what} is not there: apply a TableBackfill with destinationTable Drop, which makes the table anew`,
  )
}
