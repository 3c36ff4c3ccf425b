import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MillraceError } from '../../lib/errors.ts'
import type { Secrets } from './context.ts'

/** Secrets as the kubelet mounts them: read again at each call, because it replaces the files when a Secret changes. */
export function fileSecrets(folder: string): Secrets {
  return {
    async read(mount, file, field) {
      const text = await readIfThere(join(folder, mount, file))
      const content = text?.replace(/\r?\n$/, '')
      if (content !== undefined && content !== '') return content
      const found = text === '' || content === '' ? 'is empty' : 'is not there'
      // The same words for each file of a Secret that is missing as a whole, whichever is read first.
      const what = (await isEmpty(join(folder, mount)))
        ? `${field}: there is no such Secret, or it has none of the keys`
        : `${field}: the key for ${file} ${found} in the Secret`
      throw new MillraceError(
        'SecretMissing',
        `${what}: create it in the namespace of the Pipeline; what is new there reaches the pod within about a minute`,
        { field },
      )
    },
  }
}

async function isEmpty(folder: string): Promise<boolean> {
  try {
    // The kubelet keeps its own files there, with names that begin with dots.
    return (await readdir(folder)).every((name) => name.startsWith('.'))
  } catch {
    return true
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new MillraceError('Internal', `cannot read the mounted secret ${path}: ${code}`, { cause: error })
  }
}
