import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Folder for what is built or copied once and used by every checkout of the project. */
export function cacheRoot(): string {
  const root = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'millrace')
  mkdirSync(root, { recursive: true })
  return root
}

/** Sixteen hex digits that change whenever one of the files or words changes. */
export function contentHash(files: readonly string[], words: readonly string[] = []): string {
  const hash = createHash('sha256')
  for (const word of words) hash.update(word).update('\0')
  for (const file of files) hash.update(readFileSync(file)).update('\0')
  return hash.digest('hex').slice(0, 16)
}

/**
 * The cached folder `name`, made by `build` when it is not there. `build` fills a temporary folder that gets its
 * name only when complete, so an interrupted build leaves nothing that looks finished.
 */
export async function cached(name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cacheRoot(), name)
  if (existsSync(folder)) return folder
  const unfinished = `${folder}.${process.pid}.tmp`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  try {
    await build(unfinished)
    try {
      renameSync(unfinished, folder)
    } catch (error) {
      // Another process may have finished the same build first.
      if (!existsSync(folder)) throw error
    }
  } finally {
    rmSync(unfinished, { recursive: true, force: true })
  }
  return folder
}
