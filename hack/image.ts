import { join } from 'node:path'
import { buildImage, devTag } from './image/build.ts'
import { loadImage } from './stack/load-image.ts'
import { stackPaths } from './stack/paths.ts'

// Builds the image and, if the local stack is up, loads it into its cluster.

const root = join(import.meta.dirname, '..')
const paths = stackPaths(root)

try {
  const { tag, archive, bytes } = await buildImage(root, paths.imageArchive)
  const loaded = await loadImage(paths, archive, tag)
  const size = `${Math.round(bytes / 1024 ** 2)} MiB`
  const where = `in out/image/image.tar${loaded ? ', loaded into the cluster' : ''}`
  console.log(`${tag} (${devTag}), ${size}, ${where}`)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
