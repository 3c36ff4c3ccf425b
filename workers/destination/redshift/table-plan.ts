import { MillraceError } from '../../../lib/errors.ts'
import { type Column, type TableDefinition, type TableName, tableLabel } from '../../source/table.ts'
import type { TableOptions } from '../destination.ts'
import { refuseSoftDeleteColumn, SOFT_DELETE_COLUMN } from '../names.ts'
import type { TargetColumn, TargetTable } from './catalog.ts'
import type { ColumnRule, ColumnRules } from './columns.ts'
import { typedLiteral } from './literals.ts'
import { foldName, quoteName, quoteTableName } from './names.ts'
import {
  compareTypes,
  MAX_VARCHAR,
  type RedshiftType,
  type TypeFit,
  typeText,
  varchar,
} from './redshift-type.ts'
import type { TableOverride } from './settings.ts'
import { isStandIn } from './types.ts'

/** What has to be done to a destination table, decided without touching it. */
export interface TablePlan {
  readonly create: boolean
  /** Statements that Redshift runs only by themselves; each can be run again. */
  readonly alone: readonly string[]
  /** Groups of statements, each one transaction. */
  readonly together: readonly (readonly string[])[]
}

export interface TablePlanInput {
  readonly target: TableName
  /** Undefined: there is no such table. */
  readonly found: TargetTable | undefined
  readonly definition: TableDefinition
  readonly rules: ColumnRules
  readonly options: TableOptions
  readonly override: TableOverride | undefined
  /** Its rows are to be taken away, so that any column may be made anew. */
  readonly emptied: boolean
  /** What a constant default of the source becomes; null for none. */
  readonly constant: (rule: ColumnRule) => string | null
}

/**
 * The statements that make a destination table able to take rows of a definition. Throws `SchemaChangeUnsupported` for a column
 * whose type cannot be changed so that it keeps its values.
 */
export function planTable(input: TablePlanInput): TablePlan {
  if (input.options.deletes === 'Soft') refuseSoftDeleteColumn(input.definition, input.definition.columns)
  if (!input.found) return { create: true, alone: [], together: [[createTableSQL(input)]] }
  return alterTable(input, input.found)
}

/**
 * Columns are left without NOT NULL, all but the key's: the source can drop it at any time, and Redshift has no statement that
 * follows. The primary key is one in name, which the planner uses and nobody enforces.
 */
export function createTableSQL({ target, definition, rules, options, override }: TablePlanInput): string {
  const encodings = new Map(override?.columns?.map((each) => [each.name, each.encoding]))
  const lines = rules.map((rule) => {
    const encoding = encodings.get(rule.name)
    return `${quoteName(rule.name)} ${typeText(rule.type)}${rule.key ? ' NOT NULL' : ''}${encoding === undefined ? '' : ` ENCODE ${encoding.toUpperCase()}`}`
  })
  if (options.deletes === 'Soft') lines.push(SOFT_DELETE)
  if (definition.key.length > 0) lines.push(`PRIMARY KEY (${definition.key.map(quoteName).join(', ')})`)
  return `CREATE TABLE IF NOT EXISTS ${quoteTableName(target)} (${lines.join(', ')})${layoutSQL(definition, rules, override)}`
}

// ADD COLUMN with NOT NULL would need a default for the rows that are there, and here NULL means the same as false.
const SOFT_DELETE = `${quoteName(SOFT_DELETE_COLUMN)} BOOLEAN DEFAULT FALSE`

/** Sorted by the key unless told otherwise: a flush then looks only at the blocks that its keys are in. */
function layoutSQL(
  definition: TableDefinition,
  rules: ColumnRules,
  override: TableOverride | undefined,
): string {
  const distKey = override?.distKey ?? definition.key[0]
  if (override?.distKey !== undefined && override.distStyle !== 'Key') {
    throw invalid(definition, 'distKey', 'is only for distStyle Key: set that, or remove distKey')
  }
  for (const [field, columns] of [
    ['distKey', override?.distKey === undefined ? [] : [override.distKey]],
    ['sortKey', override?.sortKey ?? []],
  ] as const) {
    for (const column of columns) {
      const rule = rules.find(({ name }) => name === column)
      if (!rule)
        throw invalid(
          definition,
          field,
          `names ${JSON.stringify(column)}, which is no replicated column of the table`,
        )
      if (rule.type.kind === 'super' || rule.type.kind === 'varbyte') {
        throw invalid(
          definition,
          field,
          `names ${JSON.stringify(column)}, which is of type ${typeText(rule.type)}: Redshift does not take it`,
        )
      }
    }
  }
  const style = override?.distStyle ?? 'Auto'
  if (style === 'Key' && distKey === undefined)
    throw invalid(definition, 'distKey', 'is needed for distStyle Key, because the table has no key')
  const dist =
    style === 'Key'
      ? ` DISTSTYLE KEY DISTKEY (${quoteName(distKey ?? '')})`
      : ` DISTSTYLE ${style.toUpperCase()}`
  const sortKey = override?.sortKey ?? definition.key
  // Without a sort key Redshift chooses one by itself (SORTKEY AUTO is its default).
  return sortKey.length === 0 ? dist : `${dist} COMPOUND SORTKEY (${sortKey.map(quoteName).join(', ')})`
}

function alterTable(input: TablePlanInput, found: TargetTable): TablePlan {
  const { target, definition, rules, options, emptied } = input
  const table = quoteTableName(target)
  const there = new Map(found.columns.map((column) => [column.name, column]))
  const alone: string[] = []
  const together: string[][] = []
  for (const rule of rules) {
    const present = there.get(foldName(rule.name))
    const name = quoteName(rule.name)
    if (!present) {
      together.push([`ALTER TABLE ${table} ADD COLUMN ${addition(rule, input)}`])
      continue
    }
    const fit = fitOf(present, rule, definition.columns[rule.index])
    if (fit === 'lengthen') {
      alone.push(`ALTER TABLE ${table} ALTER COLUMN ${name} TYPE ${typeText(rule.type)}`)
    } else if (fit === 'replace' && !present.layout && !rule.key) {
      together.push(replaceColumn(table, rule))
    } else if (fit !== 'fits' && emptied && !present.layout && !rule.key) {
      together.push([
        `ALTER TABLE ${table} DROP COLUMN ${name}`,
        `ALTER TABLE ${table} ADD COLUMN ${name} ${typeText(rule.type)}`,
      ])
    } else if (fit !== 'fits') {
      throw unsupported(target, rule, present.typeText, present.layout || rule.key)
    }
  }
  for (const column of found.columns) {
    const wanted = rules.some(({ name }) => foldName(name) === column.name)
    if (!wanted && column.notNull && !column.hasDefault) throw inTheWay(target, column.name)
  }
  if (options.deletes === 'Soft' && !there.has(SOFT_DELETE_COLUMN)) {
    together.push([`ALTER TABLE ${table} ADD COLUMN ${SOFT_DELETE}`])
  }
  return { create: false, alone, together }
}

function fitOf({ type }: TargetColumn, rule: ColumnRule, column: Column | undefined): TypeFit {
  if (!type) return 'differs'
  const fit = compareTypes(type, rule.type)
  if (fit !== 'differs' || !column || !isStandIn(column)) return fit
  // What is text in its stead may be a domain over anything: a plain value is the same text for either, and the load says where not.
  return type.kind === 'super' || type.kind === 'varbyte' ? fit : 'fits'
}

function addition(rule: ColumnRule, { constant, emptied }: TablePlanInput): string {
  const value = emptied ? null : constant(rule)
  if (value === null) return `${quoteName(rule.name)} ${typeText(rule.type)}`
  // A column with a default cannot be made longer later, and a default cannot be dropped: so it is long from the start.
  const type: RedshiftType = rule.type.kind === 'varchar' ? varchar(MAX_VARCHAR) : rule.type
  return `${quoteName(rule.name)} ${typeText(type)} DEFAULT ${typedLiteral(type, value)}`
}

/** Redshift changes no type but the length of VARCHAR: a new column takes over the values, and the name. */
function replaceColumn(table: string, { name, type }: ColumnRule): string[] {
  const interim = quoteName('__millrace_replaced')
  const column = quoteName(name)
  return [
    `ALTER TABLE ${table} ADD COLUMN ${interim} ${typeText(type)}`,
    `UPDATE ${table} SET ${interim} = ${column}`,
    `ALTER TABLE ${table} DROP COLUMN ${column}`,
    `ALTER TABLE ${table} RENAME COLUMN ${interim} TO ${column}`,
  ]
}

function unsupported(target: TableName, rule: ColumnRule, found: string, layout: boolean): MillraceError {
  const why = layout ? ' (which Redshift does not change in a key, distribution key or sort key)' : ''
  return new MillraceError(
    'SchemaChangeUnsupported',
    `column ${JSON.stringify(rule.name)} of destination table ${tableLabel(target)} is of type ${found} there, and ${typeText(rule.type)} is wanted${why}: apply a TableBackfill with destinationTable Drop`,
  )
}

function inTheWay(target: TableName, column: string): MillraceError {
  return new MillraceError(
    'SchemaChangeUnsupported',
    `column ${JSON.stringify(column)} of destination table ${tableLabel(target)} is NOT NULL without a default, and the source has none of that name, so that no row can be written: drop the column there, or apply a TableBackfill with destinationTable Drop`,
  )
}

function invalid(definition: TableDefinition, field: string, what: string): MillraceError {
  const path = `spec.destination.redshift.tables[].${field}`
  return new MillraceError('InvalidSpec', `${path} of table ${tableLabel(definition)} ${what}`, {
    field: path,
  })
}
