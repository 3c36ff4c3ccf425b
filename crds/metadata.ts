/** What the two kinds share with every Kubernetes object. */

/** The part of ObjectMeta that Millrace reads or writes. */
export interface ObjectMeta {
  name: string
  namespace?: string | undefined
  uid?: string | undefined
  resourceVersion?: string | undefined
  generation?: number | undefined
  creationTimestamp?: string | undefined
  deletionTimestamp?: string | undefined
  labels?: Record<string, string> | undefined
  annotations?: Record<string, string> | undefined
  finalizers?: string[] | undefined
  ownerReferences?: OwnerReference[] | undefined
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean | undefined
  blockOwnerDeletion?: boolean | undefined
}

/** A custom resource as the API server hands it out. */
export interface Resource<Kind extends string, Spec, Status> {
  apiVersion: 'millrace.dev/v1alpha1'
  kind: Kind
  metadata: ObjectMeta
  spec: Spec
  status?: Status | undefined
}
