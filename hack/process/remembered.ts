import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/** What the JSON file `path` holds; the first time, what `choose` returns, which is then written there. */
export async function remembered<T>(path: string, choose: () => Promise<T>): Promise<T> {
  const known = recall<T>(path)
  if (known !== undefined) return known
  const chosen = await choose()
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, `${JSON.stringify(chosen, null, 2)}\n`, { mode: 0o600 })
  return chosen
}

/** What the JSON file `path` holds, or undefined when there is none. */
export function recall<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
