import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { identify, isAlive } from './procfs.ts'

const pattern = /^millrace-(\d+)-(\d+)$/

/**
 * A temporary folder of this process. Folders that processes now dead have left behind are removed on the way, so
 * killed test runs do not pile up.
 */
export function ownedTempDir(): string {
  for (const name of readdirSync(tmpdir())) {
    const [, pid, startTicks] = pattern.exec(name) ?? []
    if (pid === undefined || startTicks === undefined) continue
    if (!isAlive({ pid: Number(pid), startTicks }))
      rmSync(join(tmpdir(), name), { recursive: true, force: true })
  }
  const self = identify(process.pid)
  if (!self) throw new Error('this process is not in /proc')
  const dir = join(tmpdir(), `millrace-${self.pid}-${self.startTicks}`)
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  return dir
}
