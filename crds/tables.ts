/** The list of tables of a Pipeline. */

import { INITIAL_BACKFILLS } from './api.ts'
import { exactlyOne, showing } from './rules.ts'
import { type Infer, listMap, object, oneOf, optional, set, string } from './schema.ts'
import { tableBackfillSettings } from './settings.ts'
import { IDENTIFIER_LENGTH, identifier } from './shapes.ts'

const columnNames = (description: string) =>
  optional(set(string({ maxLength: IDENTIFIER_LENGTH }), { description, minItems: 1, maxItems: 1600 }))

const columns = object(
  {
    include: columnNames('Columns that are replicated. Must contain the key.'),
    exclude: columnNames('Columns that are not replicated. Must not contain the key.'),
  },
  {
    description:
      'Which columns are replicated; without it all. A column that is added here later has its values from then on, and those of before after a TableBackfill.',
    rules: [exactlyOne('include', 'exclude', 'remove the other, or columns as a whole')],
  },
)

const destination = object(
  {
    schema: optional(identifier('Schema of the table in the destination.')),
    name: optional(identifier('Name of the table in the destination.')),
  },
  {
    description:
      'Where the table is in the destination, as far as it differs from the source. Cannot be changed.',
  },
)

// The rule is on the table because one on `destination` would not see it come and go.
const destinationFixed = showing(
  {
    rule: 'has(self.destination) == has(oldSelf.destination) && (!has(self.destination) || self.destination == oldSelf.destination)',
    message:
      'destination cannot be changed, because the rows would be left behind: remove the table from the list, and add it again with the new destination',
    fieldPath: '.destination',
  },
  `'table ' + self.schema + '.' + self.name`,
)

const pipelineTable = object(
  {
    schema: string({
      description: 'Schema of the table in the source.',
      maxLength: IDENTIFIER_LENGTH,
      default: 'public',
    }),
    name: identifier('Name of the table in the source, to the letter: upper case stays upper case.'),
    destination: optional(destination),
    columns: optional(columns),
    backfill: optional(tableBackfillSettings),
    initialBackfill: oneOf(INITIAL_BACKFILLS, {
      description:
        'Enabled: the rows that exist are copied when the table is added. Skip: only changes from then on are applied.',
      default: 'Enabled',
    }),
  },
  { rules: [destinationFixed] },
)

export const pipelineTables = listMap(pipelineTable, ['schema', 'name'], {
  description:
    'The tables that are replicated. Their initial backfills run in this order. A table that is removed stays in the destination as it is.',
  maxItems: 1000,
  default: [],
})

export type PipelineTable = Infer<typeof pipelineTable>
