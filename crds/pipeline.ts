/** The kind Pipeline: one source database, one queue, one destination, an ordered list of tables. */

import { DELETION_POLICIES, ON_GAP, PIPELINE_STATES } from './api.ts'
import { kafkaQueue } from './kafka.ts'
import type { CustomResource } from './metadata.ts'
import type { pipelineStatus } from './pipeline-status.ts'
import { podTemplate } from './pods.ts'
import { postgresDestination, postgresSource } from './postgres.ts'
import { redshiftDestination } from './redshift.ts'
import { type Infer, type Input, object, oneOf, optional, type Rule } from './schema.ts'
import { applySettings, backfillSettings } from './settings.ts'
import { pipelineTables } from './tables.ts'

const source = object({ postgres: postgresSource }, { description: 'Where rows come from.' })

const queue = object({ kafka: kafkaQueue }, { description: 'Where changes wait until they are applied.' })

const destination = object(
  { postgres: optional(postgresDestination), redshift: optional(redshiftDestination) },
  {
    description: 'Where rows go: exactly one of postgres and redshift.',
    rules: [
      {
        rule: 'has(self.postgres) != has(self.redshift)',
        message:
          'exactly one of destination.postgres and destination.redshift must be set: keep one, and create another Pipeline for the other',
      },
      {
        rule: 'has(self.postgres) == has(oldSelf.postgres)',
        message:
          'destination cannot be changed to another kind, because it would begin empty: create another Pipeline',
      },
    ],
  },
)

const HAS_REPLICAS = 'size(self.source.postgres.?replicas.orValue([])) > 0'

const REPLICA_NEEDED =
  'readFrom Replica needs a replica: list one in source.postgres.replicas, or set readFrom to Primary'

// The name that a table has in the destination, quoted so that no two different tables give the same text. It is spelt
// out with `has`, because optional values take from the API server what it knows about the length of the text.
const DESTINATION_SCHEMA = [
  'has(t.destination) && has(t.destination.schema) ? t.destination.schema',
  'has(self.destination.postgres) && has(self.destination.postgres.schema) ? self.destination.postgres.schema',
  'has(self.destination.redshift) && has(self.destination.redshift.schema) ? self.destination.redshift.schema',
  't.schema',
].join(' : ')
const DESTINATION_TABLE = 'has(t.destination) && has(t.destination.name) ? t.destination.name : t.name'
const DESTINATION_NAME = `'"' + (${DESTINATION_SCHEMA}) + '"."' + (${DESTINATION_TABLE}) + '"'`

const rules: readonly Rule[] = [
  {
    rule: `self.backfill.?readFrom.orValue('') != 'Replica' || ${HAS_REPLICAS}`,
    message: REPLICA_NEEDED,
    fieldPath: '.backfill.readFrom',
  },
  {
    rule: `self.tables.all(t, t.?backfill.?readFrom.orValue('') != 'Replica') || ${HAS_REPLICAS}`,
    message: REPLICA_NEEDED,
    fieldPath: '.tables',
  },
  {
    // Comparing each with each exceeds what a rule may cost. A map refuses a second entry of the same name, and the
    // API server reports that refusal, name included, together with the message.
    rule: `size(self.tables.transformMapEntry(i, t, {${DESTINATION_NAME}: i})) == size(self.tables)`,
    message:
      'two of tables have the same destination: give one of them another destination.schema or destination.name',
    fieldPath: '.tables',
  },
]

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
  { description: 'What should be.', rules },
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
export type { Problem, TableName } from './shapes.ts'
export type { PipelineTable } from './tables.ts'
