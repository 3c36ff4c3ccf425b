import { readdirSync, readFileSync } from 'node:fs'

/** One process as it was seen. The start time tells it from a later process that got the same pid. */
export interface ProcessId {
  pid: number
  /** Clock ticks after boot, field 22 of /proc/PID/stat. */
  startTicks: string
}

/** The fields of /proc/PID/stat that follow the command name, or undefined when there is no such process. */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command name is in parentheses and may itself hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

/** Identifies a live process; undefined when it has ended (a zombie has ended too). */
export function identify(pid: number): ProcessId | undefined {
  const fields = statFields(pid)
  const startTicks = fields?.[19]
  return fields === undefined || startTicks === undefined || fields[0] === 'Z'
    ? undefined
    : { pid, startTicks }
}

/** True while exactly this process lives. */
export function isAlive(id: ProcessId): boolean {
  return identify(id.pid)?.startTicks === id.startTicks
}

/** Live direct children of `pid`. */
export function childrenOf(pid: number): ProcessId[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((candidate) => statFields(candidate)?.[1] === String(pid))
    .flatMap((candidate) => identify(candidate) ?? [])
}

/** Resident memory of a process in bytes, 0 when it has ended. */
export function residentBytes(pid: number): number {
  try {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return Number(kib ?? 0) * 1024
  } catch {
    return 0
  }
}

/** Live processes whose command line holds all of `texts`. */
export function processesMatching(texts: readonly string[]): ProcessId[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && texts.every((text) => commandLine(name).includes(text)))
    .flatMap((name) => identify(Number(name)) ?? [])
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}
