import type { KubeApi, KubeObject, Resource } from './api.ts'
import type { KubeConnection } from './connection.ts'
import { rejectionOf } from './rejection.ts'
import { apiVersion, resourcePath } from './resources.ts'
import { createTransport, type Transport, type TransportOptions } from './transport.ts'
import { type WatchOptions, watchForever } from './watch.ts'

export type KubeClientOptions = TransportOptions & WatchOptions

/** What a server-side apply is sent as; the body may be JSON, which is YAML too. */
export const APPLY_PATCH = 'application/apply-patch+yaml'

/** The Kubernetes client of the workers: three calls on node:https, a few megabytes. */
export function createKubeClient(connection: KubeConnection, options: KubeClientOptions = {}): KubeApi {
  return kubeApiOver(createTransport(connection, options), options)
}

export function kubeApiOver(transport: Transport, options: WatchOptions = {}): KubeApi {
  async function get<T extends KubeObject>(
    resource: Resource,
    name: string,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const call = transport.call({ method: 'GET', path: resourcePath(resource, name) }, signal)
    return (await unlessStatus(404, call)) as T | undefined
  }

  async function apply(
    resource: Resource,
    name: string,
    fieldManager: string,
    status: object,
    signal: AbortSignal,
    resourceVersion?: string,
  ): Promise<unknown> {
    return await transport.call(
      {
        method: 'PATCH',
        path: resourcePath(resource, name, 'status'),
        query: { fieldManager, force: 'true' },
        contentType: APPLY_PATCH,
        body: {
          apiVersion: apiVersion(resource),
          kind: resource.kind,
          metadata: { name, namespace: resource.namespace, resourceVersion },
          status,
        },
      },
      signal,
    )
  }

  return {
    get,
    async watch(resource, selector, handler, signal) {
      await watchForever(transport, resource, selector, handler, signal, options)
    },
    async applyStatus<T extends KubeObject>(
      resource: Resource,
      name: string,
      fieldManager: string,
      status: object,
      signal: AbortSignal,
      uid?: string,
    ) {
      if (uid === undefined) {
        const call = apply(resource, name, fieldManager, status, signal)
        return (await unlessStatus(404, call)) as T | undefined
      }
      // The status of a custom resource is written without a look at the uid in the request, so it is compared first, and
      // the version makes sure that it is still that object.
      for (let attempt = 1; ; attempt += 1) {
        const seen = await get(resource, name, signal)
        if (seen?.metadata.uid !== uid) return undefined
        try {
          const version = seen.metadata.resourceVersion
          return (await apply(resource, name, fieldManager, status, signal, version)) as T
        } catch (error) {
          const rejected = rejectionOf(error)?.status
          if (rejected === 404) return undefined
          if (rejected !== 409 || attempt >= CONFLICTS) throw error
        }
      }
    },
  }
}

/** Several processes write parts of one status, every few seconds each. */
const CONFLICTS = 10

async function unlessStatus(status: number, call: Promise<unknown>): Promise<unknown> {
  try {
    return await call
  } catch (error) {
    if (rejectionOf(error)?.status === status) return undefined
    throw error
  }
}
