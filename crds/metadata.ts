import type { KubeObject } from '../lib/kube/api.ts'
import type { API_VERSION } from './api.ts'

/** What the API server fills in on every object that it stores, so that nobody has to ask whether it is there. */
interface StoredMetadata {
  readonly namespace: string
  readonly uid: string
  readonly generation: number
  readonly creationTimestamp: string
}

/** A custom resource as the API server hands it out. */
export interface CustomResource<Kind extends string, Spec, Status> extends KubeObject {
  readonly apiVersion: typeof API_VERSION
  readonly kind: Kind
  readonly metadata: KubeObject['metadata'] & StoredMetadata
  readonly spec: Spec
  readonly status?: Status
}
