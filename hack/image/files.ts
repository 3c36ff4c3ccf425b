import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TarEntry } from './tar.ts'

/** Says whether a path, relative to the folder that is packed, goes into the image. */
export type Keep = (path: string) => boolean

/** Entries for a folder and all that is in it, under `target`, in an order that does not depend on the disk's. */
export function folderEntries(source: string, target: string, keep: Keep, path = ''): TarEntry[] {
  const names = readdirSync(join(source, path), { withFileTypes: true })
  const sorted = names.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  return sorted.flatMap((entry): TarEntry[] => {
    const child = path === '' ? entry.name : `${path}/${entry.name}`
    if (!keep(child)) return []
    const from = join(source, child)
    const to = `${target}/${child}`
    if (entry.isDirectory()) {
      const below = folderEntries(source, target, keep, child)
      return below.length === 0 ? [] : [{ type: 'directory', path: to, mode: 0o755 }, ...below]
    }
    if (entry.isSymbolicLink()) return [{ type: 'link', path: to, target: readlinkSync(from) }]
    return [fileEntry(from, to)]
  })
}

/** Entry for one file, followed if it is a link. */
export function fileEntry(source: string, path: string): TarEntry {
  const executable = (statSync(source).mode & 0o111) !== 0
  return { type: 'file', path, mode: executable ? 0o755 : 0o644, content: readFileSync(source) }
}

export const textEntry = (path: string, text: string): TarEntry => ({
  type: 'file',
  path,
  mode: 0o644,
  content: Buffer.from(text),
})

/** Entries for the folders above `paths`, each once, outermost first. */
export function parentEntries(paths: readonly string[]): TarEntry[] {
  const folders = new Set<string>()
  for (const path of paths) {
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) folders.add(folder)
  }
  return [...folders].toSorted().map((path) => ({ type: 'directory', path, mode: 0o755 }))
}
