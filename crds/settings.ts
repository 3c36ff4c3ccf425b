/** How tables are copied and how changes are applied. */

import { DELETES, READ_FROM, SCANS } from './api.ts'
import { type Infer, integer, object, oneOf, optional } from './schema.ts'

const PARALLELISM = { description: 'Readers that copy one table at the same time.', min: 1, max: 64 } as const
const CHUNK_ROWS = {
  description:
    'Rows that are copied in one step, about. A chunk that is done is not copied again after a restart. Memory does not depend on it.',
  min: 1,
  max: 100_000_000,
} as const
const SCAN = {
  description:
    'How a table is cut into chunks. Key: by ranges of its key. Ctid: by ranges of its blocks, under one snapshot (on a replica on which other transactions always run: by upserts, each range under its own); faster for tables of which the key is scattered. Auto: as fits the table.',
} as const

const readFrom = optional(
  oneOf(READ_FROM, {
    description:
      'Which server is read. Without it, a replica if source.postgres.replicas names any, else the primary.',
  }),
)

/** Settings for all tables of a Pipeline. */
export const backfillSettings = object(
  {
    maxConcurrentTables: integer({
      description: 'Tables that are copied at the same time. Others wait in the order of the list.',
      min: 1,
      max: 1000,
      default: 10,
    }),
    parallelism: integer({ ...PARALLELISM, default: 5 }),
    chunkRows: integer({ ...CHUNK_ROWS, default: 100_000 }),
    readFrom,
    scan: oneOf(SCANS, { ...SCAN, default: 'Auto' }),
  },
  { description: 'How the history of tables is copied.', default: {} },
)

/** What one table or one TableBackfill may have in its own way. */
export const backfillOverrides = {
  parallelism: optional(integer(PARALLELISM)),
  chunkRows: optional(integer(CHUNK_ROWS)),
  readFrom,
  scan: optional(oneOf(SCANS, SCAN)),
}

/** Settings for one table of a Pipeline. */
export const tableBackfillSettings = object(backfillOverrides, {
  description: 'Where this table is copied in another way than spec.backfill says.',
})

export const applySettings = object(
  {
    flushSeconds: integer({
      description:
        'Longest time that changes are gathered before they are written. 30 and more lets an Amazon Redshift rest.',
      min: 1,
      max: 3600,
      default: 1,
    }),
    flushRows: integer({
      description: 'Changes of one table after which they are written at once.',
      min: 1,
      max: 10_000_000,
      default: 20_000,
    }),
    flushBytes: integer({
      description: 'Bytes of changes of one table after which they are written at once.',
      min: 1024,
      max: 1_073_741_824,
      default: 16_777_216,
    }),
    deletes: oneOf(DELETES, {
      description:
        'What a delete in the source does. Hard: the row is deleted. Soft: it stays and its column __millrace_deleted becomes true.',
      default: 'Hard',
    }),
  },
  { description: 'How changes are applied to the destination.', default: {} },
)

export type BackfillSettings = Infer<typeof backfillSettings>
export type BackfillOverrides = Infer<typeof tableBackfillSettings>
export type ApplySettings = Infer<typeof applySettings>
