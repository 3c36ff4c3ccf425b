import { describe, expect, it } from 'vitest'
import { pipelineKind, tableBackfillKind } from './definition.ts'
import { driftedFiles, generatedFiles } from './generate.ts'
import type { OpenApiSchema } from './schema.ts'

it('the files in the repository are what the schemas give', async () => {
  expect(await driftedFiles(), 'run `node crds/generate.ts`').toEqual([])
})

it('the same schemas give the same files', () => {
  expect(generatedFiles()).toEqual(generatedFiles())
})

describe.each([
  ['Pipeline', pipelineKind],
  ['TableBackfill', tableBackfillKind],
])('%s', (_, kind) => {
  const spec = [...fields('spec', kind.spec.openApi)]
  const all = [...spec, ...fields('status', kind.status.openApi)]

  it('describes every field', () => {
    const undescribed = all.filter(
      ([path, field]) => !path.endsWith(']') && !field.description?.endsWith('.'),
    )
    expect(undescribed.map(([path]) => path)).toEqual([])
  })

  it('limits every string, list and map, so that no rule can become too dear', () => {
    expect(all.filter(([, field]) => isUnlimited(field)).map(([path]) => path)).toEqual([])
  })

  it('tells the cure in every rule', () => {
    const rules = all.flatMap(([, field]) => field['x-kubernetes-validations'] ?? [])
    expect(rules.length).toBeGreaterThan(4)
    for (const { message } of [...kind.rules, ...rules]) expect(message).toMatch(/: |must be|may hold/)
  })

  it('says how every list is merged', () => {
    const lists = all.filter(([, field]) => field.type === 'array')
    expect(lists.filter(([, field]) => !field['x-kubernetes-list-type']).map(([path]) => path)).toEqual([])
  })
})

/** Every schema below this one, with its path. */
function* fields(path: string, schema: OpenApiSchema): Generator<[string, OpenApiSchema]> {
  yield [path, schema]
  for (const [name, field] of Object.entries(schema.properties ?? {})) yield* fields(`${path}.${name}`, field)
  if (schema.items) yield* fields(`${path}[]`, schema.items)
  if (schema.additionalProperties) yield* fields(`${path}[*]`, schema.additionalProperties)
}

function isUnlimited(field: OpenApiSchema): boolean {
  if (field.type === 'string') return field.maxLength === undefined && !field.enum && !field.format
  if (field.type === 'array') return field.maxItems === undefined
  return field.additionalProperties !== undefined && field.maxProperties === undefined
}
