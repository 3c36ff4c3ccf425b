import type { KubeApi, KubeObject } from './api.ts'
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
  return {
    async get<T extends KubeObject>(
      resource: Parameters<KubeApi['get']>[0],
      name: string,
      signal: AbortSignal,
    ) {
      return (await unlessMissing(
        transport.call({ method: 'GET', path: resourcePath(resource, name) }, signal),
      )) as T | undefined
    },
    async watch(resource, selector, handler, signal) {
      await watchForever(transport, resource, selector, handler, signal, options)
    },
    async applyStatus<T extends KubeObject>(
      resource: Parameters<KubeApi['applyStatus']>[0],
      name: string,
      fieldManager: string,
      status: object,
      signal: AbortSignal,
      uid?: string,
    ) {
      return (await unlessMissing(
        transport.call(
          {
            method: 'PATCH',
            path: resourcePath(resource, name, 'status'),
            query: { fieldManager, force: 'true' },
            contentType: APPLY_PATCH,
            body: {
              apiVersion: apiVersion(resource),
              kind: resource.kind,
              metadata: { name, namespace: resource.namespace, uid },
              status,
            },
          },
          signal,
        ),
        // With a uid, another object of the same name is a conflict; then the one that was meant is gone. A forced
        // apply has no other conflicts.
        uid !== undefined,
      )) as T | undefined
    },
  }
}

async function unlessMissing(call: Promise<unknown>, conflictIsMissing = false): Promise<unknown> {
  try {
    return await call
  } catch (error) {
    const status = rejectionOf(error)?.status
    if (status === 404 || (conflictIsMissing && status === 409)) return undefined
    throw error
  }
}
