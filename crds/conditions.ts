import { type Infer, integer, listMap, object, oneOf, string } from './schema.ts'

/** The list of conditions of a status, one per type, in the shape that Kubernetes prescribes. */
export function conditions(types: readonly string[]) {
  return listMap(condition, ['type'], {
    description: `What holds for this resource at present, one entry per type: ${types.join(', ')}.`,
    maxItems: 16,
  })
}

const condition = object(
  {
    type: string({ description: 'What the condition is about.', maxLength: 316 }),
    status: oneOf(['True', 'False', 'Unknown'], { description: 'Whether it holds.' }),
    observedGeneration: integer({
      description: 'The generation of the spec that it was computed from.',
      min: 0,
    }),
    lastTransitionTime: string({ description: 'When the status last changed.', format: 'date-time' }),
    reason: string({
      description: 'Why, as one word for machines.',
      maxLength: 1024,
      pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
    }),
    message: string({ description: 'Why, for people; may be empty.', minLength: 0, maxLength: 32768 }),
  },
  {},
)

export type Condition = Infer<typeof condition>
