import { createHash } from 'node:crypto'
import type { KubeObject } from '../../lib/kube/api.ts'

/** Hash of what was last applied; a field that is no longer wanted changes it, though every wanted field is there. */
export const APPLIED_HASH = 'millrace.dev/applied'

/** The object with the hash of itself as an annotation. */
export function withHash<T extends { metadata: { name: string; annotations?: Record<string, string> } }>(
  desired: T,
): T & { metadata: { annotations?: Record<string, string> } } {
  const hash = createHash('sha256').update(JSON.stringify(desired)).digest('hex').slice(0, 16)
  const annotations = { ...desired.metadata.annotations, [APPLIED_HASH]: hash }
  return { ...desired, metadata: { ...desired.metadata, annotations } }
}

/** Whether applying `desired` would change nothing. */
export function isApplied(desired: object, live: object): boolean {
  return contains(live, desired, '')
}

/** Everything in `wanted` is in `live`; what the API server and others added there does not matter. */
function contains(live: unknown, wanted: unknown, path: string): boolean {
  if (wanted === undefined) return true
  if (Array.isArray(wanted)) {
    if (!Array.isArray(live) || live.length !== wanted.length) return false
    return wanted.every((item, at) => contains(live[at], item, path))
  }
  if (typeof wanted === 'object' && wanted !== null) {
    // The API server leaves out what is empty.
    if (live === undefined) return Object.keys(wanted).length === 0
    if (typeof live !== 'object' || live === null) return false
    return Object.entries(wanted).every(([key, value]) =>
      contains((live as Record<string, unknown>)[key], value, `${path}.${key}`),
    )
  }
  if (live === wanted) return true
  return isQuantity(path) && sameQuantity(live, wanted)
}

function isQuantity(path: string): boolean {
  return /\.resources\.(requests|limits)\.[^.]+$/.test(path) || path.endsWith('.sizeLimit')
}

const FACTORS: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

/** The API server writes quantities in its own way: 0.5 comes back as 500m. */
function sameQuantity(a: unknown, b: unknown): boolean {
  const [left, right] = [quantity(a), quantity(b)]
  if (left === undefined || right === undefined) return false
  return Math.abs(left - right) <= 1e-9 * Math.max(Math.abs(left), Math.abs(right))
}

function quantity(value: unknown): number | undefined {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)$/.exec(String(value))
  const factor = FACTORS[match?.[2] ?? '']
  return match && factor !== undefined ? Number(match[1]) * factor : undefined
}

/**
 * Whose a child is that has the name we want: `ours`, `orphan` of a deleted owner of the same name (the garbage collector is
 * about to take it), or `foreign`.
 */
export function classifyChild(child: KubeObject, owner: KubeObject): 'ours' | 'orphan' | 'foreign' {
  const references = (child.metadata.ownerReferences ?? []) as readonly {
    kind?: string
    name?: string
    uid?: string
    controller?: boolean
  }[]
  const controller = references.find((reference) => reference.controller === true)
  if (controller?.uid === owner.metadata.uid) return 'ours'
  const sameName = controller?.kind === owner.kind && controller?.name === owner.metadata.name
  return sameName ? 'orphan' : 'foreign'
}

export function ownerReference(owner: KubeObject) {
  return {
    apiVersion: owner.apiVersion ?? '',
    kind: owner.kind ?? '',
    name: owner.metadata.name,
    uid: owner.metadata.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  }
}
