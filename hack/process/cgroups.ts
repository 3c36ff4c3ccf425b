import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from './wait.ts'

const root = '/sys/fs/cgroup'

const isVersion2 = () => existsSync(join(root, 'cgroup.controllers'))

/** Folders below which groups lie: one in version 2, one for each controller in version 1. */
function hierarchies(): string[] {
  if (isVersion2()) return [root]
  if (!existsSync(root)) return []
  return readdirSync(root)
    .map((controller) => join(root, controller))
    .filter((folder) => existsSync(join(folder, 'cgroup.procs')))
}

/** Makes the control group `name` where it does not exist, ready to hold others. */
export function makeControlGroup(name: string) {
  for (const hierarchy of hierarchies()) {
    const folder = join(hierarchy, name)
    mkdirSync(folder, { recursive: true })
    // In version 1 a new group has no processors and no memory nodes, and takes no process until it is given some.
    for (const file of isVersion2() ? [] : ['cpuset.cpus', 'cpuset.mems']) {
      if (existsSync(join(folder, file))) {
        writeFileSync(join(folder, file), readFileSync(join(hierarchy, file)))
      }
    }
  }
  if (!isVersion2()) return
  for (const folder of [root, join(root, name)]) {
    const controllers = readFileSync(join(folder, 'cgroup.controllers'), 'utf8').trim().split(' ')
    const enable = controllers.map((controller) => `+${controller}`).join(' ')
    writeFileSync(join(folder, 'cgroup.subtree_control'), enable)
  }
}

/** The folders of the control group `name`. */
function foldersOf(name: string): string[] {
  return hierarchies()
    .map((hierarchy) => join(hierarchy, name))
    .filter((folder) => existsSync(folder))
}

/** A folder and all below it, innermost first. */
function tree(folder: string): string[] {
  const below = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return [...below.flatMap((entry) => tree(join(folder, entry.name))), folder]
}

function processesIn(name: string): number[] {
  const folders = foldersOf(name).flatMap(tree)
  const pids = folders.flatMap((folder) =>
    readFileSync(join(folder, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean),
  )
  return [...new Set(pids)].map(Number)
}

/** Kills everything in the control group `name` and below it, and removes the group. */
export async function removeControlGroup(name: string) {
  await until(
    () => {
      for (const pid of processesIn(name)) kill(pid)
      for (const folder of foldersOf(name).flatMap(tree)) rmdirSync(folder)
      return true
    },
    // Groups come and go while their processes die, and one with a dying process cannot be removed.
    { what: `removal of the control group ${name}`, timeoutMs: 20_000 },
  )
}

function kill(pid: number) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
