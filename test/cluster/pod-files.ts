import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** The parts of a pod that decide what runs; as the API server stores them. */
export interface PodSpec {
  readonly nodeName?: string
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  readonly serviceAccountName?: string
  readonly terminationGracePeriodSeconds?: number
  readonly volumes?: readonly Volume[]
  readonly containers: readonly Container[]
}

export interface Container {
  readonly name: string
  readonly image: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly EnvVar[]
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[]
}

interface EnvVar {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } }
}

interface SecretItems {
  readonly items?: readonly { readonly key: string; readonly path: string }[]
  readonly optional?: boolean
}

interface Volume {
  readonly name: string
  readonly secret?: SecretItems & { readonly secretName: string }
  readonly projected?: {
    readonly sources: readonly { readonly secret?: SecretItems & { readonly name: string } }[]
  }
}

export interface PodMetadata {
  readonly name: string
  readonly namespace: string
  readonly uid: string
  readonly labels?: Readonly<Record<string, string>>
  readonly deletionTimestamp?: string
  readonly deletionGracePeriodSeconds?: number
}

export type SecretReader = (
  namespace: string,
  name: string,
) => Promise<Readonly<Record<string, string>> | undefined>

/** Environment of the first container, as the kubelet would set it. */
export function containerEnvironment(metadata: PodMetadata, container: Container): Record<string, string> {
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
  }
  return Object.fromEntries(
    (container.env ?? []).map(({ name, value, valueFrom }) => [
      name,
      value ?? fields[valueFrom?.fieldRef?.fieldPath ?? ''] ?? '',
    ]),
  )
}

/** Where a path inside the container is on this machine. */
export function hostPath(root: string, mountPath: string): string {
  return join(root, mountPath)
}

/**
 * Writes the Secrets that a pod mounts below `root`, and removes files of Secrets that are gone; called again and again,
 * as the kubelet does. Throws when one is missing that is not optional.
 */
export async function writeSecretVolumes(
  root: string,
  metadata: PodMetadata,
  spec: PodSpec,
  read: SecretReader,
): Promise<void> {
  const mounts = spec.containers[0]?.volumeMounts ?? []
  for (const mount of mounts) {
    const volume = spec.volumes?.find(({ name }) => name === mount.name)
    for (const source of secretSources(volume)) {
      const data = await read(metadata.namespace, source.name)
      if (!data && !source.optional) throw new Error(`secret ${source.name} is missing`)
      const items = source.items ?? Object.keys(data ?? {}).map((key) => ({ key, path: key }))
      for (const { key, path } of items) {
        await writeSecretFile(join(hostPath(root, mount.mountPath), path), data?.[key])
      }
    }
  }
}

function secretSources(volume: Volume | undefined): (SecretItems & { readonly name: string })[] {
  if (volume?.secret) return [{ ...volume.secret, name: volume.secret.secretName }]
  return (volume?.projected?.sources ?? []).flatMap(({ secret }) => (secret ? [secret] : []))
}

async function writeSecretFile(path: string, content: string | undefined): Promise<void> {
  if (content === undefined) return rm(path, { force: true })
  const bytes = Buffer.from(content, 'base64')
  const old = await readFile(path).catch(() => undefined)
  if (old?.equals(bytes)) return
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, bytes, { mode: 0o600 })
}
