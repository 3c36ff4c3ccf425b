import { spawn } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { childrenOf, identify, isAlive, type ProcessId } from './procfs.ts'
import { type SystemUser, userOptions, withPrivileges } from './user.ts'
import { until } from './wait.ts'

/** How long a process outlives the one that started it. */
export type Lifetime =
  /** Ends with its parent, however that one ends. For tests: nothing is left behind by a killed run. */
  | 'bound'
  /** Goes on until it is stopped. For the stack. */
  | 'detached'

export interface DaemonSpec {
  name: string
  command: readonly [string, ...string[]]
  /** Folder of the pid file. */
  dir: string
  logFile: string
  lifetime: Lifetime
  user?: SystemUser | undefined
  env?: Record<string, string> | undefined
  cwd?: string | undefined
  /** Signal that asks it to end in order. */
  stopSignal?: NodeJS.Signals
  /** Signal that a bound process gets when its parent has ended. */
  orphanSignal?: NodeJS.Signals
  /** How long it may take to end in order before it is killed. */
  stopTimeoutMs?: number
}

/** A background process that is known by its pid file, so that another process can take it over later. */
export interface Daemon {
  readonly name: string
  readonly logFile: string
  /** The live process, or undefined when it does not run. */
  running(): ProcessId | undefined
  /** Starts it and returns at once; an error when it runs already. */
  start(): void
  /** Ends it in order, or with the given signal; kills it when that takes too long. No-op when it does not run. */
  stop(signal?: NodeJS.Signals): Promise<void>
  /** Kills it and its children as a power cut would. */
  kill9(): Promise<void>
  /** Throws, with the end of its log, when it does not run. */
  assertRunning(): void
}

const MAX_LOG_BYTES = 64 * 1024 * 1024

/** Describes a background process. Nothing is started yet. */
export function daemon(spec: DaemonSpec): Daemon {
  const pidFile = join(spec.dir, `${spec.name}.pid`)

  const running = () => {
    const id = readPidFile(pidFile)
    return id !== undefined && isAlive(id) ? id : undefined
  }

  const start = () => {
    if (running()) throw new Error(`${spec.name} runs already`)
    mkdirSync(spec.dir, { recursive: true })
    const log = openLog(spec.logFile)
    const [program, ...args] = commandLine(spec)
    try {
      const child = spawn(program as string, args, {
        cwd: spec.cwd ?? '/',
        detached: spec.lifetime === 'detached',
        stdio: ['ignore', log, log],
        env: { ...process.env, ...spec.env },
      })
      // A missing program shows as a process that does not run.
      child.once('error', () => {})
      child.unref()
      const id = child.pid === undefined ? undefined : identify(child.pid)
      if (!id) throw new Error(`${spec.name} could not be started: ${program}`)
      writeFileSync(pidFile, `${id.pid} ${id.startTicks}\n`)
    } finally {
      closeSync(log)
    }
  }

  /** Whoever keeps it alive may have started it again by now: that one is to be known. */
  const forget = () => {
    if (!running()) rmSync(pidFile, { force: true })
  }

  const kill9 = async () => {
    const id = running()
    if (id) await endAll([id, ...childrenOf(id.pid)], spec.name)
    forget()
  }

  const stop = async (signal?: NodeJS.Signals) => {
    const id = running()
    if (id) {
      sendSignal(id, signal ?? spec.stopSignal ?? 'SIGTERM')
      const timeoutMs = spec.stopTimeoutMs ?? 15_000
      await until(() => !isAlive(id), { what: `end of ${spec.name}`, timeoutMs }).catch(kill9)
    }
    forget()
  }

  const assertRunning = () => {
    if (!running()) throw new Error(`${spec.name} has exited. End of its log:\n${logTail(spec.logFile)}`)
  }

  return { name: spec.name, logFile: spec.logFile, running, start, stop, kill9, assertRunning }
}

function commandLine(spec: DaemonSpec): string[] {
  const bound = spec.lifetime === 'bound' ? ['--pdeathsig', (spec.orphanSignal ?? 'SIGKILL').slice(3)] : []
  return withPrivileges([...bound, ...(spec.user ? userOptions(spec.user) : [])], spec.command)
}

function readPidFile(path: string): ProcessId | undefined {
  try {
    const [pid, startTicks] = readFileSync(path, 'utf8').trim().split(' ')
    return startTicks === undefined ? undefined : { pid: Number(pid), startTicks }
  } catch {
    return undefined
  }
}

function sendSignal(id: ProcessId, signal: NodeJS.Signals) {
  try {
    if (isAlive(id)) process.kill(id.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Kills processes and waits until they have ended. */
export async function endAll(ids: readonly ProcessId[], name: string) {
  for (const id of ids) sendSignal(id, 'SIGKILL')
  await until(() => !ids.some(isAlive), { what: `end of ${name} after SIGKILL`, timeoutMs: 30_000 })
}

/** Opens a log for appending; one that has grown too large is moved aside, so a log takes twice the limit at most. */
function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true })
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > MAX_LOG_BYTES) renameSync(path, `${path}.1`)
  return openSync(path, 'a')
}

function logTail(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(-20).join('\n')
  } catch {
    return '(no log)'
  }
}
