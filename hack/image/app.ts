import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../process/run.ts'
import { fileEntry, folderEntries, parentEntries } from './files.ts'
import type { TarEntry } from './tar.ts'

/** Folders of the checkout that run in the image. */
const sources = ['crds', 'lib', 'operator', 'workers']
/** What decides which packages are installed, and how. */
const manifests = ['package.json', 'package-lock.json', '.npmrc']

export const manifestPaths = (root: string) => manifests.map((name) => join(root, name))

/**
 * Installs the packages that the programs need at run time, and only those, into an empty folder, in the versions
 * of the lock file.
 */
export async function installDependencies(root: string, folder: string) {
  for (const name of manifests) copyFileSync(join(root, name), join(folder, name))
  // Not `npm ci`: it refuses a lock file without the optional packages of other platforms, and registries that
  // hold only this platform's make such lock files.
  await run(['npm', 'install', '--no-save', '--omit=dev', '--ignore-scripts', '--no-audit'], { cwd: folder })
  rmSync(join(folder, 'node_modules/.package-lock.json'), { force: true })
}

/** The layer of the installed packages. */
export function dependencyEntries(folder: string): TarEntry[] {
  const files = folderEntries(join(folder, 'node_modules'), 'app/node_modules', isNeededAtRunTime)
  return [...parentEntries(['app/node_modules/x']), ...files]
}

/** False for files of packages that no program reads: types, source maps, and pages for people. */
export function isNeededAtRunTime(path: string): boolean {
  return !/(\.d\.[cm]?ts|\.map|\.md|\.markdown|\.tsbuildinfo)$/i.test(path)
}

/** The layer of the project's own programs, without their tests. */
export function appEntries(root: string): TarEntry[] {
  return [
    ...parentEntries(['app/x']),
    fileEntry(join(root, 'package.json'), 'app/package.json'),
    ...sources.flatMap((folder): TarEntry[] => [
      { type: 'directory', path: `app/${folder}`, mode: 0o755 },
      ...folderEntries(join(root, folder), `app/${folder}`, isProgram),
    ]),
  ]
}

/** False for tests and their data. */
export function isProgram(path: string): boolean {
  return !/(\.test\.ts|\.md)$|(^|\/)(testdata|__snapshots__)(\/|$)/.test(path)
}
