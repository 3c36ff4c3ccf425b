import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cached, contentHash } from '../process/cache.ts'
import { appEntries, dependencyEntries, installDependencies, manifestPaths } from './app.ts'
import { configDigest, type ImageConfig, type Layer, layerOf, writeArchive } from './archive.ts'
import { baseEntries, baseKey, baseSources } from './base.ts'
import type { TarEntry } from './tar.ts'

export const imageConfig: ImageConfig = {
  entrypoint: ['/usr/local/bin/node'],
  env: ['PATH=/usr/local/bin', 'NODE_ENV=production', 'SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt'],
  user: '65532:65532',
  workingDir: '/app',
}

export interface BuiltImage {
  /** Tag that names the content. */
  tag: string
  archive: string
  bytes: number
}

/** Tag of the newest image, whatever its content. */
export const devTag = 'millrace:dev'

/** Tag of the image that was built last; the one without a content hash when none was built. */
export function builtTag(archive: string): string {
  return existsSync(`${archive}.tag`) ? readFileSync(`${archive}.tag`, 'utf8').trim() : devTag
}

/**
 * Builds the image of the checkout at `root` into `archive`, without Docker: about 20 s the first time, 1 s when only
 * the project's own files changed. The same content gives the same image.
 */
export async function buildImage(root: string, archive: string): Promise<BuiltImage> {
  const base = await baseSources()
  const layers = [
    await cachedLayer(`layer-base-${contentHash([], baseKey(base))}`, async () => baseEntries(base)),
    await cachedLayer(`layer-packages-${contentHash(manifestPaths(root), [rules])}`, async (folder) => {
      await installDependencies(root, folder)
      return dependencyEntries(folder)
    }),
    layerOf(appEntries(root)),
  ]
  const tag = `millrace:${configDigest(imageConfig, layers).slice(0, 12)}`
  if (builtTag(archive) !== tag || !existsSync(archive)) {
    writeArchive(archive, [tag, devTag], imageConfig, layers)
    writeFileSync(`${archive}.tag`, `${tag}\n`)
  }
  return { tag, archive, bytes: layers.reduce((total, { content }) => total + content.length, 0) }
}

/** To be raised when the rules for what goes into a layer change, so that cached ones are made again. */
const rules = '1'

/** A layer that changes rarely, kept with its digest, made from the entries that `entries` returns. */
async function cachedLayer(name: string, entries: (folder: string) => Promise<TarEntry[]>): Promise<Layer> {
  const folder = await cached(name, async (to) => {
    const work = join(to, 'work')
    mkdirSync(work)
    const { content, digest } = layerOf(await entries(work))
    writeFileSync(join(to, 'layer.tar'), content)
    writeFileSync(join(to, 'digest'), digest)
    rmSync(work, { recursive: true })
  })
  return {
    content: readFileSync(join(folder, 'layer.tar')),
    digest: readFileSync(join(folder, 'digest'), 'utf8'),
  }
}
