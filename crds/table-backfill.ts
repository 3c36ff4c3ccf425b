/** The kind TableBackfill: one backfill of one table of one Pipeline. It runs once. */

import { DESTINATION_ACTIONS, VERIFY } from './api.ts'
import type { CustomResource } from './metadata.ts'
import { fixed, showing } from './rules.ts'
import {
  boolean,
  described,
  type Infer,
  type Input,
  integer,
  object,
  oneOf,
  optional,
  string,
} from './schema.ts'
import { backfillOverrides } from './settings.ts'
import { tableName } from './shapes.ts'
import type { tableBackfillStatus } from './table-backfill-status.ts'

// A backfill has run, or runs, with what it was created with.
const CURE = ': create another TableBackfill'

export const tableBackfillSpec = object(
  {
    pipelineRef: object(
      { name: string({ description: 'Name of a Pipeline in the same namespace.', maxLength: 253 }) },
      {
        description: 'The Pipeline that replicates the table. Cannot be changed.',
        atomic: true,
        rules: [fixed('pipelineRef', CURE, '{}.name')],
      },
    ),
    table: described(tableName, {
      description:
        'The table, by its name in the source; it must be in the list of the Pipeline. Cannot be changed.',
      rules: [fixed('table', CURE, `{}.schema + '.' + {}.name`)],
    }),
    destinationTable: oneOf(DESTINATION_ACTIONS, {
      description:
        'What happens to the destination table before the copy. DoNothing: rows are written over what is there. Truncate: it is emptied; columns, indexes and grants stay. Drop: it is dropped and made anew as the source has it; views that depend on it are dropped too. Cannot be changed.',
      default: 'DoNothing',
      rules: [fixed('destinationTable', CURE)],
    }),
    backfill: object(backfillOverrides, {
      description: 'Where this backfill copies in another way than the Pipeline says. Cannot be changed.',
      default: {},
      rules: [{ rule: 'self == oldSelf', message: `backfill cannot be changed${CURE}` }],
    }),
    verify: optional(
      oneOf(VERIFY, {
        description:
          'Comparing the table with its source, row by row, while it streams on. AfterBackfill: once the backfill has drained, by another TableBackfill that the operator makes, named like this one with -verify. Only: nothing is copied, the streaming table is compared at once. Cannot be changed.',
      }),
    ),
    backoffLimit: integer({
      description: 'Attempts that may fail before the backfill is given up. Cannot be changed.',
      min: 0,
      max: 1000,
      default: 10,
      rules: [{ rule: 'self == oldSelf', message: `backoffLimit cannot be changed${CURE}` }],
    }),
    suspend: boolean({
      description:
        'While true, the backfill does not start, or stops copying and goes on from the finished chunks once it is false again. A table that is held stays held.',
      default: false,
    }),
    cancel: boolean({
      description:
        'True ends the backfill: the table goes on from the queue, its history may be incomplete. Cannot be taken back.',
      default: false,
      rules: [
        {
          rule: 'self || !oldSelf',
          message: `cancel cannot be taken back${CURE}`,
        },
      ],
    }),
  },
  {
    description: 'What is wanted. All but suspend and cancel is fixed at creation.',
    rules: [
      {
        rule: 'has(self.verify) == has(oldSelf.verify) && (!has(self.verify) || self.verify == oldSelf.verify)',
        message: `verify cannot be changed${CURE}`,
        fieldPath: '.verify',
      },
      showing(
        {
          rule: "!has(self.verify) || self.verify != 'Only' || self.destinationTable == 'DoNothing'",
          message:
            'verify Only copies nothing, so the destination table cannot be emptied before: leave destinationTable out, or set verify to AfterBackfill',
          fieldPath: '.verify',
        },
        `'found destinationTable ' + self.destinationTable`,
      ),
    ],
  },
)

export type TableBackfillSpec = Infer<typeof tableBackfillSpec>
export type TableBackfillManifestSpec = Input<typeof tableBackfillSpec>
export type { TableBackfillStatus } from './table-backfill-status.ts'
export type TableBackfill = CustomResource<
  'TableBackfill',
  TableBackfillSpec,
  Infer<typeof tableBackfillStatus>
>

export type { Condition } from './conditions.ts'
export type { BackfillOverrides } from './settings.ts'
export type { UnfitColumn } from './shapes.ts'
export type { CopyFailure, CopyStatus, QueueStatus, VerifyStatus } from './table-backfill-status.ts'
