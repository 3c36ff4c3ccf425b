import type { KubeObject } from '../../lib/kube/api.ts'

export type Change<T> = (object: T, before: T | undefined, deleted: boolean) => void

/** The objects of one kind as last seen, from watches and from the operator's own writes. */
export interface Store<T extends KubeObject> {
  get(key: string): T | undefined
  list(): Iterable<T>
  /** Objects that an index files under this value. */
  by(index: string, value: string): readonly T[]
  /** Takes in what a watch or an answer brought; older than what is known is ignored. */
  observe(object: T): void
  forget(object: T): void
  /** What a list of one namespace (or of all) brought; others of it are gone, unless they are newer than the list. */
  replace(namespace: string | undefined, objects: readonly T[], version: string): void
  onChange(listener: Change<T>): void
}

/** `namespace/name`, or the name alone of what has no namespace. */
export function keyOf(object: KubeObject): string {
  const { namespace, name } = object.metadata
  return namespace === undefined ? name : `${namespace}/${name}`
}

/** Ends that are remembered. */
const GRAVES = 10_000

/** @param indexes by name, what an object is filed under; undefined files it nowhere */
export function createStore<T extends KubeObject>(
  indexes: Readonly<Record<string, (object: T) => string | undefined>> = {},
): Store<T> {
  const objects = new Map<string, T>()
  const filed = new Map(Object.keys(indexes).map((name) => [name, new Map<string, Map<string, T>>()]))
  const listeners: Change<T>[] = []
  /** By uid: as of which version it was gone. An answer to a write may come after the watch has told the end of its object. */
  const gone = new Map<string, string>()

  function file(key: string, object: T | undefined, before: T | undefined): void {
    for (const [name, indexOf] of Object.entries(indexes)) {
      const index = filed.get(name)
      const old = before && indexOf(before)
      if (old !== undefined) {
        const entries = index?.get(old)
        entries?.delete(key)
        if (entries?.size === 0) index?.delete(old)
      }
      const value = object && indexOf(object)
      if (value === undefined) continue
      const entries = index?.get(value) ?? new Map<string, T>()
      entries.set(key, object as T)
      index?.set(value, entries)
    }
  }

  function put(raw: T): void {
    const object = lean(raw)
    const key = keyOf(object)
    const before = objects.get(key)
    if (before && !isNewer(object, before)) return
    const end = gone.get(object.metadata.uid ?? '')
    if (end !== undefined && compareVersions(object.metadata.resourceVersion, end) <= 0) return
    objects.set(key, object)
    file(key, object, before)
    for (const listener of listeners) listener(object, before, false)
  }

  function bury({ metadata: { uid } }: T, version = ''): void {
    if (uid === undefined) return
    gone.delete(uid)
    gone.set(uid, version)
    const [oldest] = gone.keys()
    if (gone.size > GRAVES && oldest !== undefined) gone.delete(oldest)
  }

  function drop(key: string, version: string | undefined): void {
    const before = objects.get(key)
    if (!before) return
    bury(before, version)
    objects.delete(key)
    file(key, undefined, before)
    for (const listener of listeners) listener(before, before, true)
  }

  return {
    get: (key) => objects.get(key),
    list: () => objects.values(),
    by: (index, value) => [...(filed.get(index)?.get(value)?.values() ?? [])],
    observe: put,
    forget(object) {
      bury(object, object.metadata.resourceVersion)
      const key = keyOf(object)
      const before = objects.get(key)
      // Deleted and made anew: the end of the old one says nothing about the new one.
      if (before && before.metadata.uid !== object.metadata.uid && isNewer(before, object)) return
      drop(key, object.metadata.resourceVersion)
    },
    replace(namespace, listed, version) {
      const keys = new Set(listed.map(keyOf))
      for (const [key, object] of objects) {
        if (namespace !== undefined && object.metadata.namespace !== namespace) continue
        if (keys.has(key) || compareVersions(object.metadata.resourceVersion, version) > 0) continue
        drop(key, version)
      }
      for (const object of listed) put(object)
    },
    onChange: (listener) => void listeners.push(listener),
  }
}

/** Nobody reads managedFields, and they are the larger half of many objects. */
function lean<T extends KubeObject>(object: T): T {
  if (!('managedFields' in object.metadata)) return object
  const { managedFields: _, ...metadata } = object.metadata as KubeObject['metadata'] & {
    managedFields: unknown
  }
  return { ...object, metadata }
}

function isNewer(one: KubeObject, other: KubeObject): boolean {
  return compareVersions(one.metadata.resourceVersion, other.metadata.resourceVersion) > 0
}

/** Versions are whole numbers as text, of any length. */
export function compareVersions(a = '', b = ''): number {
  if (a.length !== b.length) return a.length - b.length
  return a < b ? -1 : a > b ? 1 : 0
}
