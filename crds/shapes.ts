/** Small shapes that occur in several places of the API. */

import { COMPONENTS, MAX_UNFIT_COLUMNS } from './api.ts'
import { type Infer, integer, listMap, object, oneOf, optional, string } from './schema.ts'

/** PostgreSQL cuts identifiers at 63 bytes. */
export const IDENTIFIER_LENGTH = 63

/** Identifiers are taken to the letter: no folding to lower case, no quoting in the YAML. */
export function identifier(description: string) {
  return string({ description, maxLength: IDENTIFIER_LENGTH })
}

export function hostname(description: string) {
  return string({
    description,
    maxLength: 253,
    matches: {
      pattern: '^[^\\s/@,]+$',
      message: 'host must be one DNS name or address: leave out scheme, user, path and further hosts',
    },
  })
}

export function port(description: string, byDefault: number) {
  return integer({ description, min: 1, max: 65535, default: byDefault })
}

/** A log position as PostgreSQL writes it. Kept as text: it does not fit into a JSON number. */
export function lsn(description: string) {
  return optional(string({ description, maxLength: 17, pattern: '^[0-9A-F]{1,8}/[0-9A-F]{1,8}$' }))
}

export function time(description: string) {
  return optional(string({ description, format: 'date-time' }))
}

export function count(description: string) {
  return optional(integer({ description, min: 0 }))
}

/** Long enough for whatever a database says. A writer cuts at this length. */
export const MESSAGE_LENGTH = 32768

export function message(description: string) {
  return optional(string({ description, minLength: 0, maxLength: MESSAGE_LENGTH }))
}

/** A machine's word for what went wrong, such as `AuthenticationFailed`. */
export function code(description: string) {
  return string({ description, maxLength: 63, pattern: '^[A-Za-z][A-Za-z0-9]*$' })
}

/** A table of the source, by its name there. */
export const tableName = object(
  {
    schema: string({ description: 'Schema of the table.', maxLength: IDENTIFIER_LENGTH, default: 'public' }),
    name: identifier('Name of the table, to the letter.'),
  },
  { description: 'A table of the source.', atomic: true },
)

const unfitColumn = object(
  {
    column: identifier('Name of the column in the source.'),
    values: integer({ description: 'How many values.', min: 1 }),
  },
  {},
)
export type UnfitColumn = Infer<typeof unfitColumn>

/** What did not fit a destination's types. */
export function unfit(description: string) {
  return optional(listMap(unfitColumn, ['column'], { description, maxItems: MAX_UNFIT_COLUMNS }))
}

/** Something that a worker ran into and that a person may have to mend. */
export const problem = object(
  {
    component: oneOf(COMPONENTS, { description: 'What it is about; decides which condition shows it.' }),
    table: optional(
      object(
        {
          schema: identifier('Schema of the table.'),
          name: identifier('Name of the table.'),
        },
        { description: 'The one table that is affected; absent if all are.' },
      ),
    ),
    code: code('What went wrong, as one word for machines.'),
    message: string({ description: 'What went wrong and what to do about it.', maxLength: MESSAGE_LENGTH }),
  },
  {},
)

export type TableName = Infer<typeof tableName>
export type Problem = Infer<typeof problem>
