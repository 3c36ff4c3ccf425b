import { execFileSync } from 'node:child_process'

/** A system user that a service runs as. */
export interface SystemUser {
  uid: number
  gid: number
}

/**
 * The unprivileged user for programs that refuse to run as root: `postgres` where the system has one, else
 * `nobody`. Undefined when this process is not root, because then it cannot and need not change user.
 */
export function unprivilegedUser(): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) =>
        Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }))
      return { uid: id('-u'), gid: id('-g') }
    } catch {
      // Not on this system; try the next one.
    }
  }
  throw new Error('neither a postgres nor a nobody user exists')
}

/**
 * The `setpriv` options that make a command run as `user`.
 *
 * It keeps one capability, to read and enter any folder: the packages and the temporary folders may lie below one
 * that only root may enter.
 */
export function userOptions(user: SystemUser): string[] {
  const capability = '+dac_read_search'
  return [
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    '--clear-groups',
    `--inh-caps=-all,${capability}`,
    `--ambient-caps=-all,${capability}`,
  ]
}

/** Puts `setpriv` with these options before a command; the command as it is when there are none. */
export function withPrivileges(options: readonly string[], command: readonly string[]): string[] {
  return options.length === 0 ? [...command] : ['setpriv', ...options, '--', ...command]
}
