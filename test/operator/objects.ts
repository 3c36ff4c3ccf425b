import type { Pipeline, PipelineSpec, PipelineStatus } from '../../crds/pipeline.ts'
import type { TableBackfill, TableBackfillSpec, TableBackfillStatus } from '../../crds/table-backfill.ts'

// Objects as the API server hands them out, for tests of the operator's decisions.

const credentials = { name: 'db', usernameKey: 'username', passwordKey: 'password' }

export function pipelineSpec(over: Partial<PipelineSpec> = {}): PipelineSpec {
  return {
    state: 'Running',
    source: {
      postgres: {
        host: 'source',
        port: 5432,
        sslMode: 'Require',
        database: 'app',
        credentialsSecretRef: credentials,
        heartbeatSeconds: 10,
      },
    },
    queue: { kafka: { bootstrapServers: ['kafka:9092'], retentionSeconds: 3600 } },
    destination: {
      postgres: {
        host: 'destination',
        port: 5432,
        sslMode: 'Require',
        database: 'dwh',
        credentialsSecretRef: credentials,
        ledgerSchema: 'millrace',
      },
    },
    tables: [],
    backfill: { maxConcurrentTables: 10, parallelism: 5, chunkRows: 100_000, scan: 'Auto' },
    apply: { flushSeconds: 1, flushRows: 20_000, flushBytes: 16_777_216, deletes: 'Hard' },
    onGap: 'Backfill',
    deletionPolicy: 'Delete',
    podTemplate: {},
    ...over,
  }
}

export function table(name: string, initialBackfill: 'Enabled' | 'Skip' = 'Enabled') {
  return { schema: 'public', name, initialBackfill }
}

export function pipeline(spec: Partial<PipelineSpec> = {}, status?: PipelineStatus): Pipeline {
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: {
      name: 'shop',
      namespace: 'n',
      uid: 'pipeline-uid',
      generation: 1,
      creationTimestamp: '2026-11-22T10:00:00Z',
    },
    spec: pipelineSpec(spec),
    ...(status && { status }),
  }
}

export function backfill(
  name: string,
  spec: Partial<TableBackfillSpec> = {},
  status?: TableBackfillStatus,
  metadata: Partial<TableBackfill['metadata']> = {},
): TableBackfill {
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'TableBackfill',
    metadata: {
      name,
      namespace: 'n',
      uid: `${name}-uid`,
      generation: 1,
      creationTimestamp: '2026-11-22T10:00:00Z',
      ...metadata,
    },
    spec: {
      pipelineRef: { name: 'shop' },
      table: { schema: 'public', name: 'orders' },
      destinationTable: 'DoNothing',
      backfill: {},
      backoffLimit: 3,
      suspend: false,
      cancel: false,
      ...spec,
    },
    ...(status && { status }),
  }
}

/** As the operator makes them. */
export function owned(label: string): Partial<TableBackfill['metadata']> {
  return {
    labels: { [label]: 'true' },
    ownerReferences: [{ kind: 'Pipeline', name: 'shop', uid: 'pipeline-uid', controller: true }],
  }
}
