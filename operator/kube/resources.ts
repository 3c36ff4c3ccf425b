import type {
  V1DeploymentSpec,
  V1DeploymentStatus,
  V1JobSpec,
  V1JobStatus,
  V1PodSpec,
  V1PodStatus,
} from '@kubernetes/client-node'
import type { KubeObject, Resource } from '../../lib/kube/api.ts'

// The typed models are the library's; only their shape is used, so times are text as they come over the wire.

export interface Deployment extends KubeObject {
  readonly spec: V1DeploymentSpec
  readonly status?: V1DeploymentStatus
}
export interface Job extends KubeObject {
  readonly spec: V1JobSpec
  readonly status?: V1JobStatus
}
export interface Pod extends KubeObject {
  readonly spec: V1PodSpec
  readonly status?: V1PodStatus
}

const resource = (group: string, version: string, plural: string, kind: string): Resource => ({
  group,
  version,
  plural,
  kind,
})

export const DEPLOYMENTS = resource('apps', 'v1', 'deployments', 'Deployment')
export const JOBS = resource('batch', 'v1', 'jobs', 'Job')
export const PODS = resource('', 'v1', 'pods', 'Pod')
export const NAMESPACES = resource('', 'v1', 'namespaces', 'Namespace')
export const SERVICE_ACCOUNTS = resource('', 'v1', 'serviceaccounts', 'ServiceAccount')
export const ROLE_BINDINGS = resource('rbac.authorization.k8s.io', 'v1', 'rolebindings', 'RoleBinding')
export const EVENTS = resource('events.k8s.io', 'v1', 'events', 'Event')
export const LEASES = resource('coordination.k8s.io', 'v1', 'leases', 'Lease')

export function within(resource: Resource, namespace: string): Resource {
  return { ...resource, namespace }
}
