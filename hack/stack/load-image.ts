import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { renderEnv } from './env-file.ts'
import type { StackPaths } from './paths.ts'
import { stackCluster } from './stack.ts'

/**
 * Makes the image known to the stack's cluster, and its tag to the readers of the stack's addresses. Returns false
 * when the stack is down; it then takes the image when it is started.
 */
export async function loadImage(paths: StackPaths, archive: string, tag: string): Promise<boolean> {
  if (!existsSync(paths.envFile)) return false
  const cluster = await stackCluster(paths, () => {})
  if (!(await cluster.isUp())) return false
  const variables = parseEnv(readFileSync(paths.envFile, 'utf8')) as Record<string, string>
  if (variables.IMAGE === tag) return true
  await cluster.importImage(archive)
  writeFileSync(paths.envFile, renderEnv({ ...variables, IMAGE: tag }), { mode: 0o600 })
  return true
}
