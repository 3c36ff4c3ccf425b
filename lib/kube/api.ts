/**
 * The port to the Kubernetes API that workers and operator share. It knows no kinds, only resources.
 *
 * Failures are MillraceErrors: `KubernetesUnavailable` (retryable: no answer, 429, 5xx), `PermissionDenied` (401, 403),
 * `LedgerConflict` never; a missing object is `undefined`, not an error. Conflicts and rejections carry the API server's
 * reason in a `KubernetesRejection` as their cause.
 */
export interface KubeApi {
  /** One object, straight from the API server (rule R8 depends on it: never from a cache). */
  get<T extends KubeObject>(resource: Resource, name: string, signal: AbortSignal): Promise<T | undefined>
  /**
   * Lists and then watches for as long as the signal lives, through every disconnect, and calls `handler` with each
   * object; after each (re)list first `replace` with all of them. Never calls two handlers at once. Throws only when the
   * signal aborts, or what a handler threw.
   */
  watch<T extends KubeObject>(
    resource: Resource,
    selector: Selector,
    handler: WatchHandler<T>,
    signal: AbortSignal,
  ): Promise<void>
  /**
   * Server-side apply of `status`, forced, with this field manager. `undefined`: the object is gone. With a `uid`, another
   * object that took its name counts as gone too, and a request that was held up on its way undoes nothing that came after.
   */
  applyStatus<T extends KubeObject>(
    resource: Resource,
    name: string,
    fieldManager: string,
    status: object,
    signal: AbortSignal,
    uid?: string,
  ): Promise<T | undefined>
}

export interface Resource {
  /** Empty for the core group. */
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly kind: string
  /** Undefined: all namespaces, or not namespaced. */
  readonly namespace?: string
}

export interface Selector {
  readonly labels?: string
  readonly fields?: string
}

export interface WatchHandler<T> {
  /** @param version resourceVersion of the list: what is newer than it is not missing for being absent */
  replace(objects: readonly T[], version: string): void | Promise<void>
  changed(object: T): void | Promise<void>
  deleted(object: T): void | Promise<void>
}

export interface KubeObject {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly uid?: string
    readonly resourceVersion?: string
    readonly generation?: number
    readonly creationTimestamp?: string
    readonly deletionTimestamp?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
    readonly finalizers?: readonly string[]
    readonly ownerReferences?: readonly object[]
  }
}
