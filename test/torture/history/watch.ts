import { PIPELINES, TABLE_BACKFILLS } from '../../../crds/api.ts'
import type { Pipeline } from '../../../crds/pipeline.ts'
import type { TableBackfill } from '../../../crds/table-backfill.ts'
import type { KubeObject, Resource } from '../../../lib/kube/api.ts'
import type { Transport } from '../../../lib/kube/transport.ts'
import { watchForever } from '../../../lib/kube/watch.ts'

interface Subscriber {
  backfill(object: TableBackfill, deleted: boolean): void
  pipeline(object: Pipeline): void
}

/** One watch of each kind for all schedules: everything that the API server shows, in its order. */
export interface ClusterWatch {
  /** Returns what ends it. */
  subscribe(namespace: string, subscriber: Subscriber): () => void
  stop(): void
}

export function watchCluster(transport: Transport): ClusterWatch {
  const stopping = new AbortController()
  const subscribers = new Map<string, Subscriber>()
  watchKind<TableBackfill>(TABLE_BACKFILLS, (object, deleted) => {
    subscribers.get(object.metadata.namespace ?? '')?.backfill(object, deleted)
  })
  watchKind<Pipeline>(PIPELINES, (object, deleted) => {
    if (!deleted) subscribers.get(object.metadata.namespace ?? '')?.pipeline(object)
  })

  function watchKind<T extends KubeObject>(resource: Resource, tell: (object: T, deleted: boolean) => void) {
    const known = new Map<string, T>()
    const key = (object: T) => object.metadata?.uid ?? ''
    const changed = (object: T) => {
      known.set(key(object), object)
      tell(object, false)
    }
    const deleted = (object: T) => {
      known.delete(key(object))
      tell(object, true)
    }
    const replace = (objects: readonly T[]) => {
      const there = new Set(objects.map(key))
      for (const [uid, object] of known) if (!there.has(uid)) deleted(object)
      objects.forEach(changed)
    }
    watchForever<T>(transport, resource, {}, { replace, changed, deleted }, stopping.signal).catch(() => {})
  }

  return {
    subscribe(namespace, subscriber) {
      subscribers.set(namespace, subscriber)
      return () => subscribers.delete(namespace)
    },
    stop: () => stopping.abort(),
  }
}
