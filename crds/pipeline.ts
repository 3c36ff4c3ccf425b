/** The kind Pipeline: one source database, one queue, one destination, an ordered list of tables. */

import { DELETION_POLICIES, ON_GAP, PIPELINE_STATES } from './api.ts'
import { kafkaQueue } from './kafka.ts'
import type { CustomResource } from './metadata.ts'
import { pipelineSpecRules } from './pipeline-rules.ts'
import type { pipelineStatus } from './pipeline-status.ts'
import { podTemplate } from './pods.ts'
import { postgresDestination, postgresSource } from './postgres.ts'
import { redshiftDestination } from './redshift.ts'
import { exactlyOne } from './rules.ts'
import { type Infer, type Input, object, oneOf, optional } from './schema.ts'
import { applySettings, backfillSettings } from './settings.ts'
import { pipelineTables } from './tables.ts'

const source = object({ postgres: postgresSource }, { description: 'Where rows come from.' })

const queue = object({ kafka: kafkaQueue }, { description: 'Where changes wait until they are applied.' })

const destination = object(
  { postgres: optional(postgresDestination), redshift: optional(redshiftDestination) },
  {
    description: 'Where rows go: exactly one of postgres and redshift.',
    rules: [exactlyOne('postgres', 'redshift', 'add one, or move one to another Pipeline')],
  },
)

export const pipelineSpec = object(
  {
    state: oneOf(PIPELINE_STATES, {
      description:
        'Running: changes are captured and applied. Paused: they are captured into the queue and not applied. Stopped: nothing runs, and the source keeps its log for the slot.',
      default: 'Running',
    }),
    source,
    queue,
    destination,
    tables: pipelineTables,
    backfill: backfillSettings,
    apply: applySettings,
    onGap: oneOf(ON_GAP, {
      description:
        'What happens when changes were lost, because the slot or a topic was. Backfill: the tables are emptied and copied again. Halt: they stop until a person decides.',
      default: 'Backfill',
    }),
    // Delete, although others retain by default: a forgotten slot fills the disk of the source and brings it down.
    deletionPolicy: oneOf(DELETION_POLICIES, {
      description:
        'What happens in the source when the Pipeline is deleted. Delete: slot and publication are dropped. Retain: they stay, and the slot holds the log of the source until somebody drops it. Topics and destination tables always stay.',
      default: 'Delete',
    }),
    podTemplate,
  },
  { description: 'What is wanted.', rules: pipelineSpecRules },
)

export type PipelineSpec = Infer<typeof pipelineSpec>
export type PipelineManifestSpec = Input<typeof pipelineSpec>
export type { PipelineStatus } from './pipeline-status.ts'
export type Pipeline = CustomResource<'Pipeline', PipelineSpec, Infer<typeof pipelineStatus>>

export type { Condition } from './conditions.ts'
export type { KafkaQueue } from './kafka.ts'
export type {
  AppliedTable,
  ApplyStatus,
  CaptureStatus,
  PipelineCounts,
  TableStatus,
} from './pipeline-status.ts'
export type { PodTemplate } from './pods.ts'
export type { PostgresDestination, PostgresReplica, PostgresSource } from './postgres.ts'
export type { RedshiftDestination } from './redshift.ts'
export type { CaSecretRef, CredentialsSecretRef } from './secrets.ts'
export type { ApplySettings, BackfillOverrides, BackfillSettings } from './settings.ts'
export type { Problem, TableName, UnfitColumn } from './shapes.ts'
export type { PipelineTable } from './tables.ts'
