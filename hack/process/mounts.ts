import { readFileSync } from 'node:fs'
import { run } from './run.ts'

/** Mount points at or below `dir`, innermost first, from the text of /proc/self/mountinfo. */
export function mountsBelow(mountinfo: string, dir: string): string[] {
  return mountinfo
    .split('\n')
    .map((line) => unescapePath(line.split(' ')[4] ?? ''))
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
    .reverse()
}

/** Unmounts everything at or below `dir`. Deleting such a folder first would delete what is mounted there. */
export async function unmountBelow(dir: string) {
  const paths = mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), dir)
  // Detaching works on busy mounts too; whoever holds them has been killed.
  for (const path of paths) await run(['umount', '--lazy', path])
}

/** The kernel writes space, tab, newline and backslash as octal numbers. */
function unescapePath(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)))
}
