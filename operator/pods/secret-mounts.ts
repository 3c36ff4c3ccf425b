import type { CaSecretRef, CredentialsSecretRef, PipelineSpec } from '../../crds/pipeline.ts'
import type { Process } from '../labels.ts'

/** One Secret as it is mounted: which keys under which file names. */
export interface Mount {
  /** Folder below the secrets folder. */
  readonly mount: string
  readonly secretName: string
  readonly items: readonly { readonly key: string; readonly path: string }[]
}

/** What each process may see: no more than it needs. */
const NEEDS: Readonly<
  Record<Process, { source: boolean; replicas: boolean; queue: boolean; destination: boolean }>
> = {
  capture: { source: true, replicas: false, queue: true, destination: false },
  // Reads unchanged values again from the source or a replica (rule R18).
  apply: { source: true, replicas: true, queue: true, destination: true },
  backfill: { source: true, replicas: true, queue: false, destination: true },
  cleanup: { source: true, replicas: false, queue: false, destination: false },
}

export function secretMounts(spec: PipelineSpec, process: Process): Mount[] {
  const needs = NEEDS[process]
  const source = spec.source.postgres
  const { tls, sasl } = spec.queue.kafka
  const { postgres, redshift } = spec.destination
  const replicas = (source.replicas ?? []).flatMap((replica, index) => {
    return replica.credentialsSecretRef ? credentials(`replica-${index}`, replica.credentialsSecretRef) : []
  })
  return [
    ...(needs.source ? credentials('source', source.credentialsSecretRef) : []),
    ...(needs.source ? authority('source-ca', source.caSecretRef) : []),
    ...(needs.replicas ? replicas : []),
    ...(needs.queue && sasl ? credentials('kafka-sasl', sasl.credentialsSecretRef) : []),
    ...(needs.queue ? authority('kafka-ca', tls?.caSecretRef) : []),
    ...(needs.destination && postgres ? credentials('destination', postgres.credentialsSecretRef) : []),
    ...(needs.destination ? authority('destination-ca', postgres?.caSecretRef) : []),
    ...(needs.destination && redshift?.credentialsSecretRef
      ? [
          {
            mount: 'destination',
            secretName: redshift.credentialsSecretRef.name,
            items: [
              { key: redshift.credentialsSecretRef.accessKeyIdKey, path: 'username' },
              { key: redshift.credentialsSecretRef.secretAccessKeyKey, path: 'password' },
            ],
          },
        ]
      : []),
  ]
}

function credentials(mount: string, ref: CredentialsSecretRef): Mount[] {
  const items = [
    { key: ref.usernameKey, path: 'username' },
    { key: ref.passwordKey, path: 'password' },
  ]
  return [{ mount, secretName: ref.name, items }]
}

function authority(mount: string, ref: CaSecretRef | undefined): Mount[] {
  return ref ? [{ mount, secretName: ref.name, items: [{ key: ref.key, path: 'ca.crt' }] }] : []
}
