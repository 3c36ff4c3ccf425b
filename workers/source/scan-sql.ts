import { quoteIdentifier } from '../../lib/sql.ts'
import type { ChunkRange } from '../destination/ledger.ts'
import { fromClause } from './catalog.ts'
import { type Column, comparable, comparableText, type TableDefinition } from './table.ts'

/**
 * The SQL of a scan. Bounds of a range never stand in the text: they are settings of the session, set with parameters
 * and read with `current_setting()`. `COPY` takes no parameters, and a key is data of a person, which has no place in
 * the server's log; the text of all chunks of a table is the same, so they are one entry in `pg_stat_statements`.
 */
export interface Bound {
  /** Name of the setting. */
  readonly setting: string
  readonly value: string
}

/** Makes a column's text for the destination, out of the quoted column. */
export type ColumnExpression = (column: Column, source: string, table: TableDefinition) => string

/** A key column as far as comparing needs it. */
export type KeyColumn = Pick<Column, 'name' | 'type' | 'baseType' | 'comparedAs'>

/** The key's columns, in key order. */
export function keyColumns(definition: Pick<TableDefinition, 'columns' | 'key'>): KeyColumn[] {
  return definition.key.map((name) => {
    const column = definition.columns.find((each) => each.name === name)
    if (column === undefined) throw new Error(`key column ${JSON.stringify(name)} is not replicated`)
    return column
  })
}

/** `COPY` of one range, the columns in the definition's order. `expression` makes a column's text for the destination. */
export function copyStatement(
  definition: TableDefinition,
  range: ChunkRange,
  expression: ColumnExpression,
  copyOptions: string,
): string {
  const columns = definition.columns.map((column) =>
    expression(column, quoteIdentifier(column.name), definition),
  )
  const from =
    range.kind === 'ctid' ? fromClause({ ...range.leaf, partitioned: false }) : fromClause(definition)
  const condition = rangeCondition(range, range.kind === 'key' ? keyColumns(definition) : [])
  const where = condition === '' ? '' : ` WHERE ${condition}`
  return `COPY (SELECT ${columns.join(', ')} FROM ${from}${where}) TO STDOUT ${copyOptions}`.trimEnd()
}

/** `EXPLAIN` of reading the whole table: the planner's number of rows, and a proof that the table can be read. */
export function estimateQuery(definition: TableDefinition, expression: ColumnExpression): string {
  const columns = definition.columns.map((column) =>
    expression(column, quoteIdentifier(column.name), definition),
  )
  return `EXPLAIN (FORMAT JSON) SELECT ${columns.join(', ')} FROM ${fromClause(definition)}`
}

/** The rows of a range as a condition, empty for all rows. Half-open: `from` belongs to it, `to` does not. */
export function rangeCondition(range: ChunkRange, key: readonly KeyColumn[]): string {
  switch (range.kind) {
    case 'all':
      return ''
    case 'ctid': {
      const from = `ctid >= ${setting('from', 1)}::tid`
      return range.toBlock === undefined ? from : `${from} AND ctid < ${setting('to', 1)}::tid`
    }
    case 'key': {
      const columns = row(key.map((column) => comparable(column, quoteIdentifier(column.name))))
      const values = (end: 'from' | 'to') =>
        row(key.map((column, index) => comparableText(column, setting(end, index + 1))))
      return [
        ...(range.from ? [`${columns} >= ${values('from')}`] : []),
        ...(range.to ? [`${columns} < ${values('to')}`] : []),
      ].join(' AND ')
    }
  }
}

/** The settings that `rangeCondition` reads. */
export function rangeBounds(range: ChunkRange): Bound[] {
  const bounds = (end: 'from' | 'to', values: readonly string[]) =>
    values.map((value, index) => ({ setting: settingName(end, index + 1), value }))
  switch (range.kind) {
    case 'all':
      return []
    case 'ctid':
      return [
        ...bounds('from', [tid(range.fromBlock)]),
        ...bounds('to', range.toBlock === undefined ? [] : [tid(range.toBlock)]),
      ]
    case 'key':
      return [...bounds('from', range.from ?? []), ...bounds('to', range.to ?? [])]
  }
}

/** Sets the bounds until the transaction ends; undefined when there are none. */
export function setBounds(bounds: readonly Bound[]): { text: string; values: string[] } | undefined {
  if (bounds.length === 0) return undefined
  const calls = bounds.map((_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, true)`)
  return {
    // One row for all calls: a table of 32 key columns would else be a row of 64 columns.
    text: `SELECT num_nulls(${calls.join(', ')})`,
    values: bounds.flatMap(({ setting, value }) => [setting, value]),
  }
}

/**
 * Keys that cut the table into `$1` parts of about the same number of rows, in key order: the first key of each part but the
 * first. `$2` is the share of the blocks to look at, in percent; all of them when `sampled` is false.
 */
export function boundariesQuery(definition: TableDefinition, sampled: boolean): string {
  const names = definition.key.map(keyName)
  const from = `${fromClause(definition)} AS t`
  const texts = names.map((name, index) => `${name}::text AS k${index + 1}`)
  const picked = names.map((_, index) => `k${index + 1}`)
  // Row i of n belongs to part floor(i * parts / n); taken is each row with which a part begins.
  return [
    `SELECT ${picked.join(', ')} FROM (`,
    `SELECT ${texts.join(', ')}, row_number() OVER (ORDER BY ${names.join(', ')}) - 1 AS i, count(*) OVER () AS n`,
    ` FROM ${from}${sampled ? ' TABLESAMPLE SYSTEM ($2::real)' : ''}`,
    `) AS sample WHERE i > 0 AND i * $1::bigint / n <> (i - 1) * $1::bigint / n ORDER BY i`,
  ].join('')
}

/** The key in the middle of a range of about `$1` times 2 rows, walking along the key's index. */
export function medianQuery(definition: TableDefinition, range: ChunkRange): string {
  const names = definition.key.map(keyName)
  const condition = rangeCondition(range, keyColumns(definition))
  return [
    `SELECT ${names.map((name, index) => `${name}::text AS k${index + 1}`).join(', ')}`,
    ` FROM ${fromClause(definition)} AS t`,
    condition === '' ? '' : ` WHERE ${condition}`,
    ` ORDER BY ${names.join(', ')} OFFSET $1::bigint LIMIT 1`,
  ].join('')
}

// Qualified, because ORDER BY would take a column named k1 for the text of that name.
function keyName(name: string): string {
  return `t.${quoteIdentifier(name)}`
}

function settingName(end: 'from' | 'to', number: number): string {
  return `millrace.${end}_${number}`
}

function setting(end: 'from' | 'to', number: number): string {
  return `current_setting('${settingName(end, number)}')`
}

function row(items: readonly string[]): string {
  return items.length === 1 ? (items[0] as string) : `(${items.join(', ')})`
}

function tid(block: number): string {
  return `(${block},0)`
}
