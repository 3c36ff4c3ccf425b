import { readFile } from 'node:fs/promises'
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
      throw new MillraceError(
        'SecretMissing',
        `${field}: the Secret or its key for ${file} is ${text === undefined ? 'not there' : 'empty'}: create it in the namespace of the Pipeline; a new Secret reaches the pod within about a minute`,
        { field },
      )
    },
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
