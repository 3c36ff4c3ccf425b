import { createHash } from 'node:crypto'
import { closeSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { type TarEntry, tarChunks } from './tar.ts'

export interface ImageConfig {
  entrypoint: readonly string[]
  env: readonly string[]
  /** `uid:gid` the container runs as. */
  user: string
  workingDir: string
  labels?: Record<string, string>
}

/** A layer as it stands in an archive. */
export interface Layer {
  content: Buffer
  /** Hex SHA-256 of the content. */
  digest: string
}

const sha256 = (content: Buffer | string) => createHash('sha256').update(content).digest('hex')

/** Packs files into a layer. */
export function layerOf(entries: Iterable<TarEntry>): Layer {
  const content = Buffer.concat([...tarChunks(entries)])
  return { content, digest: sha256(content) }
}

const configJson = (config: ImageConfig, layers: readonly Layer[]) =>
  JSON.stringify(imageConfig(config, layers))

/** Hex digest of an image's configuration, which names its content: it holds the digests of all layers. */
export const configDigest = (config: ImageConfig, layers: readonly Layer[]) =>
  sha256(configJson(config, layers))

/**
 * Writes an image, in the format of `docker save`, that containerd, kind and Docker import. The file gets its
 * name only when complete.
 */
export function writeArchive(
  path: string,
  tags: readonly string[],
  config: ImageConfig,
  layers: readonly Layer[],
): void {
  const json = configJson(config, layers)
  const digest = sha256(json)
  const layerPath = (layer: Layer) => `${layer.digest}/layer.tar`
  const manifest = [{ Config: `${digest}.json`, RepoTags: tags, Layers: layers.map(layerPath) }]
  const file = (name: string, content: Buffer): TarEntry => ({
    type: 'file',
    path: name,
    mode: 0o644,
    content,
  })
  mkdirSync(dirname(path), { recursive: true })
  const unfinished = `${path}.${process.pid}.tmp`
  const output = openSync(unfinished, 'w')
  try {
    const entries = [
      file(`${digest}.json`, Buffer.from(json)),
      ...layers.map((layer) => file(layerPath(layer), layer.content)),
      file('manifest.json', Buffer.from(JSON.stringify(manifest))),
    ]
    for (const chunk of tarChunks(entries)) writeSync(output, chunk)
  } finally {
    closeSync(output)
  }
  renameSync(unfinished, path)
}

const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64' }

function imageConfig(config: ImageConfig, layers: readonly Layer[]) {
  return {
    architecture: architectures[process.arch] ?? process.arch,
    os: 'linux',
    config: {
      Entrypoint: config.entrypoint,
      Env: config.env,
      User: config.user,
      WorkingDir: config.workingDir,
      Labels: config.labels ?? {},
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => `sha256:${digest}`) },
    history: layers.map(() => ({ created: '1970-01-01T00:00:00Z' })),
  }
}
