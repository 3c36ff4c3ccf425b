import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import { type Column, type TableDefinition, type TableName, tableLabel } from '../../source/table.ts'
import type { TableOptions } from '../destination.ts'
import { refuseSoftDeleteColumn, SOFT_DELETE_COLUMN } from '../names.ts'
import type { TargetTable } from './catalog.ts'
import { compareTypes, destinationType } from './types.ts'

/** What has to be done to a destination table, decided without touching it. */
export interface TablePlan {
  readonly create: boolean
  /** Statements in order; none when the table is as it should be. */
  readonly statements: readonly string[]
}

export interface TablePlanInput {
  readonly target: TableName
  /** Undefined: there is no such table. */
  readonly found: TargetTable | undefined
  readonly definition: TableDefinition
  readonly options: TableOptions
  /** No row is in it, so that any type can be changed into any other. */
  readonly empty: boolean
  /** Whether the destination has this type. */
  readonly known: (type: string) => boolean
  /** Quotes a text as an SQL literal: DDL takes no parameters. */
  readonly literal: (text: string) => string
}

/**
 * The statements that make a destination table able to take rows of a definition.
 *
 * Throws `SchemaChangeUnsupported` for a column whose type cannot be changed without a look at its rows, and
 * `DestinationConflict` where something is in the way that Millrace did not make.
 */
export function planTable(input: TablePlanInput): TablePlan {
  const { found, definition, options } = input
  if (options.deletes === 'Soft') refuseSoftDeleteColumn(definition, definition.columns)
  if (!found) return { create: true, statements: [createTable(input)] }
  if (found.kind === 'other') {
    throw new MillraceError(
      'DestinationConflict',
      `destination table ${tableLabel(input.target)} is not a table but a view, a foreign table or the like: rename it, or choose another spec.tables[].destination`,
      { field: 'spec.tables[].destination' },
    )
  }
  return { create: false, statements: alterTable(input, found) }
}

function createTable({ target, definition, options, known }: TablePlanInput): string {
  const lines = definition.columns.map((column) => {
    const notNull = column.notNull || definition.key.includes(column.name) ? ' NOT NULL' : ''
    return `${quoteIdentifier(column.name)} ${destinationType(column, known)}${notNull}`
  })
  if (options.deletes === 'Soft') lines.push(SOFT_DELETE)
  if (definition.key.length > 0) lines.push(`PRIMARY KEY (${names(definition.key)})`)
  return `CREATE TABLE ${quoteTable(target)} (\n  ${lines.join(',\n  ')}\n)`
}

const SOFT_DELETE = `${quoteIdentifier(SOFT_DELETE_COLUMN)} boolean NOT NULL DEFAULT false`

function alterTable(input: TablePlanInput, found: TargetTable): string[] {
  const { target, definition, options } = input
  const there = new Map(found.columns.map((column) => [column.name, column]))
  const wanted = new Set(definition.columns.map((column) => column.name))
  const commands: string[] = []
  const afterwards: string[] = []

  const dropsPrimaryKey = isInTheWay(found, definition, wanted)
  if (dropsPrimaryKey && found.primaryKey) {
    commands.push(`DROP CONSTRAINT ${quoteIdentifier(found.primaryKey.constraint)}`)
  }
  for (const column of definition.columns) {
    const present = there.get(column.name)
    const name = quoteIdentifier(column.name)
    if (!present) {
      commands.push(`ADD COLUMN ${addition(column, input)}`)
      if (column.constantDefault !== undefined) afterwards.push(`ALTER COLUMN ${name} DROP DEFAULT`)
    } else if (present.generated) {
      throw generatedColumn(target, column.name)
    } else {
      const type = destinationType(column, input.known)
      const fit = compareTypes(present.baseType, type)
      if (fit === 'widen') commands.push(`ALTER COLUMN ${name} TYPE ${type}`)
      else if (fit === 'differs' && input.empty) {
        commands.push(
          `ALTER COLUMN ${name} DROP DEFAULT`,
          `ALTER COLUMN ${name} TYPE ${type} USING NULL::${type}`,
        )
      } else if (fit === 'differs') throw unsupported(target, column.name, present.type, type)
    }
  }
  if (options.deletes === 'Soft' && !there.has(SOFT_DELETE_COLUMN)) commands.push(`ADD COLUMN ${SOFT_DELETE}`)
  // What the source does not have (any more) stays, but must not refuse the rows that come without it.
  const keptKey = new Set(dropsPrimaryKey ? [] : found.primaryKey?.columns)
  for (const column of found.columns) {
    const fillsItself = column.hasDefault || column.generated || keptKey.has(column.name)
    if (!wanted.has(column.name) && column.notNull && !fillsItself) {
      commands.push(`ALTER COLUMN ${quoteIdentifier(column.name)} DROP NOT NULL`)
    }
  }

  const table = quoteTable(target)
  const alter = (list: string[]) =>
    list.length === 0 ? [] : [`ALTER TABLE ${table}\n  ${list.join(',\n  ')}`]
  const statements = [...alter(commands), ...alter(afterwards)]
  if (!hasKeyIndex(found, definition.key, dropsPrimaryKey)) {
    const primary = dropsPrimaryKey || !found.primaryKey
    statements.push(
      primary
        ? `ALTER TABLE ${table} ADD PRIMARY KEY (${names(definition.key)})`
        : `CREATE UNIQUE INDEX ON ${table} (${names(definition.key)})`,
    )
  }
  return statements
}

// NOT NULL is taken over only where the rows that are there can bear it.
function addition(column: Column, { definition, empty, known, literal }: TablePlanInput): string {
  const type = destinationType(column, known)
  const byDefault =
    column.constantDefault === undefined ? '' : ` DEFAULT ${literal(column.constantDefault)}::${type}`
  const notNull = column.notNull || definition.key.includes(column.name)
  return `${quoteIdentifier(column.name)} ${type}${byDefault}${notNull && (empty || byDefault !== '') ? ' NOT NULL' : ''}`
}

/** Whether the primary key that is there would refuse rows that the source may have. */
function isInTheWay(found: TargetTable, definition: TableDefinition, wanted: ReadonlySet<string>): boolean {
  const primary = found.primaryKey?.columns
  if (!primary) return false
  const filled = (name: string) => found.columns.find((column) => column.name === name)?.hasDefault === true
  const foreign = primary.filter((name) => !wanted.has(name))
  if (foreign.length > 0) return !foreign.every(filled)
  return definition.key.length === 0 || !definition.key.every((name) => primary.includes(name))
}

/** Whether rows can be found by their key, and no two have the same. */
function hasKeyIndex(found: TargetTable, key: readonly string[], dropsPrimaryKey: boolean): boolean {
  if (key.length === 0) return true
  const gone = dropsPrimaryKey ? found.primaryKey?.columns : undefined
  return found.uniqueKeys.some(
    (columns) =>
      columns !== gone &&
      columns.join('\0') !== gone?.join('\0') &&
      columns.length >= key.length &&
      columns.slice(0, key.length).every((name) => key.includes(name)),
  )
}

function names(columns: readonly string[]): string {
  return columns.map(quoteIdentifier).join(', ')
}

function unsupported(target: TableName, column: string, found: string, wanted: string): MillraceError {
  return new MillraceError(
    'SchemaChangeUnsupported',
    `column ${JSON.stringify(column)} of destination table ${tableLabel(target)} is of type ${found} there, and the source's is now ${wanted}: alter the destination column, or apply a TableBackfill with destinationTable Truncate or Drop`,
  )
}

function generatedColumn(target: TableName, column: string): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `column ${JSON.stringify(column)} of destination table ${tableLabel(target)} is a generated one and cannot be written: drop its expression, or exclude it by the table's columns.exclude`,
    { field: 'spec.tables[].columns' },
  )
}
