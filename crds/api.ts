/** The names that operator and workers agree on: group, kinds, and every word that may stand in a status. */

export const GROUP = 'millrace.dev'
export const VERSION = 'v1alpha1'
export const API_VERSION = `${GROUP}/${VERSION}` as const
export const CATEGORY = 'millrace'

/** Where Pipelines are in the API, all namespaces; add `namespace` for one. */
export const PIPELINES = { group: GROUP, version: VERSION, plural: 'pipelines', kind: 'Pipeline' } as const

/** Where TableBackfills are in the API, all namespaces; add `namespace` for one. */
export const TABLE_BACKFILLS = {
  group: GROUP,
  version: VERSION,
  plural: 'tablebackfills',
  kind: 'TableBackfill',
} as const

/**
 * What a Pipeline is asked to do.
 * - Running: captures into the queue, applies to the destination.
 * - Paused: captures into the queue, applies nothing.
 * - Stopped: nothing runs; the slot stays and holds back the source's log.
 */
export const PIPELINE_STATES = ['Running', 'Paused', 'Stopped'] as const

/**
 * Where a table of a Pipeline stands.
 * - Pending: not looked at yet, or its backfill cannot be created.
 * - Queued: its backfill waits for a place.
 * - Backfilling: its history is being copied; changes gather in the queue.
 * - Draining: the copy is complete, the gathered changes are being applied.
 * - Streaming: changes are applied as they come.
 * - Paused: the Pipeline is paused.
 * - Failed: stopped with a reason; the other tables go on.
 */
export const TABLE_STATES = [
  'Pending',
  'Queued',
  'Backfilling',
  'Draining',
  'Streaming',
  'Paused',
  'Failed',
] as const

/** What apply does with a table; `Held` while a backfill copies, `Stopped` at a change it cannot apply. */
export const APPLY_STATES = ['Streaming', 'Held', 'Paused', 'Stopped', 'Failed'] as const

/**
 * The life of a TableBackfill.
 * - Queued: waits for one of the `maxConcurrentTables` places, or for another backfill of the table.
 * - Preparing: its Job runs; the table joins the publication, older writers end, the hold is written.
 * - Backfilling: apply holds the table, chunks are copied.
 * - Draining: all chunks are durable, apply works through what gathered.
 * - Streaming: drained. Final.
 * - Verifying: its Job compares the table with its source; only with `verify: Only`.
 * - Verified: the comparison has ended, whatever it has found. Final.
 * - Cancelled, Failed: ended early, the table goes on from the queue. Final.
 */
export const BACKFILL_PHASES = [
  'Queued',
  'Preparing',
  'Backfilling',
  'Draining',
  'Streaming',
  'Verifying',
  'Verified',
  'Cancelled',
  'Failed',
] as const

/** What the backfill worker is doing, in the order in which it does it. */
export const COPY_STAGES = [
  'Connecting',
  'WaitingForPublication',
  'WaitingForWriters',
  'Holding',
  'WaitingForReplay',
  'ActingOnDestination',
  'Planning',
  'Copying',
  'Releasing',
  'Done',
  'Verifying',
] as const

/** The states of the ledger row of a backfill (rule R5), `None` before there is one. */
export const BACKFILL_QUEUE_STATES = ['None', 'Held', 'Copied', 'Closed', 'Drained'] as const

export const SSL_MODES = ['Disable', 'Require', 'VerifyCA', 'VerifyFull'] as const
export const SASL_MECHANISMS = ['Plain', 'ScramSha256', 'ScramSha512'] as const
export const INITIAL_BACKFILLS = ['Enabled', 'Skip'] as const
export const READ_FROM = ['Replica', 'Primary'] as const
export const SCANS = ['Auto', 'Key', 'Ctid'] as const
export const DELETES = ['Hard', 'Soft'] as const
export const ON_GAP = ['Backfill', 'Halt'] as const
export const DELETION_POLICIES = ['Delete', 'Retain'] as const
/** When a TableBackfill compares the table with its source. */
export const VERIFY = ['AfterBackfill', 'Only'] as const
export const DIFFERENCE_KINDS = ['Changed', 'Missing', 'Extra'] as const
export const VERIFY_RESULTS = ['Equal', 'Different'] as const
export const DESTINATION_ACTIONS = ['DoNothing', 'Truncate', 'Drop'] as const

/** What a problem is about; the operator turns it into the condition of the same part. */
export const COMPONENTS = ['Source', 'Queue', 'Slot', 'Destination', 'Table'] as const

export const PIPELINE_CONDITIONS = [
  'Ready',
  'SourceReady',
  'QueueReady',
  'SlotReady',
  'DestinationReady',
  'GapFree',
] as const

export const BACKFILL_CONDITIONS = ['Succeeded'] as const

/** Columns with values that did not fit that a status names; a table may have 1,600, and a Pipeline a thousand tables. */
export const MAX_UNFIT_COLUMNS = 10

/** Reasons of `Ready`. */
export const READY_REASONS = [
  'Streaming',
  'Backfilling',
  'Starting',
  'Paused',
  'Stopped',
  'SourceNotReady',
  'QueueNotReady',
  'SlotNotReady',
  'DestinationNotReady',
  'TablesFailed',
  'WorkersNotReady',
  'SpecInvalid',
  'Deleting',
] as const

/** Reasons of the conditions of one part, beside the code of the problem that was found there. */
export const PART_REASONS = ['Connected', 'NotReported', 'Stopped'] as const

/** Reasons of `GapFree`, beside the code of the first gap. */
export const GAP_REASONS = ['NoGap', 'ChangesLost'] as const

/** Reasons of `Succeeded`: the phase while it is Unknown, how it ended afterwards. */
export const SUCCEEDED_REASONS = [
  'Queued',
  'Suspended',
  'Preparing',
  'Backfilling',
  'Draining',
  'Drained',
  'Cancelled',
  'BackoffLimitExceeded',
  'InvalidInput',
  'PipelineNotFound',
  'TableNotInPipeline',
  'PipelineGone',
  'GapInQueue',
  'TableStopped',
  'Verifying',
  'Equal',
  'Different',
] as const

export type PipelineState = (typeof PIPELINE_STATES)[number]
export type TableState = (typeof TABLE_STATES)[number]
export type ApplyState = (typeof APPLY_STATES)[number]
export type BackfillPhase = (typeof BACKFILL_PHASES)[number]
export type CopyStage = (typeof COPY_STAGES)[number]
export type BackfillQueueState = (typeof BACKFILL_QUEUE_STATES)[number]
export type SslMode = (typeof SSL_MODES)[number]
export type ReadFrom = (typeof READ_FROM)[number]
export type Scan = (typeof SCANS)[number]
export type DestinationAction = (typeof DESTINATION_ACTIONS)[number]
export type Component = (typeof COMPONENTS)[number]
export type PipelineConditionType = (typeof PIPELINE_CONDITIONS)[number]
export type BackfillConditionType = (typeof BACKFILL_CONDITIONS)[number]
export type ReadyReason = (typeof READY_REASONS)[number]
export type GapReason = (typeof GAP_REASONS)[number]
export type PartReason = (typeof PART_REASONS)[number]
export type SucceededReason = (typeof SUCCEEDED_REASONS)[number]
