import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { withLock } from './lock.ts'

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
 * name only when complete, so an interrupted build leaves nothing that looks finished. Who wants the same at the same
 * time waits: a build of minutes on all cores is not done twice.
 */
export async function cached(name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const folder = join(cacheRoot(), name)
  if (existsSync(folder)) return folder
  return await withLock(`${folder}.lock`, async () => {
    if (existsSync(folder)) return folder
    const unfinished = `${folder}.tmp`
    rmSync(unfinished, { recursive: true, force: true })
    mkdirSync(unfinished, { recursive: true })
    try {
      await build(unfinished)
      renameSync(unfinished, folder)
    } finally {
      rmSync(unfinished, { recursive: true, force: true })
    }
    return folder
  })
}
