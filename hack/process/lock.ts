import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { identify, isAlive } from './procfs.ts'
import { until } from './wait.ts'

/** Longest that one command holds the lock: the first start builds Kubernetes. */
const TIMEOUT_MS = 30 * 60_000

/** Runs `work` while no other process runs any under the same lock file. A dead holder's lock is taken over. */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true })
  await until(() => take(path), { what: `lock ${path}`, timeoutMs: TIMEOUT_MS, intervalMs: 300 })
  try {
    return await work()
  } finally {
    rmSync(path, { force: true })
  }
}

function take(path: string): boolean {
  const self = identify(process.pid)
  try {
    writeFileSync(path, `${self?.pid} ${self?.startTicks}`, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const [pid, startTicks = ''] = readHolder(path)
  // A holder that has only just made the file may not have written into it yet.
  if (pid && !isAlive({ pid: Number(pid), startTicks })) rmSync(path, { force: true })
  return false
}

function readHolder(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split(' ')
  } catch {
    return []
  }
}
