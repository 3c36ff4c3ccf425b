/** The status of a TableBackfill. Each part has one writer, by server-side apply. */

import {
  BACKFILL_CONDITIONS,
  BACKFILL_PHASES,
  BACKFILL_QUEUE_STATES,
  COPY_STAGES,
  DIFFERENCE_KINDS,
  VERIFY_RESULTS,
} from './api.ts'
import { conditions } from './conditions.ts'
import { boolean, type Infer, list, object, oneOf, optional, string } from './schema.ts'
import { code, count, lsn, MESSAGE_LENGTH, message, time, unfit } from './shapes.ts'

const failed = object(
  {
    code: code('What went wrong, as one word for machines.'),
    message: string({ description: 'What went wrong and what to do about it.', maxLength: MESSAGE_LENGTH }),
    retryable: boolean({ description: 'Whether another attempt may succeed with nothing changed.' }),
  },
  { description: 'Why the latest attempt ended without success.' },
)

const copy = object(
  {
    stage: optional(oneOf(COPY_STAGES, { description: 'What the worker is doing.' })),
    attempt: count('Number of the attempt, from 1.'),
    code: optional(code('What it waits for, as one word for machines.')),
    message: message('What it waits for.'),
    server: optional(string({ description: 'Server that is read, as host:port.', maxLength: 300 })),
    scan: optional(oneOf(['Key', 'Ctid'], { description: 'How the table is cut into chunks.' })),
    rowsCopied: count('Rows in the destination.'),
    rowsEstimated: count("Rows of the table by the source's statistics."),
    bytesCopied: count('Bytes in the destination, as sent.'),
    chunksDone: count('Chunks in the destination.'),
    chunksTotal: count('Chunks of the plan.'),
    holdLSN: lsn('Position of the hold in the log: changes after it come from the queue.'),
    releaseLSN: lsn('Position of the release in the log: the end of draining.'),
    actionDone: optional(
      boolean({ description: 'Whether the destination table has been made, emptied or dropped as asked.' }),
    ),
    warnings: optional(
      list(
        string({
          description: 'For example that a view went with its table.',
          maxLength: 1024,
        }),
        {
          description:
            'What a person should know of: what else making, emptying or dropping the destination table has changed, and that the ledger was changed by hand.',
          maxItems: 20,
        },
      ),
    ),
    unfit: unfit(
      'Columns of which copied rows had values that the destination cannot hold and that were changed as onUnfit says; those with most of them. A chunk that was copied again after a failure counts again.',
    ),
    failed: optional(failed),
  },
  { description: 'What the copy reports. Written by the backfill worker.' },
)

const queue = object(
  {
    state: oneOf(BACKFILL_QUEUE_STATES, { description: 'What the ledger says about this backfill.' }),
    heldLSN: lsn('Position of the hold at which apply stopped.'),
    lagSeconds: count('Age of the oldest change that has not been applied.'),
    lagBytes: count('Bytes of log between what was applied and the end of the queue.'),
    drainedTime: time('When apply passed the release.'),
    historyComplete: optional(boolean({ description: 'Whether the destination has all rows of the table.' })),
    code: optional(code('Why it was closed, as one word for machines.')),
    message: message('What it waits for, or why it was closed.'),
  },
  { description: 'What apply reports about this backfill. Written by the apply worker.' },
)

const example = object(
  {
    key: string({
      description:
        'Key of the row; of several columns as a JSON list. Values of other columns are never told.',
      maxLength: 256,
    }),
    kind: oneOf(DIFFERENCE_KINDS, {
      description: 'Changed: values differ. Missing: not in the destination. Extra: not in the source.',
    }),
  },
  {},
)

const verify = object(
  {
    result: optional(
      oneOf(VERIFY_RESULTS, { description: 'How the comparison ended; absent while it goes on.' }),
    ),
    rangesDone: count('Ranges of keys that were compared.'),
    rangesTotal: count('Ranges of keys of the table.'),
    rowsCompared: count('Rows that were compared.'),
    rangesDifferent: count('Ranges in which rows differ.'),
    rowsDifferent: count(
      'Rows that differ for certain: no change in the queue or under way explains it. After 10,000 no more are looked for.',
    ),
    rowsChanged: count('Rows of which values differ.'),
    rowsMissing: count('Rows that are not in the destination.'),
    rowsExtra: count('Rows that are not in the source.'),
    rowsUndecided: count('Rows that changed so often that nothing could be said about them.'),
    examples: optional(list(example, { description: 'Some of the rows that differ.', maxItems: 20 })),
    cursor: optional(
      string({ description: 'From where the comparison goes on after a restart.', maxLength: 4096 }),
    ),
  },
  { description: 'What the comparison has found. Written by the backfill worker.' },
)

export const tableBackfillStatus = object(
  {
    observedGeneration: count('The generation of the spec that this status is about.'),
    phase: optional(
      oneOf(BACKFILL_PHASES, {
        description: 'Where the backfill stands. Streaming, Verified, Cancelled and Failed are final.',
      }),
    ),
    message: message('What it waits for, in words.'),
    progress: optional(string({ description: 'Share that is copied, for people: 63%.', maxLength: 16 })),
    queuePosition: count('Place among the waiting ones, from 1; absent when it does not wait.'),
    conditions: optional(conditions(BACKFILL_CONDITIONS)),
    failures: count('Attempts that failed.'),
    startTime: time('When it left the queue.'),
    heldTime: time('When apply began to hold the table.'),
    copiedTime: time('When the last chunk was in the destination.'),
    completionTime: time('When it ended.'),
    copy: optional(copy),
    verify: optional(verify),
    queue: optional(queue),
  },
  { description: 'What was found. Written by the operator, and by the workers where said.' },
)

export type TableBackfillStatus = Infer<typeof tableBackfillStatus>
export type CopyStatus = Infer<typeof copy>
export type VerifyStatus = Infer<typeof verify>
export type CopyFailure = Infer<typeof failed>
export type QueueStatus = Infer<typeof queue>
