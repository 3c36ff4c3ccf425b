import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier } from '../../../lib/sql.ts'
import type { Column, TableDefinition } from '../../source/table.ts'
import { tableLabel } from '../../source/table.ts'
import { parseTypeName } from '../type-name.ts'
import type { Form } from './form.ts'
import { numericForm } from './form-number.ts'
import { outputText, textForm } from './form-text.ts'
import { DOUBT_MARK, NULL_TEXT, UNFIT_BEGIN, unfitMark } from './marks.ts'
import { MAX_VARCHAR, parseType, type RedshiftType, typeText } from './redshift-type.ts'
import type { ScannedColumn } from './row-fields.ts'
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
  /** SQL: something in the row may not fit. The column carries the mark that says so. */
  readonly doubt?: string
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
  const rules = definition.columns.map((column, index): ColumnRule => {
    const key = definition.key.includes(column.name)
    const override = overrides.get(column.name)
    const form =
      override?.type === undefined
        ? typeForm(column, { key, share: lineShare(large) })
        : overriddenForm(definition, column, override)
    return { name: column.name, index, key, type: form.type, form }
  })
  return withCarrier(rules)
}

/** Which rows a scan has to look at is said once for each row: asking is cheap, but saying it changes the type of a column. */
function withCarrier(rules: ColumnRules): ColumnRules {
  const doubts = rules.flatMap(({ form, name }) => form.scan?.doubt?.(quoteIdentifier(name)) ?? [])
  const candidates = rules.filter(({ form }) => form.scan)
  const carrier =
    candidates.find(({ type }) => isWhole(type)) ??
    candidates.find(({ type }) => !mayHoldMark(type)) ??
    candidates[0]
  if (!carrier || doubts.length === 0) return rules
  // A value of its own could look like the mark.
  if (mayHoldMark(carrier.type)) {
    doubts.push(`starts_with(${outputText(quoteIdentifier(carrier.name))}, '${UNFIT_BEGIN}')`)
  }
  const doubt = doubts.map((each) => `(${each})`).join(' OR ')
  return rules.map((rule) => (rule === carrier ? { ...rule, doubt } : rule))
}

const isWhole = ({ kind }: RedshiftType) => kind === 'smallint' || kind === 'integer' || kind === 'bigint'
const mayHoldMark = ({ kind }: RedshiftType) => kind === 'varchar' || kind === 'super'

const WHOLE = new Set(['smallint', 'integer', 'bigint', 'oid'])

function overriddenForm(definition: TableDefinition, column: Column, { type }: ColumnOverride): Form {
  const wanted = parseType(type ?? '')
  const source = parseTypeName(column.typeKind === 'domain' ? column.baseType : column.type)
  if (wanted?.kind === 'varchar') return textForm(wanted.length ?? MAX_VARCHAR, outputText)
  const number = source.builtIn && !source.array && (source.name === 'numeric' || WHOLE.has(source.name))
  if (wanted?.kind === 'numeric' && number) {
    const form = numericForm(wanted, source.name === 'numeric' ? source.modifier : [])
    // abs() and trunc() of a whole number are of its own type.
    if (source.name === 'numeric') return form
    const via = (value: string) => `${value}::numeric`
    return { ...form, via, scan: { doubt: (value) => form.scan?.doubt?.(via(value)) ?? '' } }
  }
  throw new MillraceError(
    'InvalidSpec',
    `spec.destination.redshift.tables[].columns[].type: column ${JSON.stringify(column.name)} of table ${tableLabel(definition)} is ${column.type} in the source and cannot be ${wanted ? typeText(wanted) : type}: use VARCHAR(n), or for a number NUMERIC(p,s)`,
    { field: 'spec.destination.redshift.tables[].columns[].type' },
  )
}

/**
 * SQL in the source for a column of a scan: the column itself where a row scanner converts what has to be; else the text that COPY
 * loads, where a value that does not fit comes after a mark that counts it. A key is never changed: a value of it that does
 * not fit is an error whatever the policy.
 */
export function columnExpression(rule: ColumnRule, value: string, policy: UnfitPolicy): string {
  const { form, key, index, doubt, type } = rule
  if (form.scan) {
    if (doubt === undefined) return value
    const text = isWhole(type) ? `${value}::text` : outputText(value)
    return `CASE WHEN ${doubt} THEN '${DOUBT_MARK}' || coalesce('=' || ${text}, '') ELSE ${text} END`
  }
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

/** What a row scanner has to know of the columns of a definition. */
export function scannedColumns(rules: ColumnRules, policy: UnfitPolicy): ScannedColumn[] {
  return rules.map((rule) => {
    const { scan } = rule.form
    return {
      kind: scan ? 'plain' : 'converted',
      carrier: rule.doubt !== undefined,
      bytes: scan?.bytes ?? Number.POSITIVE_INFINITY,
      keep: scan?.keep ?? Number.POSITIVE_INFINITY,
      needle: scan?.needle === undefined ? undefined : Buffer.from(scan.needle),
      convert: (text, unfit) => convertValue(rule, text, policy, unfit),
    }
  })
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
