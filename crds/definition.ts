/** The two CustomResourceDefinitions, put together from the schemas. */

import { CATEGORY, GROUP, PIPELINES, TABLE_BACKFILLS, VERSION } from './api.ts'
import { pipelineSpec } from './pipeline.ts'
import { pipelineRules } from './pipeline-rules.ts'
import { pipelineStatus } from './pipeline-status.ts'
import type { OpenApiSchema, Rule, Schema } from './schema.ts'
import { tableBackfillSpec } from './table-backfill.ts'
import { tableBackfillStatus } from './table-backfill-status.ts'

interface Column {
  name: string
  type: 'string' | 'integer' | 'date'
  description: string
  jsonPath: string
  /** 1 shows the column only with `-o wide`. */
  priority?: 1
}

export interface Kind {
  kind: string
  plural: string
  shortName: string
  description: string
  spec: Schema<object, object>
  status: Schema<object, object>
  rules: readonly Rule[]
  columns: readonly Column[]
  selectable: readonly string[]
}

const AGE: Column = {
  name: 'Age',
  type: 'date',
  description: 'Time since it was created.',
  jsonPath: '.metadata.creationTimestamp',
}

export const pipelineKind: Kind = {
  kind: PIPELINES.kind,
  plural: PIPELINES.plural,
  shortName: 'mrp',
  description: 'A Pipeline keeps tables of one PostgreSQL database replicated into one destination.',
  spec: pipelineSpec,
  status: pipelineStatus,
  rules: [nameAtMost(52), ...pipelineRules],
  columns: [
    condition('Ready', 'Ready', 'Whether all tables stream and all parts are connected.'),
    {
      name: 'Tables',
      type: 'integer',
      description: 'Tables in the spec.',
      jsonPath: '.status.counts.tables',
    },
    {
      name: 'Streaming',
      type: 'integer',
      description: 'Tables that are up to date and stay so.',
      jsonPath: '.status.counts.streaming',
    },
    {
      name: 'Backfilling',
      type: 'integer',
      description: 'Tables that are being copied.',
      jsonPath: '.status.counts.backfilling',
    },
    {
      name: 'Queued',
      type: 'integer',
      description: 'Tables that wait for a place.',
      jsonPath: '.status.counts.queued',
    },
    {
      name: 'Failed',
      type: 'integer',
      description: 'Tables that stopped.',
      jsonPath: '.status.counts.failed',
      priority: 1,
    },
    {
      name: 'Lag',
      type: 'string',
      description: 'How far the slowest table is behind.',
      jsonPath: '.status.lag',
    },
    AGE,
    {
      name: 'Message',
      type: 'string',
      description: 'What it waits for, or what is wrong.',
      jsonPath: '.status.conditions[?(@.type=="Ready")].message',
      priority: 1,
    },
  ],
  selectable: [],
}

export const tableBackfillKind: Kind = {
  kind: TABLE_BACKFILLS.kind,
  plural: TABLE_BACKFILLS.plural,
  shortName: 'tbf',
  description: 'A TableBackfill copies the rows of one table of a Pipeline, once.',
  spec: tableBackfillSpec,
  status: tableBackfillStatus,
  rules: [nameAtMost(63)],
  columns: [
    {
      name: 'Pipeline',
      type: 'string',
      description: 'The Pipeline of the table.',
      jsonPath: '.spec.pipelineRef.name',
    },
    { name: 'Table', type: 'string', description: 'Name of the table.', jsonPath: '.spec.table.name' },
    { name: 'Phase', type: 'string', description: 'Where the backfill stands.', jsonPath: '.status.phase' },
    {
      name: 'Progress',
      type: 'string',
      description: 'Share that is copied.',
      jsonPath: '.status.progress',
    },
    {
      name: 'Rows',
      type: 'integer',
      description: 'Rows that are copied.',
      jsonPath: '.status.copy.rowsCopied',
    },
    {
      name: 'Different',
      type: 'integer',
      description: 'Rows that a comparison found to differ.',
      jsonPath: '.status.verify.rowsDifferent',
    },
    AGE,
    {
      name: 'Schema',
      type: 'string',
      description: 'Schema of the table.',
      jsonPath: '.spec.table.schema',
      priority: 1,
    },
    {
      name: 'Message',
      type: 'string',
      description: 'What it waits for, or what is wrong.',
      jsonPath: '.status.message',
      priority: 1,
    },
  ],
  selectable: ['.spec.pipelineRef.name', '.spec.table.schema', '.spec.table.name', '.status.phase'],
}

/** What is applied to the cluster. */
export function customResourceDefinition(kind: Kind) {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${kind.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Namespaced',
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.kind.toLowerCase(),
        shortNames: [kind.shortName],
        categories: [CATEGORY],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: kind.columns,
          selectableFields: kind.selectable.map((jsonPath) => ({ jsonPath })),
          schema: { openAPIV3Schema: root(kind) },
        },
      ],
    },
  }
}

function root(kind: Kind): OpenApiSchema {
  return {
    type: 'object',
    description: kind.description,
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string', description: 'Group and version of the API.' },
      kind: { type: 'string', description: 'Kind of the object.' },
      // The name is declared so that the rule about it can point at it.
      metadata: { type: 'object', properties: { name: { type: 'string', maxLength: 253 } } },
      spec: explained(kind.spec.openApi),
      status: explained(kind.status.openApi),
    },
    'x-kubernetes-validations': kind.rules,
  }
}

/** With each default told in the description too, because `kubectl explain` does not show it otherwise. */
function explained(schema: OpenApiSchema): OpenApiSchema {
  const { description, properties, items } = schema
  const byDefault = typeof schema.default === 'object' ? undefined : schema.default
  return {
    ...schema,
    ...(byDefault !== undefined && { description: `${description} Default: ${byDefault}.` }),
    ...(items && { items: explained(items) }),
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, field]) => [name, explained(field)]),
      ),
    }),
  }
}

/** Names of pods and values of labels, which are derived from it, end at 63 characters. */
function nameAtMost(length: number): Rule {
  return {
    rule: `size(self.metadata.name) <= ${length}`,
    message: `metadata.name must be at most ${length} characters long, because pods are labelled with it: choose a shorter name`,
    fieldPath: '.metadata.name',
  }
}

function condition(name: string, type: string, description: string): Column {
  return { name, type: 'string', description, jsonPath: `.status.conditions[?(@.type=="${type}")].status` }
}
