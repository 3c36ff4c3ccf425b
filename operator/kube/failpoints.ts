import { around, type Effect, hasFailpoints } from '../../lib/failpoints.ts'
import type { Resource } from '../../lib/kube/api.ts'
import type { OperatorApi } from './api.ts'

const CREATED: Readonly<Record<string, Effect>> = {
  Job: 'operator.job',
  TableBackfill: 'operator.backfill',
}
const PATCHED: Readonly<Record<string, Effect>> = { Job: 'operator.job', Pipeline: 'operator.finalizer' }

/** The same API, with a failpoint before and after everything that the operator writes but Events and its Lease. */
export function withFailpoints(kube: OperatorApi): OperatorApi {
  if (!hasFailpoints()) return kube
  const at = <T>(effect: Effect | undefined, work: () => Promise<T>) =>
    effect === undefined ? work() : around(effect, work)
  return {
    ...kube,
    create: (resource: Resource, object, signal) =>
      at(CREATED[resource.kind], () => kube.create(resource, object, signal)),
    apply: (resource, name, object, signal) =>
      at('operator.workload', () => kube.apply(resource, name, object, signal)),
    patch: (resource: Resource, name, patch, signal) =>
      at(PATCHED[resource.kind], () => kube.patch(resource, name, patch, signal)),
    remove: (...of) => at('operator.remove', () => kube.remove(...of)),
    applyStatus: (resource, name, manager, status, signal, uid) =>
      at('operator.status', () => kube.applyStatus(resource, name, manager, status, signal, uid)),
  }
}
