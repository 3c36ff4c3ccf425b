import { readFileSync, statSync } from 'node:fs'
import { run } from '../process/run.ts'
import { fileEntry, parentEntries, textEntry } from './files.ts'
import type { TarEntry } from './tar.ts'

const certificateFiles = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt']

/** What the bottom layer is made of: Node, the libraries it loads, and the public certificate authorities. */
export interface BaseSources {
  node: string
  libraries: string[]
  certificates: string
}

/** Finds them on this machine. Fails when there are no certificates. */
export async function baseSources(): Promise<BaseSources> {
  const node = process.execPath
  const libraries = loadedLibraries(await run(['ldd', node]))
  const certificates = certificateFiles.find((path) => statSync(path, { throwIfNoEntry: false }))
  if (!certificates) throw new Error(`no certificate authorities in ${certificateFiles.join(' or ')}`)
  return { node, libraries, certificates }
}

/** Paths of the libraries in what `ldd` prints. */
export function loadedLibraries(listing: string): string[] {
  return listing.split('\n').flatMap((line) => /(?:=>\s+)?(\/\S+)\s+\(0x/.exec(line)?.[1] ?? [])
}

/** Names the sources' content without reading all of Node. */
export function baseKey({ node, libraries, certificates }: BaseSources): string[] {
  const identity = (path: string) => {
    const { size, mtimeMs } = statSync(path)
    return `${path} ${size} ${mtimeMs}`
  }
  return [process.version, ...libraries.map(identity), identity(node), readFileSync(certificates, 'utf8')]
}

/** The bottom layer: an otherwise empty system with one user. */
export function baseEntries({ node, libraries, certificates }: BaseSources): TarEntry[] {
  const files = [
    fileEntry(node, 'usr/local/bin/node'),
    ...libraries.map((path) => fileEntry(path, path.slice(1))),
    fileEntry(certificates, 'etc/ssl/certs/ca-certificates.crt'),
    textEntry(
      'etc/passwd',
      'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n',
    ),
    textEntry('etc/group', 'root:x:0:\nnonroot:x:65532:\n'),
    textEntry('etc/nsswitch.conf', 'hosts: files dns\n'),
  ]
  const paths = files.map(({ path }) => path)
  return [...parentEntries(paths), { type: 'directory', path: 'tmp', mode: 0o1777 }, ...files]
}
