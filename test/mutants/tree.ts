import { execFile } from 'node:child_process'
import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Edit } from './mutant.ts'

const run = promisify(execFile)

/** A copy of the checkout, for changes that must never get into the real one. */
export interface Tree {
  readonly dir: string
  /** Makes the edits; returns what takes them back. */
  apply(edits: readonly Edit[]): Promise<() => Promise<void>>
  remove(): Promise<void>
}

/** Copies what is in the index, as it is in the folder now. Packages are shared with the checkout. */
export async function copyTree(dir: string): Promise<Tree> {
  await rm(dir, { recursive: true, force: true })
  await mkdir(dir, { recursive: true })
  const { stdout } = await run('git', ['ls-files', '-z'], { maxBuffer: 1 << 26 })
  for (const file of stdout.split('\0').filter(Boolean)) {
    await mkdir(dirname(join(dir, file)), { recursive: true })
    // What was deleted and not committed is not there.
    await cp(file, join(dir, file)).catch(() => {})
  }
  await symlink(resolve('node_modules'), join(dir, 'node_modules'))
  return {
    dir,
    remove: () => rm(dir, { recursive: true, force: true }),
    async apply(edits) {
      const before = new Map<string, string>()
      const after = new Map<string, string>()
      for (const { file, find, replace } of edits) {
        const path = join(dir, file)
        const text = after.get(path) ?? (await readFile(path, 'utf8'))
        if (!before.has(path)) before.set(path, text)
        const count = text.split(find).length - 1
        if (count !== 1) throw new Error(`${file} has ${count} times, and not once: ${find}`)
        after.set(
          path,
          text.replace(find, () => replace),
        )
      }
      for (const [path, text] of after) await writeFile(path, text)
      return async () => {
        for (const [path, text] of before) await writeFile(path, text)
      }
    },
  }
}
