import type { Random } from '../../torture/random.ts'
import { between, shuffled } from '../random.ts'
import { ident, literal } from '../sql.ts'
import { anyValue, type FuzzColumn, type FuzzTable, refusesAtOnce } from './table.ts'

// The statements of the workload, decided by a random source alone.

/** A change of one table. */
export type Change =
  | { readonly kind: 'statement'; readonly sql: string }
  /** Rows go, and come back, perhaps with each other's keys. */
  | { readonly kind: 'swap'; readonly sql: string; readonly exchange: boolean }
  | { readonly kind: 'copy'; readonly sql: string; readonly lines: readonly string[] }
  /** Without a savepoint before it: one of a partitioned table in a subtransaction stops the table. */
  | { readonly kind: 'truncate'; readonly sql: string }
  /** Statements that are rolled back to a savepoint. */
  | { readonly kind: 'regret'; readonly sql: readonly string[] }

/** The table without those that inherit from it, or with its partitions. */
export const rowsOf = ({ partitioned, sql }: FuzzTable): string => (partitioned ? sql : `only ${sql}`)

/** Names of all columns that are written. */
export const namesOf = ({ columns }: FuzzTable): string => columns.map(({ name }) => ident(name)).join(', ')

/** An INSERT of so many rows; those whose key is there are left out where that can be said. */
export function insertion(random: Random, table: FuzzTable, count: number): string {
  if (table.columns.length === 0) return `insert into ${table.sql} default values`
  const row = () => `(${table.columns.map((column) => literal(anyValue(random, column))).join(', ')})`
  const rows = Array.from({ length: count }, row).join(', ')
  const unless = refusesAtOnce(table) ? ' on conflict do nothing' : ''
  return `insert into ${table.sql} (${namesOf(table)}) overriding system value values ${rows}${unless}`
}

/** Any change of a table; sometimes none. */
export function anyChange(random: Random, table: FuzzTable): Change | undefined {
  const way = random.below(100)
  const keys = table.columns.filter(({ key }) => key)
  const others = table.columns.filter(({ key }) => !key)
  const some = (columns: readonly FuzzColumn[]) => shuffled(random, columns).slice(0, between(random, 1, 2))
  if (way < 22) return statement(insertion(random, table, between(random, 1, 7)))
  if (way < 45 && others.length > 0) return update(random, table, some(others), random.pick([1, 1, 1, 5]))
  if (way < 58 && table.key.length > 0) return update(random, table, some(keys), 1)
  if (way < 62 && table.columns.length > 0) return update(random, table, table.columns, 1)
  if (way === 62 && others.length > 0 && random.chance(0.3))
    return update(random, table, [random.pick(others)])
  if (way < 65 && table.columns.length > 0) return sameAgain(table)
  if (way < 77) return statement(deletion(table, random.pick([1, 1, 2, 4])))
  if (way < 87 && table.columns.length > 0)
    return {
      kind: 'swap',
      sql: `${deletion(table, 2)} returning ${namesOf(table)}`,
      exchange: random.chance(0.6),
    }
  if (way < 91 && table.key.length > 0) return negation(random, table)
  if (way < 92)
    return random.chance(0.12) ? { kind: 'truncate', sql: `truncate ${rowsOf(table)}` } : undefined
  if (way < 96 && table.columns.length > 0) return copy(random, table)
  const inserted = insertion(random, table, 2)
  const column = others.length > 0 ? random.pick(others) : undefined
  const updated = column ? [updateOf(random, table, [column], 3)] : []
  return { kind: 'regret', sql: [inserted, ...updated] }
}

const statement = (sql: string): Change => ({ kind: 'statement', sql })

const update = (random: Random, table: FuzzTable, columns: readonly FuzzColumn[], rows?: number): Change =>
  statement(updateOf(random, table, columns, rows))

function updateOf(random: Random, table: FuzzTable, columns: readonly FuzzColumn[], rows?: number): string {
  const set = columns.map((column) => `${ident(column.name)} = ${literal(anyValue(random, column))}`)
  const where = rows === undefined ? '' : ` where ${randomRows(table, rows)}`
  return `update ${rowsOf(table)} set ${set.join(', ')}${where}`
}

/** Writes rows anew with what they have: their large values are not in the log. */
function sameAgain(table: FuzzTable): Change {
  const set = table.columns.map(({ name }) => `${ident(name)} = ${ident(name)}`).join(', ')
  return statement(`update ${rowsOf(table)} set ${set} where ${randomRows(table, 3)}`)
}

/** Keys change sign, several in one statement. */
function negation(random: Random, table: FuzzTable): Change {
  const signed = /^(integer|bigint|smallint|numeric|double precision|public.d_int)$/
  const column = table.key.find(({ type }) => signed.test(type.sql))
  if (!column) return statement(insertion(random, table, 2))
  const name = ident(column.name)
  return statement(`update ${rowsOf(table)} set ${name} = -${name} where ${randomRows(table, 6)}`)
}

function copy(random: Random, table: FuzzTable): Change {
  const line = () => `${table.columns.map((column) => escaped(anyValue(random, column))).join('\t')}\n`
  return {
    kind: 'copy',
    sql: `copy ${table.sql} (${namesOf(table)}) from stdin`,
    lines: Array.from({ length: between(random, 1, 4) }, line),
  }
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

const escaped = (value: string | null): string =>
  value === null ? '\\N' : value.replaceAll(/[\\\n\r\t]/g, (char) => ESCAPES[char] ?? char)

const deletion = (table: FuzzTable, rows: number): string =>
  `delete from ${rowsOf(table)} where ${randomRows(table, rows)}`

const randomRows = (table: FuzzTable, count: number): string =>
  `(tableoid, ctid) in (select tableoid, ctid from ${rowsOf(table)} order by random() limit ${count})`
