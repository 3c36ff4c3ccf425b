import type { KubeApi, KubeObject, Resource } from '../../lib/kube/api.ts'
import { APPLY_PATCH, kubeApiOver } from '../../lib/kube/client.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { resourcePath } from '../../lib/kube/resources.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import type { WatchOptions } from '../../lib/kube/watch.ts'

/** The name under which the operator owns fields. */
export const FIELD_MANAGER = 'millrace-operator'

/** What the operator does with the API beyond what workers need. */
export interface OperatorApi extends KubeApi {
  create<T extends KubeObject>(resource: Resource, object: object, signal: AbortSignal): Promise<T>
  /** Server-side apply of the whole object, forced. */
  apply<T extends KubeObject>(
    resource: Resource,
    name: string,
    object: object,
    signal: AbortSignal,
  ): Promise<T>
  /** JSON merge patch. `undefined`: there is no such object. */
  patch<T extends KubeObject>(
    resource: Resource,
    name: string,
    patch: object,
    signal: AbortSignal,
  ): Promise<T | undefined>
  /** Replaces the object; a conflict when its resourceVersion has moved on. */
  update<T extends KubeObject>(
    resource: Resource,
    name: string,
    object: object,
    signal: AbortSignal,
  ): Promise<T>
  /** Deletes exactly the object with this uid; nothing happens when it is gone. Dependents go first with `Foreground`. */
  remove(
    resource: Resource,
    name: string,
    uid: string | undefined,
    propagation: 'Foreground' | 'Background',
    signal: AbortSignal,
  ): Promise<void>
}

export function operatorApi(transport: Transport, options: WatchOptions = {}): OperatorApi {
  return {
    ...kubeApiOver(transport, options),
    async create<T extends KubeObject>(resource: Resource, object: object, signal: AbortSignal) {
      const query = { fieldManager: FIELD_MANAGER }
      return (await transport.call(
        { method: 'POST', path: resourcePath(resource), query, body: object },
        signal,
      )) as T
    },
    async apply<T extends KubeObject>(resource: Resource, name: string, object: object, signal: AbortSignal) {
      return (await transport.call(
        {
          method: 'PATCH',
          path: resourcePath(resource, name),
          query: { fieldManager: FIELD_MANAGER, force: 'true' },
          contentType: APPLY_PATCH,
          body: object,
        },
        signal,
      )) as T
    },
    async patch<T extends KubeObject>(resource: Resource, name: string, patch: object, signal: AbortSignal) {
      const call = transport.call(
        {
          method: 'PATCH',
          path: resourcePath(resource, name),
          query: { fieldManager: FIELD_MANAGER },
          contentType: 'application/merge-patch+json',
          body: patch,
        },
        signal,
      )
      return (await unlessStatus([404], call)) as T | undefined
    },
    async update<T extends KubeObject>(
      resource: Resource,
      name: string,
      object: object,
      signal: AbortSignal,
    ) {
      return (await transport.call(
        { method: 'PUT', path: resourcePath(resource, name), body: object },
        signal,
      )) as T
    },
    async remove(resource, name, uid, propagation, signal) {
      const body = {
        propagationPolicy: propagation,
        ...(uid !== undefined && { preconditions: { uid } }),
      }
      // 409: another object has the name by now.
      await unlessStatus(
        [404, 409],
        transport.call({ method: 'DELETE', path: resourcePath(resource, name), body }, signal),
      )
    },
  }
}

async function unlessStatus(statuses: readonly number[], call: Promise<unknown>): Promise<unknown> {
  try {
    return await call
  } catch (error) {
    if (statuses.includes(rejectionOf(error)?.status ?? 0)) return undefined
    throw error
  }
}
