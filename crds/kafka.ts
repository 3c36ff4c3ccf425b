/** The queue between capture and apply. */

import { SASL_MECHANISMS } from './api.ts'
import { boolean, type Infer, integer, object, oneOf, optional, set, string } from './schema.ts'
import { caRef, credentialsRef } from './secrets.ts'

const tls = object(
  {
    enabled: boolean({
      description: 'Whether connections are encrypted and brokers verified.',
      default: true,
    }),
    caSecretRef: optional(
      caRef('The authorities that brokers are verified against. Without it, the public ones.'),
    ),
  },
  {
    description: 'TLS of the connections to the brokers. Without it, plain text.',
    rules: [
      {
        rule: '!has(self.caSecretRef) || self.enabled',
        message: 'enabled must be true when caSecretRef is set: set enabled to true or remove caSecretRef',
        fieldPath: '.enabled',
      },
    ],
  },
)

const sasl = object(
  {
    mechanism: oneOf(SASL_MECHANISMS, { description: 'How the user is proven.' }),
    credentialsSecretRef: credentialsRef('User name and password.'),
  },
  { description: 'Authentication with the brokers. Without it, none.' },
)

export const kafkaQueue = object(
  {
    bootstrapServers: set(
      string({
        maxLength: 300,
        matches: {
          pattern: '^(\\[[0-9a-fA-F:.]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}$',
          message: 'each of bootstrapServers must be host:port, such as kafka.example:9092',
        },
      }),
      { description: 'Brokers to begin with, as host:port.', minItems: 1, maxItems: 32 },
    ),
    tls: optional(tls),
    sasl: optional(sasl),
    topicPrefix: optional(
      string({
        description:
          'Begin of the topic names <prefix>.<schema>.<table>. By default <namespace>.<name> of the Pipeline. Two Pipelines must not share one. Cannot be changed once capture was connected.',
        maxLength: 120,
        matches: {
          pattern: '^[a-zA-Z0-9._-]+$',
          message: 'topicPrefix may hold letters, digits, dots, underscores and hyphens only',
        },
      }),
    ),
    replicationFactor: optional(
      integer({
        description:
          'Copies that Kafka keeps of a topic. By default what the brokers have as default.replication.factor. Takes effect for topics made later.',
        min: 1,
        max: 100,
      }),
    ),
    retentionSeconds: integer({
      description:
        'How long changes are kept in the queue after they were applied. Changes that were not are kept without limit.',
      min: 0,
      max: 31_536_000,
      default: 3600,
    }),
  },
  { description: 'A Kafka cluster (2.8 or later), with one topic per table.' },
)

export type KafkaQueue = Infer<typeof kafkaQueue>
