import { MillraceError } from '../lib/errors.ts'
import type { KubeObject, Resource } from '../lib/kube/api.ts'
import type { OperatorContext } from './context.ts'
import { classifyChild, isApplied } from './kube/desired.ts'
import { within } from './kube/resources.ts'
import { keyOf, type Store } from './runtime/store.ts'

/**
 * Makes a child what it should be; writes nothing when it is that already. Refuses to touch one of the same name that
 * belongs to somebody else.
 */
export async function applyChild<T extends KubeObject>(
  { kube, log }: OperatorContext,
  owner: KubeObject,
  kind: { readonly resource: Resource; readonly store: Store<T> },
  desired: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const { name, namespace = '' } = desired.metadata
  const resource = within(kind.resource, namespace)
  const cached = kind.store.get(keyOf(desired))
  if (cached && classifyChild(cached, owner) === 'ours' && isApplied(desired, cached)) return
  // The cache knows only what carries our label, and may be late; an apply would take over whatever is there.
  const live = cached ?? (await kube.get<T>(resource, name, signal))
  if (live) assertOurs(live, owner, resource)
  const applied = await kube.apply<T>(resource, name, desired, signal)
  log.debug({ kind: resource.kind, name, namespace }, 'Applied')
  kind.store.observe(applied)
}

/** Throws where a name is taken; the owner's status shows the message, and it is tried again. */
export function assertOurs(child: KubeObject, owner: KubeObject, resource: Resource): void {
  const whose = classifyChild(child, owner)
  if (whose === 'ours') return
  const { name } = child.metadata
  const message =
    whose === 'orphan'
      ? `${resource.kind} ${name} of a deleted ${owner.kind} of the same name is still there; waiting until it is gone`
      : `${resource.kind} ${name} exists and does not belong to ${owner.kind} ${owner.metadata.name}: delete or rename it`
  throw new MillraceError('KubernetesUnavailable', message)
}
