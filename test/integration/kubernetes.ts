import { readdirSync, readFileSync } from 'node:fs'
import { parseAllDocuments } from 'yaml'
import { kubeconfigConnection } from '../../lib/kube/connection.ts'
import { createTransport, type Transport } from '../../lib/kube/transport.ts'
import { kubeconfig } from './services.ts'

/** Connections to the API server of the run, as its administrator. */
export async function adminTransport(): Promise<Transport> {
  return createTransport(await kubeconfigConnection(kubeconfig()))
}

const never = new AbortController().signal

/** Any request to the API server. */
export async function request<T>(
  transport: Transport,
  method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE',
  path: string,
  body?: object,
  contentType?: string,
): Promise<T> {
  const [bare = '', query = ''] = path.split('?')
  return (await transport.call(
    {
      method,
      path: bare,
      query: Object.fromEntries(new URLSearchParams(query)),
      ...(body && { body }),
      ...(contentType && { contentType }),
    },
    never,
  )) as T
}

/** Installs the CRDs, as they are generated, and waits until the API server serves them. */
export async function installCrds(transport: Transport): Promise<void> {
  const folder = new URL('../../crds/', import.meta.url)
  const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'))
  const crds = files.flatMap((file) =>
    parseAllDocuments(readFileSync(new URL(file, folder), 'utf8')).map(
      (document) => document.toJS() as { metadata: { name: string } },
    ),
  )
  for (const crd of crds) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crd.metadata.name}`
    await request(
      transport,
      'PATCH',
      `${path}?fieldManager=test&force=true`,
      crd,
      'application/apply-patch+yaml',
    )
    for (;;) {
      const seen = await request<{ status?: { conditions?: { type: string; status: string }[] } }>(
        transport,
        'GET',
        path,
      )
      if (seen.status?.conditions?.some((one) => one.type === 'Established' && one.status === 'True')) break
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** A namespace of its own for one test. */
export async function createNamespace(transport: Transport, prefix: string): Promise<string> {
  const made = await request<{ metadata: { name: string } }>(transport, 'POST', '/api/v1/namespaces', {
    metadata: { generateName: `${prefix}-` },
  })
  return made.metadata.name
}

/** The smallest Pipeline that the API server takes. */
export function pipelineManifest(name: string, spec: object = {}) {
  const credentialsSecretRef = { name: 'db' }
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'Pipeline',
    metadata: { name },
    spec: {
      source: { postgres: { host: 'source', database: 'app', credentialsSecretRef } },
      queue: { kafka: { bootstrapServers: ['kafka:9092'] } },
      destination: { postgres: { host: 'destination', database: 'dwh', credentialsSecretRef } },
      tables: [{ name: 'orders' }],
      ...spec,
    },
  }
}
