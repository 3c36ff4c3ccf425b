import { readFile } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import { GROUP, PIPELINES, TABLE_BACKFILLS } from '../../crds/api.ts'
import { type Cluster, type Manifest, pathOf, waitUntil } from './kube.ts'
import type { StackEnv } from './stack-env.ts'

/** What `kubectl apply -f charts/` installs. */
const OPERATOR = 'charts/millrace.yaml'
/** The image that the manifest names; here the one that was just built takes its place. */
const RELEASED_IMAGE = /\bmillrace:[\w.-]+/g
const CRDS = [PIPELINES, TABLE_BACKFILLS].map(({ plural }) => `crds/${GROUP}_${plural}.yaml`)
const ROLLOUT_SECONDS = 120

interface Conditions {
  readonly metadata: { readonly generation: number }
  readonly status?: {
    readonly observedGeneration?: number
    readonly replicas?: number
    readonly updatedReplicas?: number
    readonly availableReplicas?: number
    readonly conditions?: readonly {
      readonly type: string
      readonly status: string
      readonly message?: string
    }[]
  }
}

/** Installs the custom resources and waits until the API server serves them. */
export async function installCustomResources(cluster: Cluster): Promise<void> {
  const manifests = (await Promise.all(CRDS.map((file) => read(file)))).flat()
  await cluster.apply(...manifests)
  for (const manifest of manifests) {
    await waitUntil(`${manifest.metadata.name} established`, 60, async () => {
      const { status } = await get(cluster, manifest)
      return status?.conditions?.some(
        (condition) => condition.type === 'Established' && condition.status === 'True',
      )
    })
  }
}

/** Installs what the operator may do, without the operator. */
export async function installRoles(cluster: Cluster): Promise<void> {
  await cluster.apply(...(await read(OPERATOR)).filter(({ kind }) => kind !== 'Deployment'))
}

/** Installs custom resources, roles and the operator with the image of the stack, and waits until it runs. */
export async function installOperator(env: StackEnv, cluster: Cluster): Promise<void> {
  await installCustomResources(cluster)
  const manifests = await read(OPERATOR, (text) => text.replaceAll(RELEASED_IMAGE, env.IMAGE))
  await cluster.apply(...manifests)
  for (const manifest of manifests.filter(({ kind }) => kind === 'Deployment')) {
    await waitUntil(
      `${manifest.metadata.name} available`,
      ROLLOUT_SECONDS,
      async () => {
        const { metadata, status } = await get(cluster, manifest)
        const current = status?.observedGeneration === metadata.generation
        return (
          current &&
          status?.availableReplicas === status?.updatedReplicas &&
          status?.replicas === status?.updatedReplicas &&
          (status?.availableReplicas ?? 0) > 0
        )
      },
      async () => JSON.stringify((await get(cluster, manifest)).status?.conditions),
    )
  }
}

async function get(cluster: Cluster, manifest: Manifest): Promise<Conditions> {
  const request = { method: 'GET', path: pathOf(manifest) } as const
  return (await cluster.transport.call(request, new AbortController().signal)) as Conditions
}

async function read(file: string, edit: (text: string) => string = (text) => text): Promise<Manifest[]> {
  return parseAllDocuments(edit(await readFile(file, 'utf8'))).flatMap((document) => {
    const manifest = document.toJS() as Manifest | null
    return manifest === null ? [] : [manifest]
  })
}
