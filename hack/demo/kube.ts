import { setTimeout as sleep } from 'node:timers/promises'
import { PIPELINES, TABLE_BACKFILLS } from '../../crds/api.ts'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { kubeconfigConnection } from '../../lib/kube/connection.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { resourcePath } from '../../lib/kube/resources.ts'
import { createTransport, type Transport } from '../../lib/kube/transport.ts'

/** An object as a manifest has it. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly [field: string]: unknown
}

/** A person's view of the cluster: what `kubectl apply`, `get`, `delete` do, and waiting. */
export interface Cluster {
  readonly transport: Transport
  apply(...manifests: readonly Manifest[]): Promise<void>
  remove(manifest: Manifest): Promise<void>
  patch(path: string, body: object): Promise<void>
  pipeline(namespace: string, name: string): Promise<Pipeline | undefined>
  backfill(namespace: string, name: string): Promise<TableBackfill | undefined>
  backfills(namespace: string): Promise<TableBackfill[]>
  /** Items of any list path; `query` such as `{ labelSelector: 'a=b' }`. */
  list<T>(path: string, query?: Readonly<Record<string, string>>): Promise<T[]>
  close(): void
}

const PLURALS: Readonly<Record<string, string>> = {
  Namespace: 'namespaces',
  Secret: 'secrets',
  ServiceAccount: 'serviceaccounts',
  Service: 'services',
  Deployment: 'deployments',
  Role: 'roles',
  RoleBinding: 'rolebindings',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
  CustomResourceDefinition: 'customresourcedefinitions',
  Pipeline: PIPELINES.plural,
  TableBackfill: TABLE_BACKFILLS.plural,
}

/** Talks to the cluster of a kubeconfig as its user. */
export async function connectCluster(kubeconfig: string): Promise<Cluster> {
  const transport = createTransport(await kubeconfigConnection(kubeconfig))
  const signal = new AbortController().signal
  const get = async <T>(path: string): Promise<T | undefined> => {
    try {
      return (await transport.call({ method: 'GET', path }, signal)) as T
    } catch (error) {
      if (rejectionOf(error)?.status === 404) return undefined
      throw error
    }
  }
  const list = async <T>(path: string, query?: Readonly<Record<string, string>>): Promise<T[]> => {
    const answer = (await transport.call({ method: 'GET', path, ...(query && { query }) }, signal)) as {
      items: T[]
    }
    return answer.items
  }
  return {
    transport,
    async apply(...manifests) {
      for (const manifest of manifests) {
        await transport.call(
          {
            method: 'PATCH',
            path: pathOf(manifest),
            query: { fieldManager: 'kubectl', force: 'true' },
            contentType: 'application/apply-patch+yaml',
            body: manifest,
          },
          signal,
        )
      }
    },
    async remove(manifest) {
      try {
        const query = { propagationPolicy: 'Background' }
        await transport.call({ method: 'DELETE', path: pathOf(manifest), query }, signal)
      } catch (error) {
        if (rejectionOf(error)?.status !== 404) throw error
      }
    },
    async patch(path, body) {
      await transport.call(
        { method: 'PATCH', path, contentType: 'application/merge-patch+json', body },
        signal,
      )
    },
    pipeline: (namespace, name) => get(resourcePath({ ...PIPELINES, namespace }, name)),
    backfill: (namespace, name) => get(resourcePath({ ...TABLE_BACKFILLS, namespace }, name)),
    backfills: (namespace) => list(resourcePath({ ...TABLE_BACKFILLS, namespace })),
    list,
    close: () => transport.close(),
  }
}

/** API path of the object that a manifest is about. */
export function pathOf(manifest: Manifest): string {
  const [group, version] = manifest.apiVersion.includes('/')
    ? manifest.apiVersion.split('/')
    : ['', manifest.apiVersion]
  const plural = PLURALS[manifest.kind]
  if (plural === undefined) throw new Error(`no plural known for kind ${manifest.kind}`)
  const base = group === '' ? `/api/${version}` : `/apis/${group}/${version}`
  const { name, namespace } = manifest.metadata
  return `${base}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${plural}/${name}`
}

/**
 * Asks again and again until the answer is there; for things that have no watch, and for people.
 *
 * @throws an error that says what was waited for and what was last seen, after `seconds`
 */
export async function waitUntil<T>(
  what: string,
  seconds: number,
  probe: () => Promise<T | undefined | false>,
  describe: () => string | Promise<string> = () => '',
  everyMilliseconds = 250,
): Promise<T> {
  const deadline = Date.now() + seconds * 1000
  for (;;) {
    const found = await probe()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline)
      throw new Error(`waited ${seconds} s for ${what}. Last seen: ${await describe()}`)
    await sleep(everyMilliseconds)
  }
}
