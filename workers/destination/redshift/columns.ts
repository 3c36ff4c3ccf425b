import { MillraceError } from '../../../lib/errors.ts'
import type { Column, TableDefinition } from '../../source/table.ts'
import { tableLabel } from '../../source/table.ts'
import { parseTypeName } from '../type-name.ts'
import type { Form } from './form.ts'
import { numericForm } from './form-number.ts'
import { outputText, textForm } from './form-text.ts'
import { NULL_TEXT, unfitMark } from './marks.ts'
import { MAX_VARCHAR, parseType, type RedshiftType, typeText } from './redshift-type.ts'
import type { ColumnOverride, RedshiftSettings } from './settings.ts'
import { isLarge, lineShare, typeForm } from './types.ts'

/** What happens to a value that does not fit. */
export type UnfitPolicy = 'Null' | 'Truncate' | 'Fail'

/** How one column of a definition gets into Redshift. */
export interface ColumnRule {
  readonly name: string
  /** Place in the definition, from 0. */
  readonly index: number
  readonly key: boolean
  readonly type: RedshiftType
  readonly form: Form
}

/** How a definition's columns get into Redshift, in its order. */
export type ColumnRules = readonly ColumnRule[]

/** @returns a function that remembers the rules of a definition for as long as that lives */
export function columnRulesOf(settings: RedshiftSettings): (definition: TableDefinition) => ColumnRules {
  const known = new WeakMap<TableDefinition, ColumnRules>()
  return (definition) => {
    const found = known.get(definition)
    if (found) return found
    const made = columnRules(definition, settings)
    known.set(definition, made)
    return made
  }
}

/** Rule of one column of a definition, by the column itself: it is asked for with every value. */
export function columnRuleOf(
  rules: (definition: TableDefinition) => ColumnRules,
): (definition: TableDefinition, column: Column) => ColumnRule {
  const known = new WeakMap<TableDefinition, Map<Column, ColumnRule>>()
  return (definition, column) => {
    let byColumn = known.get(definition)
    if (!byColumn) {
      const made = rules(definition)
      byColumn = new Map(definition.columns.map((each, index) => [each, made[index] as ColumnRule]))
      known.set(definition, byColumn)
    }
    const rule = byColumn.get(column)
    if (!rule) throw new Error(`column ${column.name} is not one of ${tableLabel(definition)}`)
    return rule
  }
}

/** Throws `InvalidSpec` where the spec asks for a type that cannot take the source's values. */
export function columnRules(definition: TableDefinition, settings: RedshiftSettings): ColumnRules {
  const overrides = new Map(settings.table(definition)?.columns?.map((each) => [each.name, each]))
  const large = definition.columns.filter(
    (column) => isLarge(column) && !definition.key.includes(column.name),
  ).length
  return definition.columns.map((column, index) => {
    const key = definition.key.includes(column.name)
    const override = overrides.get(column.name)
    const form =
      override?.type === undefined
        ? typeForm(column, { key, share: lineShare(large) })
        : overriddenForm(definition, column, override)
    return { name: column.name, index, key, type: form.type, form }
  })
}

const WHOLE = new Set(['smallint', 'integer', 'bigint', 'oid'])

function overriddenForm(definition: TableDefinition, column: Column, { type }: ColumnOverride): Form {
  const wanted = parseType(type ?? '')
  const source = parseTypeName(column.typeKind === 'domain' ? column.baseType : column.type)
  if (wanted?.kind === 'varchar') return textForm(wanted.length ?? MAX_VARCHAR, outputText)
  const number = source.builtIn && !source.array && (source.name === 'numeric' || WHOLE.has(source.name))
  if (wanted?.kind === 'numeric' && number) {
    const form = numericForm(wanted, source.name === 'numeric' ? source.modifier : [])
    // abs() and trunc() of a whole number are of its own type.
    return source.name === 'numeric' ? form : { ...form, via: (value) => `${value}::numeric` }
  }
  throw new MillraceError(
    'InvalidSpec',
    `spec.destination.redshift.tables[].columns[].type: column ${JSON.stringify(column.name)} of table ${tableLabel(definition)} is ${column.type} in the source and cannot be ${wanted ? typeText(wanted) : type}: use VARCHAR(n), or for a number NUMERIC(p,s)`,
    { field: 'spec.destination.redshift.tables[].columns[].type' },
  )
}

/**
 * SQL in the source that gives the column's text as COPY loads it; a value that does not fit comes after a mark that counts
 * it. A key is never changed: a value of it that does not fit is an error whatever the policy.
 */
export function columnExpression(
  { form, key, index }: ColumnRule,
  value: string,
  policy: UnfitPolicy,
): string {
  if (!form.fits && !form.via) return form.text?.(value) ?? value
  const lost = `'${unfitMark(index)}${NULL_TEXT}'`
  const near = policy === 'Truncate' && !key ? form.nearest : undefined
  const choose = (x: string) => {
    const text = form.text?.(x) ?? x
    if (!form.fits) return text
    const otherwise = near ? `'${unfitMark(index)}' || coalesce(${near(x)}, '${NULL_TEXT}')` : lost
    return `CASE WHEN ${form.fits(x, value)} THEN ${text} WHEN ${x} IS NULL THEN NULL ELSE ${otherwise} END`
  }
  if (!form.via) return choose(value)
  // Made once, whatever is asked of it. IS NULL is true of a row whose fields all are NULL.
  return `CASE WHEN num_nulls(${value}) = 0 THEN (SELECT ${choose('t.v')} FROM (SELECT ${form.via(value)} AS v OFFSET 0) AS t) END`
}

/** A value of the queue, converted; `unfit` is called when it did not fit. */
export function convertValue(
  { form, key, name }: ColumnRule,
  text: string,
  policy: UnfitPolicy,
  unfit: (() => void) | undefined,
): string | null {
  const converted = form.convert(text)
  if (typeof converted === 'string') return converted
  if (key || policy === 'Fail') throw valueRejected(name, form.type, key)
  unfit?.()
  return policy === 'Truncate' ? converted.nearest : null
}

/** A value that the policy does not let through; says nothing of the value itself. */
export function valueRejected(column: string, type: RedshiftType, key: boolean): MillraceError {
  const lead = `a value of column ${JSON.stringify(column)} does not fit ${typeText(type)} in Redshift`
  const how = key
    ? `, and a key cannot be changed: set another type, such as VARCHAR(256), in spec.destination.redshift.tables[].columns, and apply a TableBackfill with destinationTable Drop`
    : `: set spec.destination.redshift.onUnfit to Null or Truncate, another type in spec.destination.redshift.tables[].columns, or exclude the column by the table's columns.exclude`
  return new MillraceError('ValueRejected', `${lead}${how}`, {
    field: 'spec.destination.redshift.onUnfit',
  })
}
