import { comparable, comparableText } from '../../source/table.ts'
import { column, type KeyTerm, type OrderTerm, output } from '../../source/verify-sql.ts'
import { parseTypeName } from '../type-name.ts'
import { type ColumnPair, isWritten, storedAs } from './comparison-text.ts'

/** How a row of the source is found by one column of its key: by the key's own operator, and so by its index. */
export function sourceKey({ own, there }: ColumnPair): KeyTerm {
  const isOther = isWritten(own, there)
  return {
    // As the destination writes the same value.
    text: isOther ? `format('%s', ${storedAs(own, there)})` : output(own.name),
    place: comparable(own, column(own.name)),
    equals: own.equals,
    wanted: (text) => comparableText(own, isOther ? `((${text})::${there.baseType})` : `(${text})`),
  }
}

/** The same for the destination. */
export function destinationKey({ own, there }: ColumnPair): KeyTerm {
  const type = { type: there.baseType ?? own.type }
  return {
    text: output(there.name),
    place: column(there.name),
    equals: there.equals,
    wanted: (text) => comparableText(type, `(${text})`),
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

/** What both sides are cut by; undefined where they may not order the key alike. */
export function orderOf(
  keys: readonly ColumnPair[],
): { source: OrderTerm[]; destination: OrderTerm[] } | undefined {
  const types = keys.map(orderedAs)
  if (!types.every((type) => type !== undefined)) return undefined
  const terms = (which: 'source' | 'destination') =>
    keys.map(({ own: { name } }, index) => ({
      term: column(name),
      text: output(name),
      bound: `::${types[index]?.[which]}`,
    }))
  return { source: terms('source'), destination: terms('destination') }
}

/** Types that both sides order a key column by, alike; undefined where they may not. */
function orderedAs({ own, there }: ColumnPair): { source: string; destination: string } | undefined {
  const [from, to] = [parseTypeName(own.baseType), parseTypeName(there.baseType)]
  const same = from.name === to.name || (INTEGERS.has(from.name) && INTEGERS.has(to.name))
  const isArray = from.array || to.array || own.typeKind === 'array'
  if (!same || isArray || !ORDERED.has(from.name)) return undefined
  return { source: from.name, destination: to.name }
}
