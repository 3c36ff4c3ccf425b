import type { PipelineManifestSpec } from '../../crds/pipeline.ts'
import type { TableBackfillManifestSpec } from '../../crds/table-backfill.ts'

export const postgres = { host: 'db.example', database: 'shop', credentialsSecretRef: { name: 'source' } }

export const warehouse = { host: 'dw.example', database: 'dw', credentialsSecretRef: { name: 'dw' } }

export const redshift = {
  region: 'eu-central-1',
  workgroupName: 'analytics',
  database: 'dw',
  s3: { bucket: 'millrace-load' },
}

/** The least that a Pipeline needs. */
export const leastPipeline: PipelineManifestSpec = {
  source: { postgres },
  queue: { kafka: { bootstrapServers: ['kafka.example:9092'] } },
  destination: { postgres: warehouse },
  tables: [{ name: 'orders' }, { name: 'items' }],
}

const ca = { name: 'ca', key: 'root.pem' }

/** Every field of a Pipeline that can be set along with the others. */
export const fullPipeline: PipelineManifestSpec = {
  state: 'Paused',
  source: {
    postgres: {
      ...postgres,
      port: 6432,
      sslMode: 'VerifyFull',
      caSecretRef: ca,
      credentialsSecretRef: { name: 'source', usernameKey: 'user', passwordKey: 'pw' },
      replicas: [{ host: '10.0.0.2' }, { host: 'fe80::1', port: 5433, credentialsSecretRef: { name: 'ro' } }],
      publication: 'Odd "name"',
      slot: 'shop_1',
      heartbeatSeconds: 1,
    },
  },
  queue: {
    kafka: {
      bootstrapServers: ['kafka-0.example:9092', '[::1]:9092'],
      tls: { caSecretRef: ca },
      sasl: { mechanism: 'ScramSha512', credentialsSecretRef: { name: 'kafka' } },
      topicPrefix: 'shop.v1',
      replicationFactor: 3,
      retentionSeconds: 0,
    },
  },
  destination: { postgres: { ...warehouse, schema: 'Raw Data', ledgerSchema: 'millrace_shop' } },
  tables: [
    { name: 'orders', columns: { exclude: ['card'] }, backfill: { readFrom: 'Replica', scan: 'Ctid' } },
    { schema: 'old', name: 'orders', destination: { name: 'orders_old' }, initialBackfill: 'Skip' },
    { name: 'select', columns: { include: ['id', 'from'] }, destination: { schema: 'x', name: 'select' } },
  ],
  backfill: { maxConcurrentTables: 3, parallelism: 2, chunkRows: 5000, readFrom: 'Replica', scan: 'Key' },
  apply: { flushSeconds: 60, flushRows: 1, flushBytes: 1024, deletes: 'Soft' },
  onGap: 'Halt',
  deletionPolicy: 'Retain',
  podTemplate: {
    labels: { team: 'data' },
    annotations: { note: '' },
    nodeSelector: { disk: 'fast' },
    tolerations: [{ key: 'spot', operator: 'Exists', effect: 'NoSchedule' }],
    resources: { backfill: { requests: { cpu: 1, memory: '128Mi' }, limits: { memory: '200Mi' } } },
    imagePullSecrets: [{ name: 'registry' }],
    priorityClassName: 'batch',
    serviceAccountName: 'shop',
  },
}

/** The least that a TableBackfill needs. */
export const leastBackfill: TableBackfillManifestSpec = {
  pipelineRef: { name: 'shop' },
  table: { name: 'orders' },
}

/** Changes a spec in place; what the types forbid is among what is tried. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Edit = (spec: any) => unknown

/** A copy of the spec with the change made. */
export function edited<T extends object>(spec: T, edit: Edit): T {
  const copy = structuredClone(spec)
  edit(copy)
  return copy
}
