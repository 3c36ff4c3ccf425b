import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { API_VERSION, GROUP, PIPELINES, TABLE_BACKFILLS, VERSION } from '../../crds/api.ts'
import { kubeconfigConnection } from '../../lib/kube/connection.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { createTransport } from '../../lib/kube/transport.ts'
import { kubeconfig } from './services.ts'

const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const APPLY = 'application/apply-patch+yaml'

/** A custom resource as it is written to the API server; that it may be wrong is the point of some tests. */
export interface Written {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly resourceVersion?: string }
  readonly spec: object
}

/** Administrator's access to one namespace of the shared API server. */
export interface CustomResources {
  create<T>(object: Written, options?: { dryRun?: boolean }): Promise<T>
  replace<T>(object: Written, options?: { dryRun?: boolean }): Promise<T>
  /** Server-side apply of a part of the status. */
  applyStatus<T>(kind: string, name: string, fieldManager: string, status: object): Promise<T>
  /** Names of those that a field selector leaves. */
  select(kind: string, fieldSelector: string): Promise<string[]>
  close(): void
}

/** Installs the custom resources of this checkout and makes the namespace. */
export async function openCustomResources(namespace: string): Promise<CustomResources> {
  const transport = createTransport(await kubeconfigConnection(kubeconfig()))
  const call: Call = (request) => transport.call(request, AbortSignal.timeout(30_000))
  await Promise.all([PIPELINES, TABLE_BACKFILLS].map(({ plural }) => install(call, plural)))
  const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
  await call({ method: 'POST', path: '/api/v1/namespaces', body })

  const path = (kind: string, name?: string, subresource?: string) => {
    const { plural } = kind === PIPELINES.kind ? PIPELINES : TABLE_BACKFILLS
    const tail = [name, subresource].flatMap((part) => part ?? [])
    return [`/apis/${GROUP}/${VERSION}/namespaces/${namespace}/${plural}`, ...tail].join('/')
  }
  const write = async <T>(method: 'POST' | 'PUT', object: Written, dryRun: boolean) =>
    (await call({
      method,
      path: path(object.kind, method === 'PUT' ? object.metadata.name : undefined),
      query: { dryRun: dryRun ? 'All' : undefined, fieldValidation: 'Strict' },
      body: { apiVersion: API_VERSION, ...object },
    })) as T

  return {
    create: (object, { dryRun = false } = {}) => write('POST', object, dryRun),
    replace: (object, { dryRun = false } = {}) => write('PUT', object, dryRun),
    async applyStatus<T>(kind: string, name: string, fieldManager: string, status: object) {
      const object = { apiVersion: API_VERSION, kind, metadata: { name }, status }
      const query = { fieldManager, force: 'true', fieldValidation: 'Strict' }
      return (await call({
        method: 'PATCH',
        path: path(kind, name, 'status'),
        query,
        contentType: APPLY,
        body: object,
      })) as T
    },
    async select(kind, fieldSelector) {
      const found = (await call({ method: 'GET', path: path(kind), query: { fieldSelector } })) as {
        items: { metadata: { name: string } }[]
      }
      return found.items.map(({ metadata }) => metadata.name).sort()
    },
    close: () => transport.close(),
  }
}

// The API server adds this to whatever keeps it from evaluating rules.
const NOT_ALL_CHECKED =
  ', <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]'

/** What the API server says against it, without the name of the object; empty when it takes it. */
export async function complaint(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt
    return ''
  } catch (error) {
    const message = rejectionOf(error)?.message
    if (message === undefined) throw error
    const said = message.replace(/^.*? is invalid: /, '')
    return said.endsWith(NOT_ALL_CHECKED) ? said.slice(1, -NOT_ALL_CHECKED.length) : said
  }
}

type Call = (request: Parameters<ReturnType<typeof createTransport>['call']>[0]) => Promise<unknown>

interface Definition {
  metadata: { name: string }
  status?: { conditions?: { type: string; status: string }[] }
}

async function install(call: Call, plural: string): Promise<void> {
  const file = new URL(`../../crds/${GROUP}_${plural}.yaml`, import.meta.url)
  const definition = parse(await readFile(file, 'utf8')) as Definition
  const path = `${CRDS}/${definition.metadata.name}`
  const query = { fieldManager: 'test', force: 'true' }
  await call({ method: 'PATCH', path, query, contentType: APPLY, body: definition })
  while (!isEstablished((await call({ method: 'GET', path })) as Definition)) await sleep(50)
}

function isEstablished(definition: Definition): boolean {
  return (
    definition.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') ??
    false
  )
}
