import type { KubeApi, KubeObject, Resource, Selector } from '../../lib/kube/api.ts'
import type { Store } from './store.ts'

export interface Informer {
  /** Resolves when everything has been listed once. */
  readonly synced: Promise<void>
  /** Rejects with what ended it: the signal's reason, or a fault in a listener of the store. */
  readonly done: Promise<never>
}

/** Keeps a store up to date with a kind, in all namespaces or in those listed. */
export function startInformer<T extends KubeObject>(options: {
  readonly kube: KubeApi
  readonly resource: Resource
  readonly selector: Selector
  readonly namespaces: readonly string[] | undefined
  readonly store: Store<T>
  readonly signal: AbortSignal
}): Informer {
  const { kube, resource, selector, store, signal } = options
  const scopes = options.namespaces ?? [undefined]
  let pending = scopes.length
  let resolveSynced: () => void = () => {}
  const synced = new Promise<void>((resolve) => {
    resolveSynced = resolve
  })
  const watches = scopes.map((namespace) => {
    let listed = false
    return kube.watch<T>(
      namespace === undefined ? resource : { ...resource, namespace },
      selector,
      {
        replace(objects, version) {
          store.replace(namespace, objects, version)
          if (listed) return
          listed = true
          pending -= 1
          if (pending === 0) resolveSynced()
        },
        changed: (object) => store.observe(object),
        deleted: (object) => store.forget(object),
      },
      signal,
    )
  })
  const done = Promise.all(watches).then(() => new Promise<never>(() => {}))
  return { synced, done }
}
