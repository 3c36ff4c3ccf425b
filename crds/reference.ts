/** The reference for users, written from the schemas: one table of fields per part of spec and status. */

import { API_VERSION, GROUP } from './api.ts'
import type { Kind } from './definition.ts'
import type { OpenApiSchema, Rule } from './schema.ts'

/** Markdown of the whole page. */
export function reference(kinds: readonly Kind[]): string {
  return [
    '<!-- biome-ignore-all format: generated from the schemas in crds/ by crds/generate.ts, do not edit -->',
    '',
    '# API reference',
    '',
    `Group \`${GROUP}\`, version \`v1alpha1\` (\`apiVersion: ${API_VERSION}\`). Both kinds are namespaced. \`kubectl explain pipelines.spec\` shows the same text.`,
    '',
    ...kinds.flatMap(kindSection),
  ].join('\n')
}

function kindSection(kind: Kind): string[] {
  return [
    `## ${kind.kind}`,
    '',
    `${kind.description} Short name \`${kind.shortName}\`.`,
    '',
    ...rulesOf(kind.rules),
    ...partSections('spec', kind.spec.openApi),
    ...partSections('status', kind.status.openApi),
  ]
}

/** The part itself with its plain fields, then one section for each of its fields that has fields of its own. */
function partSections(path: string, part: OpenApiSchema): string[] {
  const fields = Object.entries(part.properties ?? {})
  const nested = fields.filter(([, field]) => fieldsOf(field))
  return [
    `### ${path}`,
    '',
    ...paragraph(part.description),
    ...table(fields.map(([name, field]) => row(name, field, isRequired(part, name)))),
    ...rulesOf(part['x-kubernetes-validations']),
    ...nested.flatMap(([name, field]) => nestedSection(`${path}.${suffixed(name, field)}`, field)),
  ]
}

function nestedSection(path: string, field: OpenApiSchema): string[] {
  const below = deepRows(field, '')
  return [
    `#### ${path}`,
    '',
    ...paragraph(field.description),
    ...table(below.rows),
    ...rulesOf([
      ...(field['x-kubernetes-validations'] ?? []),
      ...(field.items?.['x-kubernetes-validations'] ?? []),
      ...below.rules,
    ]),
  ]
}

interface Rows {
  rows: string[]
  rules: Rule[]
}

/** Every field below, however deep, by its dotted name. */
function deepRows(field: OpenApiSchema, prefix: string): Rows {
  const parent = fieldsOf(field)
  const parts = Object.entries(parent?.properties ?? {}).map(([name, child]): Rows => {
    const path = `${prefix}${name}`
    const below = deepRows(child, `${prefix}${suffixed(name, child)}.`)
    return {
      rows: [row(path, child, parent !== undefined && isRequired(parent, name)), ...below.rows],
      rules: [...ownRules(child), ...below.rules],
    }
  })
  return { rows: parts.flatMap((part) => part.rows), rules: parts.flatMap((part) => part.rules) }
}

/** The schema that has the fields: the object itself, or what a list consists of. */
function fieldsOf(field: OpenApiSchema): OpenApiSchema | undefined {
  if (field.properties) return field
  return field.items?.properties ? field.items : undefined
}

function ownRules(field: OpenApiSchema): readonly Rule[] {
  return [...(field['x-kubernetes-validations'] ?? []), ...(field.items?.['x-kubernetes-validations'] ?? [])]
}

function suffixed(name: string, field: OpenApiSchema): string {
  return field.type === 'array' ? `${name}[]` : name
}

function isRequired(parent: OpenApiSchema, name: string): boolean {
  return parent.required?.includes(name) ?? false
}

function table(rows: readonly string[]): string[] {
  return ['| field | type | default | meaning |', '|---|---|---|---|', ...rows, '']
}

function row(name: string, field: OpenApiSchema, required: boolean): string {
  const byDefault = required ? '**required**' : shownDefault(field.default)
  return `| \`${name}\` | ${typeOf(field)} | ${byDefault} | ${cell(field.description ?? '')} |`
}

/** `{}` and `[]` only say that a part is always present, which is of no interest to a reader. */
function shownDefault(value: unknown): string {
  return value === undefined || typeof value === 'object' ? '' : `\`${value}\``
}

function typeOf(field: OpenApiSchema): string {
  if (field.enum) return field.enum.map((value) => `\`${value}\``).join(', ')
  if (field.format === 'date-time') return 'time'
  if (field['x-kubernetes-int-or-string']) return 'quantity'
  if (field.type === 'array')
    return `list of ${typeOf(field.items ?? {})}${limits(field.minItems, field.maxItems)}`
  if (field.additionalProperties) return `map of ${typeOf(field.additionalProperties)}`
  if (field.type === 'integer') return `integer${limits(field.minimum, field.maximum)}`
  if (field.type === 'string') return `string${limits(undefined, field.maxLength)}`
  return field.type ?? 'any'
}

function limits(least: number | undefined, most: number | undefined): string {
  if (least !== undefined && most !== undefined) return `, ${least} to ${most}`
  if (most !== undefined) return `, at most ${most}`
  if (least !== undefined) return `, at least ${least}`
  return ''
}

function rulesOf(rules: readonly Rule[] | undefined): string[] {
  // What the characters of one field may be is of interest to who got them wrong, and is told then.
  const shown = (rules ?? []).filter((rule) => !rule.rule.startsWith('self.matches('))
  const messages = new Set(shown.map((rule) => rule.message))
  return messages.size > 0 ? ['Rules:', '', ...[...messages].map((message) => `- ${message}`), ''] : []
}

function paragraph(text: string | undefined): string[] {
  return text ? [text, ''] : []
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '\\<')
}
