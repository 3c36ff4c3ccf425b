/** The status of a Pipeline. Each part has one writer, by server-side apply. */

import { APPLY_STATES, PIPELINE_CONDITIONS, TABLE_STATES } from './api.ts'
import { conditions } from './conditions.ts'
import { boolean, type Infer, integer, list, listMap, object, oneOf, optional, string } from './schema.ts'
import { code, count, identifier, lsn, message, problem, unfit } from './shapes.ts'

const MAX_TABLES = 1000

const name = {
  schema: identifier('Schema of the table in the source.'),
  name: identifier('Name of the table in the source.'),
}

const historyComplete = optional(
  boolean({
    description:
      'Whether the destination has all rows of the table. False where a backfill is missing, was cancelled, or changes were lost.',
  }),
)

const problems = optional(
  list(problem, { description: 'What is wrong at present; absent when all is well.', maxItems: 1000 }),
)

const counts = object(
  {
    tables: integer({ description: 'Tables in the spec.', min: 0 }),
    streaming: integer({ description: 'Tables that are Streaming.', min: 0 }),
    backfilling: integer({ description: 'Tables that are Backfilling or Draining.', min: 0 }),
    queued: integer({ description: 'Tables that are Pending or Queued.', min: 0 }),
    failed: integer({ description: 'Tables that are Failed.', min: 0 }),
  },
  { description: 'How many tables are in which state. Written by the operator.' },
)

const table = object(
  {
    ...name,
    state: oneOf(TABLE_STATES, { description: 'Where the table stands.' }),
    code: optional(code('What went wrong, as one word for machines.')),
    message: message('What it waits for, or what went wrong and what to do.'),
    historyComplete,
    backfill: optional(string({ description: 'Name of its latest TableBackfill.', maxLength: 253 })),
    initialBackfill: optional(
      string({
        description:
          'Name of the TableBackfill that the operator made for it when it was added. While this stands here, no other is made.',
        maxLength: 253,
      }),
    ),
  },
  {},
)

const capture = object(
  {
    slot: optional(string({ description: 'Name of the replication slot.', maxLength: 63 })),
    publication: optional(string({ description: 'Name of the publication.', maxLength: 63 })),
    systemIdentifier: optional(
      string({ description: 'Identity of the database cluster of the source.', maxLength: 20 }),
    ),
    timeline: count('Timeline of the source; changes when a replica is promoted.'),
    epoch: count('Counts the gaps; positions are compared within one epoch.'),
    gap: optional(
      object(
        {
          epoch: integer({ description: 'The epoch that it began.', min: 0 }),
          code: code('What was lost, as one word for machines.'),
          message: message('What was lost, and what to do.'),
        },
        {
          description:
            'The last gap that concerned all tables. A table whose epoch is an older one has not come to it yet.',
        },
      ),
    ),
    confirmedLSN: lsn('Up to here the log is in the queue, and the source may forget it.'),
    retainedWALBytes: count('Bytes of log that the source keeps for the slot.'),
    tables: optional(
      listMap(object(name, {}), ['schema', 'name'], {
        description: 'Tables that are in the publication.',
        maxItems: MAX_TABLES,
      }),
    ),
    problems,
  },
  { description: 'What capture reports. Written by the capture worker.' },
)

const applied = object(
  {
    ...name,
    state: oneOf(APPLY_STATES, { description: 'What apply does with the table.' }),
    code: optional(
      code('Why it is not Streaming, or what makes its rows doubtful, as one word for machines.'),
    ),
    message: message('Why it is not Streaming, and what to do.'),
    lagSeconds: count('How far the destination is behind the source.'),
    epoch: count('Epoch of the last change that is in the destination; absent before the first.'),
    gap: optional(
      code('What was lost, as one word for machines, until the table has been emptied, copied and drained.'),
    ),
    needsEmptying: optional(
      boolean({
        description:
          'Whether rows may be there that the source has deleted, after a gap: only a backfill with Truncate or Drop mends that.',
      }),
    ),
    historyComplete,
    unfit: unfit(
      'Columns of which changes had values that the destination cannot hold and that were changed as onUnfit says; those with most of them. A change that was written again after a failure counts again.',
    ),
  },
  {},
)

const apply = object(
  {
    tables: optional(
      listMap(applied, ['schema', 'name'], {
        description: 'Tables that apply knows, as recorded in the ledger.',
        maxItems: MAX_TABLES,
      }),
    ),
    problems,
  },
  { description: 'What apply reports. Written by the apply worker.' },
)

export const pipelineStatus = object(
  {
    observedGeneration: count('The generation of the spec that this status is about.'),
    conditions: optional(conditions(PIPELINE_CONDITIONS)),
    counts: optional(counts),
    lag: optional(
      string({
        description: 'How far the slowest streaming table is behind, for people: 2s, 5m, 3h.',
        maxLength: 16,
      }),
    ),
    tables: optional(
      listMap(table, ['schema', 'name'], {
        description: 'The tables in the order of the spec. Written by the operator.',
        maxItems: MAX_TABLES,
      }),
    ),
    capture: optional(capture),
    apply: optional(apply),
  },
  { description: 'What was found. Written by the operator, and by the workers where said.' },
)

export type PipelineStatus = Infer<typeof pipelineStatus>
export type PipelineCounts = Infer<typeof counts>
export type TableStatus = Infer<typeof table>
export type CaptureStatus = Infer<typeof capture>
export type ApplyStatus = Infer<typeof apply>
export type AppliedTable = Infer<typeof applied>
