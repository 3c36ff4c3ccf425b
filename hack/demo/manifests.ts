import { API_VERSION } from '../../crds/api.ts'
import type { PipelineManifestSpec } from '../../crds/pipeline.ts'
import type { TableBackfillManifestSpec } from '../../crds/table-backfill.ts'
import type { Manifest } from './kube.ts'
import type { RedshiftEnv, StackEnv } from './stack-env.ts'

/** Source, replica, queue and destination of the local stack, as a Pipeline names them. */
export function localPipelineSpec(
  env: StackEnv,
  databases: { readonly source: string; readonly destination: string },
): Pick<PipelineManifestSpec, 'source' | 'queue' | 'destination'> {
  return {
    source: {
      postgres: {
        host: env.POD_SOURCE_HOST,
        port: Number(env.POD_SOURCE_PORT),
        database: databases.source,
        sslMode: 'Disable',
        credentialsSecretRef: { name: 'source' },
        replicas: [{ host: env.POD_REPLICA_HOST, port: Number(env.POD_REPLICA_PORT) }],
      },
    },
    queue: { kafka: { bootstrapServers: env.POD_KAFKA_BROKERS.split(',') } },
    destination: {
      postgres: {
        host: env.POD_DEST_HOST,
        port: Number(env.POD_DEST_PORT),
        database: databases.destination,
        sslMode: 'Disable',
        credentialsSecretRef: { name: 'destination' },
      },
    },
  }
}

/** The Redshift emulator of the local stack, as a Pipeline names it. Each site has a database and a prefix of its own. */
export function localRedshiftSpec(
  { podDataUrl, podS3Url, bucket }: RedshiftEnv,
  database: string,
): PipelineManifestSpec['destination'] {
  return {
    redshift: {
      region: 'us-east-1',
      clusterIdentifier: 'emulator',
      database,
      dbUser: 'awsuser',
      s3: { bucket, prefix: `${database}/` },
      endpoints: { redshiftData: podDataUrl, s3: podS3Url },
      credentialsSecretRef: {
        name: 'destination',
        accessKeyIdKey: 'username',
        secretAccessKeyKey: 'password',
      },
    },
  }
}

export function namespaceManifest(name: string): Manifest {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
}

export function secretManifest(
  namespace: string,
  name: string,
  username: string,
  password: string,
): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace },
    stringData: { username, password },
  }
}

export function pipelineManifest(namespace: string, name: string, spec: PipelineManifestSpec): Manifest {
  return { apiVersion: API_VERSION, kind: 'Pipeline', metadata: { name, namespace }, spec }
}

export function backfillManifest(namespace: string, name: string, spec: TableBackfillManifestSpec): Manifest {
  return { apiVersion: API_VERSION, kind: 'TableBackfill', metadata: { name, namespace }, spec }
}
