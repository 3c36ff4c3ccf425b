import type { PipelineSpec, PostgresDestination } from '../../crds/pipeline.ts'
import type { Secrets } from '../runtime/context.ts'
import type { PostgresTarget } from './connect.ts'

/** The primary of a Pipeline. */
export function sourceTarget(spec: PipelineSpec, secrets: Secrets, process: string): PostgresTarget {
  const source = spec.source.postgres
  const field = 'spec.source.postgres'
  return {
    host: source.host,
    port: source.port,
    database: source.database,
    sslMode: source.sslMode,
    field,
    credentials: { mount: 'source', field: `${field}.credentialsSecretRef` },
    ca: source.caSecretRef ? { mount: 'source-ca', field: `${field}.caSecretRef` } : undefined,
    secrets,
    process,
  }
}

/** The replicas of a Pipeline, in the order of the spec; empty when it has none. */
export function replicaTargets(spec: PipelineSpec, secrets: Secrets, process: string): PostgresTarget[] {
  const primary = sourceTarget(spec, secrets, process)
  return (spec.source.postgres.replicas ?? []).map((replica, index) => {
    const field = `${primary.field}.replicas[${index}]`
    return {
      ...primary,
      host: replica.host,
      port: replica.port,
      field,
      credentials: replica.credentialsSecretRef
        ? { mount: `replica-${index}`, field: `${field}.credentialsSecretRef` }
        : primary.credentials,
    }
  })
}

/** A PostgreSQL destination. */
export function destinationTarget(
  destination: PostgresDestination,
  secrets: Secrets,
  process: string,
): PostgresTarget {
  const field = 'spec.destination.postgres'
  return {
    host: destination.host,
    port: destination.port,
    database: destination.database,
    sslMode: destination.sslMode,
    field,
    credentials: { mount: 'destination', field: `${field}.credentialsSecretRef` },
    ca: destination.caSecretRef ? { mount: 'destination-ca', field: `${field}.caSecretRef` } : undefined,
    secrets,
    process,
  }
}
