import type { Column } from '../../source/table.ts'
import { type KeyTerm, type OrderTerm, column as ownColumn } from '../../source/verify-sql.ts'
import { parseTypeName } from '../type-name.ts'
import type { ComparedColumn, ComparedInput } from './comparison-columns.ts'
import type { WarehouseKey, WarehouseSide } from './comparison-sql.ts'
import { castLiteral, literal } from './literals.ts'
import { quoteName } from './names.ts'
import type { RedshiftKind, RedshiftType } from './redshift-type.ts'

/** Texts of these kinds are what the source's type reads again. */
const READ_AGAIN: ReadonlySet<RedshiftKind> = new Set([
  'boolean',
  'smallint',
  'integer',
  'bigint',
  'numeric',
  'date',
  'timestamp',
  'timestamptz',
  'time',
  'char',
  'varchar',
])
const WHOLE: ReadonlySet<RedshiftKind> = new Set(['smallint', 'integer', 'bigint'])

/** How a row is found by one column of its key: through an index where the column's own text can be read again. */
export function keyOf(
  { column, type }: ComparedInput,
  compared: ComparedColumn,
): { source: KeyTerm; destination: WarehouseKey } {
  // The compared text of a longer one is its hash.
  const isText = type.kind === 'varchar'
  const text = isText ? plainKeyText(column) : compared.source
  const there = isText ? `t.${quoteName(column.name)}` : compared.destination
  const zone = type.kind === 'timestamptz' ? '+00' : ''
  // A whole number may stand there with a fraction of nothing.
  const via = type.kind === 'numeric' ? '::numeric' : ''
  const isReadAgain = READ_AGAIN.has(type.kind) && sourceType(column) !== 'bytea'
  if (!isReadAgain) {
    return {
      source: { text, place: text, wanted: (wanted) => `${wanted}::text` },
      destination: { text: there, place: there, literal },
    }
  }
  return {
    source: {
      text,
      place: ownColumn(column.name),
      equals: column.equals,
      wanted: (wanted) => `(${zone === '' ? wanted : `(${wanted} || '${zone}')`})${via}::${column.type}`,
    },
    destination: {
      text: there,
      place: `t.${quoteName(column.name)}`,
      literal: (wanted) => keyLiteral(type, `${wanted}${zone}`),
    },
  }
}

function plainKeyText(column: Column): string {
  const value = ownColumn(column.name)
  return sourceType(column) === 'bytea' ? `encode(${value}, 'hex')` : `format('%s', ${value})`
}

function keyLiteral(type: RedshiftType, text: string): string {
  if (WHOLE.has(type.kind)) return /^-?\d+$/.test(text) ? text : castLiteral(type, text)
  return type.kind === 'varchar' || type.kind === 'char' ? literal(text) : castLiteral(type, text)
}

const MOST_ORDERED = 4
/** Types that both order by their values, and the kinds that hold them. */
const ORDERED: Readonly<Record<string, readonly RedshiftKind[]>> = {
  smallint: ['smallint', 'integer', 'bigint'],
  integer: ['integer', 'bigint'],
  bigint: ['bigint'],
  numeric: ['numeric'],
  date: ['date'],
  'timestamp without time zone': ['timestamp'],
  'timestamp with time zone': ['timestamptz'],
  // Small letters and digits, in places that are always the same.
  uuid: ['char'],
}

/** How both sides cut a table by its key; undefined where they do not order it alike. */
export function orderOf(
  keys: readonly ComparedInput[],
): { source: OrderTerm[]; destination: NonNullable<WarehouseSide['order']> } | undefined {
  const isOrdered = ({ column, type }: ComparedInput) => ORDERED[sourceType(column)]?.includes(type.kind)
  if (keys.length > MOST_ORDERED || !keys.every(isOrdered)) return undefined
  return {
    source: keys.map(({ column }) => {
      const term = ownColumn(column.name)
      const type = sourceType(column)
      const text =
        type === 'timestamp with time zone'
          ? `to_char(${term} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'`
          : `${term}::text`
      return { term, text, bound: `::${type}` }
    }),
    destination: keys.map(({ column, type }) => ({
      term: `t.${quoteName(column.name)}`,
      literal: (bound) => keyLiteral(type, bound),
    })),
  }
}

function sourceType(column: Column): string {
  const { name, builtIn, array } = parseTypeName(column.typeKind === 'domain' ? column.baseType : column.type)
  return builtIn && !array ? name : ''
}
