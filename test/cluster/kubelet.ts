import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { withPrivileges } from '../../hack/process/user.ts'
import type { KubeObject, Resource } from '../../lib/kube/api.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import { resourcePath } from '../../lib/kube/resources.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { watchForever } from '../../lib/kube/watch.ts'
import {
  containerEnvironment,
  hostPath,
  type PodMetadata,
  type PodSpec,
  writeSecretVolumes,
} from './pod-files.ts'

/**
 * A kubelet and scheduler for tests: runs each pod's first container as a process of this machine, from the sources of
 * this checkout instead of an image. Deployments, Jobs and everything else are the real controllers' work. Made for tests
 * that kill processes by the hundred, where starting containers would take most of the time.
 */
export interface ProcessKubelet {
  /** Live processes, by namespace and pod name. */
  pods(): readonly RunningPod[]
  /** Kills every process whose pod matches, as a power cut would; the pod's restart policy decides what follows. */
  kill9(matches: (pod: RunningPod) => boolean): number
  /**
   * What a cut-off node does: the API server forgets the pods at once, so that others take their place, and their processes
   * live on. Returns what ends those.
   */
  partition(matches: (pod: RunningPod) => boolean): () => void
  /** Ends all processes and the watch. */
  stop(): Promise<void>
}

export interface RunningPod {
  readonly name: string
  readonly namespace: string
  readonly labels: Readonly<Record<string, string>>
  readonly pid: number
  readonly logFile: string
}

export interface ProcessKubeletOptions {
  readonly transport: Transport
  /** API server and CA file that processes are told, with a token of their own service account. */
  readonly server: string
  readonly caFile: string
  /** Folder for logs and mounted files. */
  readonly dir: string
  /** Folder of the checkout that is run. */
  readonly checkout: string
  /** More environment for a process, each time that one starts. */
  readonly environment?: (metadata: PodMetadata) => Readonly<Record<string, string>>
  /** How often mounted Secrets are read again, milliseconds. Default: every second. */
  readonly secretRefresh?: number
  /** A Job replaces a pod that has failed at once, not after 10 s, 20 s, 40 s …: the pod says that it ended long ago. */
  readonly impatientJobs?: boolean
}

interface Pod extends KubeObject {
  readonly metadata: PodMetadata &
    KubeObject['metadata'] & { readonly name: string; readonly namespace: string; readonly uid: string }
  readonly spec: PodSpec
  readonly status?: { readonly phase?: string }
}

interface Entry {
  pod: Pod
  child: ChildProcess | undefined
  restarts: number
  readonly logFile: string
  readonly gone: AbortController
  /** Nobody can reach it to end it. */
  cutOff: boolean
}

const PODS: Resource = { group: '', version: 'v1', plural: 'pods', kind: 'Pod' }
const NODE = 'processes'
/** Compiled sources, by their content: two thirds of the processor time that a start costs. */
export const COMPILE_CACHE = join(tmpdir(), 'millrace-compile-cache')
const SECRET_REFRESH = 1_000
const RESTART_MILLISECONDS = 300
const HEARTBEAT = 15_000
/** More than the Job controller ever waits, milliseconds. */
const LONG_AGO = 3_600_000

/** Starts it; resolves once the node is registered and the watch runs. */
export async function startProcessKubelet(options: ProcessKubeletOptions): Promise<ProcessKubelet> {
  const { transport, dir } = options
  const stopped = new AbortController()
  const entries = new Map<string, Entry>()
  await mkdir(join(dir, 'logs'), { recursive: true })
  await registerNode(transport, stopped.signal)

  const podPath = (pod: Pod, subresource?: string) =>
    resourcePath({ ...PODS, namespace: pod.metadata.namespace }, pod.metadata.name, subresource)

  function seen(pod: Pod): void {
    const known = entries.get(pod.metadata.uid)
    if (known) {
      known.pod = pod
      if (pod.metadata.deletionTimestamp) void terminate(known)
      return
    }
    if (pod.spec.nodeName && pod.spec.nodeName !== NODE) return
    const logFile = join(dir, 'logs', `${pod.metadata.namespace}-${pod.metadata.name}.log`)
    const entry: Entry = {
      pod,
      child: undefined,
      restarts: 0,
      logFile,
      gone: new AbortController(),
      cutOff: false,
    }
    entries.set(pod.metadata.uid, entry)
    if (pod.metadata.deletionTimestamp || isOver(pod)) void terminate(entry)
    else void run(entry).catch((error) => failPod(entry, error))
  }

  async function run(entry: Entry): Promise<void> {
    const { pod } = entry
    if (!pod.spec.nodeName) await bind(pod)
    const root = join(dir, 'pods', pod.metadata.uid)
    await mkdir(root, { recursive: true })
    const environment = await processEnvironment(pod, root)
    void refreshSecrets(entry, root)
    const restart = pod.spec.restartPolicy ?? 'Always'
    for (;;) {
      // Asked for at each start: what a test has drawn for one must not meet every start after it.
      const code = await runOnce(entry, { ...environment, ...options.environment?.(pod.metadata) })
      if (entry.gone.signal.aborted || stopped.signal.aborted) return
      if (restart === 'Never' || (restart === 'OnFailure' && code === 0))
        return await report(entry, { exited: code })
      entry.restarts += 1
      await report(entry, { exited: code, restarting: true })
      await sleep(RESTART_MILLISECONDS)
      if (entry.gone.signal.aborted || stopped.signal.aborted) return
    }
  }

  async function runOnce(entry: Entry, environment: Record<string, string>): Promise<number> {
    const container = entry.pod.spec.containers[0]
    const words = [...(container?.command ?? []), ...(container?.args ?? [])]
    const args = words.filter((word) => !/(^|\/)node$/.test(word)).map((word) => word.replace(/^\/app\//, ''))
    // Nothing is left behind by a killed run.
    const [program = '', ...rest] = withPrivileges(['--pdeathsig', 'KILL'], [process.execPath, ...args])
    const child = spawn(program, rest, {
      cwd: options.checkout,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    entry.child = child
    const log = createWriteStream(entry.logFile, { flags: 'a' })
    child.stdout.pipe(log, { end: false })
    child.stderr.pipe(log, { end: false })
    await report(entry, { running: true })
    const code = await new Promise<number>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode ?? 137)
      child.once('exit', (exit, signal) => resolve(exit ?? (signal === 'SIGTERM' ? 143 : 137)))
      child.once('error', () => resolve(127))
    })
    entry.child = undefined
    log.end()
    return code
  }

  async function processEnvironment(pod: Pod, root: string): Promise<Record<string, string>> {
    const container = pod.spec.containers[0]
    if (!container) throw new Error('a pod without containers')
    const environment = containerEnvironment(pod.metadata, container)
    const secrets = environment.MILLRACE_SECRETS_DIR ?? '/var/run/millrace/secrets'
    const tokenFile = join(root, 'token')
    await writeFile(tokenFile, await serviceAccountToken(pod), { mode: 0o600 })
    await writeSecretVolumes(root, pod.metadata, pod.spec, readSecret)
    return {
      ...environment,
      PATH: process.env.PATH ?? '',
      MILLRACE_SECRETS_DIR: hostPath(root, secrets),
      MILLRACE_PORT: '0',
      NODE_COMPILE_CACHE: COMPILE_CACHE,
      MILLRACE_KUBE_URL: options.server,
      MILLRACE_KUBE_TOKEN_FILE: tokenFile,
      MILLRACE_KUBE_CA_FILE: options.caFile,
    }
  }

  async function serviceAccountToken(pod: Pod): Promise<string> {
    const path = `/api/v1/namespaces/${pod.metadata.namespace}/serviceaccounts/${pod.spec.serviceAccountName ?? 'default'}/token`
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 86_400 },
    }
    const answer = (await transport.call({ method: 'POST', path, body }, stopped.signal)) as {
      status: { token: string }
    }
    return answer.status.token
  }

  async function readSecret(namespace: string, name: string) {
    try {
      const path = `/api/v1/namespaces/${namespace}/secrets/${name}`
      return (
        ((await transport.call({ method: 'GET', path }, stopped.signal)) as { data?: Record<string, string> })
          .data ?? {}
      )
    } catch (error) {
      if (rejectionOf(error)?.status === 404) return undefined
      throw error
    }
  }

  async function refreshSecrets(entry: Entry, root: string): Promise<void> {
    while (!entry.gone.signal.aborted && !stopped.signal.aborted) {
      await sleep(options.secretRefresh ?? SECRET_REFRESH)
      // The API server may be what a test has just stopped.
      await writeSecretVolumes(root, entry.pod.metadata, entry.pod.spec, readSecret).catch(() => {})
    }
  }

  async function bind(pod: Pod): Promise<void> {
    const body = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: pod.metadata.name },
      target: { apiVersion: 'v1', kind: 'Node', name: NODE },
    }
    await transport.call({ method: 'POST', path: podPath(pod, 'binding'), body }, stopped.signal)
  }

  async function report(
    entry: Entry,
    state: { running?: boolean; exited?: number; restarting?: boolean },
  ): Promise<void> {
    const container = entry.pod.spec.containers[0]
    const terminated = {
      exitCode: state.exited,
      reason: state.exited === 0 ? 'Completed' : 'Error',
      finishedAt: new Date(Date.now() - (options.impatientJobs ? LONG_AGO : 0)).toISOString(),
    }
    const over = state.exited !== undefined && !state.restarting
    const phase = over ? (state.exited === 0 ? 'Succeeded' : 'Failed') : 'Running'
    const ready = String(state.running === true)[0]?.toUpperCase() + String(state.running === true).slice(1)
    await patchStatus(entry, {
      phase,
      startTime: new Date().toISOString(),
      conditions: ['Initialized', 'PodScheduled', 'ContainersReady', 'Ready'].map((type) => ({
        type,
        status: type === 'Initialized' || type === 'PodScheduled' ? 'True' : ready,
      })),
      containerStatuses: [
        {
          name: container?.name,
          image: container?.image,
          imageID: '',
          ready: state.running === true,
          restartCount: entry.restarts,
          state: over
            ? { terminated }
            : state.running
              ? { running: { startedAt: new Date().toISOString() } }
              : { waiting: { reason: 'CrashLoopBackOff' } },
          ...(state.restarting && { lastState: { terminated } }),
        },
      ],
    })
  }

  async function failPod(entry: Entry, error: unknown): Promise<void> {
    if (stopped.signal.aborted || entry.gone.signal.aborted || rejectionOf(error)?.status === 404) return
    await patchStatus(entry, { phase: 'Failed', reason: 'ProcessKubelet', message: String(error) })
  }

  async function patchStatus(entry: Entry, status: object): Promise<void> {
    try {
      await transport.call(
        {
          method: 'PATCH',
          path: podPath(entry.pod, 'status'),
          contentType: 'application/merge-patch+json',
          body: { status },
        },
        stopped.signal,
      )
    } catch (error) {
      if (!stopped.signal.aborted && rejectionOf(error)?.status !== 404) throw error
    }
  }

  async function terminate(entry: Entry): Promise<void> {
    if (entry.gone.signal.aborted) return
    entry.gone.abort()
    const { child, pod } = entry
    if (child && !entry.cutOff) {
      const grace = pod.metadata.deletionGracePeriodSeconds ?? 30
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), grace * 1000)
      await ended
      clearTimeout(timer)
      await report(entry, { exited: child.exitCode ?? 137 })
    }
    if (!pod.metadata.deletionTimestamp) return
    const query = { gracePeriodSeconds: '0' }
    await transport.call({ method: 'DELETE', path: podPath(pod), query }, stopped.signal).catch(() => {})
  }

  // A node that is not heard of loses its pods after some minutes.
  void (async () => {
    while (!stopped.signal.aborted) {
      await sleep(HEARTBEAT, undefined, { signal: stopped.signal, ref: false }).catch(() => {})
      await markReady(transport, stopped.signal).catch(() => {})
    }
  })()

  const watching = watchForever<Pod>(
    transport,
    PODS,
    {},
    {
      replace: (pods) => pods.forEach(seen),
      changed: seen,
      deleted(pod) {
        const entry = entries.get(pod.metadata.uid)
        entry?.gone.abort()
        if (!entry?.cutOff) entry?.child?.kill('SIGKILL')
        entries.delete(pod.metadata.uid)
      },
    },
    stopped.signal,
    { minDelay: 100, maxDelay: 1_000 },
  ).catch(() => {})

  const shown = ({ pod, child, logFile }: Entry): RunningPod[] =>
    child?.pid === undefined
      ? []
      : [
          {
            name: pod.metadata.name,
            namespace: pod.metadata.namespace,
            labels: pod.metadata.labels ?? {},
            pid: child.pid,
            logFile,
          },
        ]
  const running = () => [...entries.values()].flatMap(shown)
  const strays = new Set<ChildProcess>()

  // A Job replaces a pod only once that has failed, so it is said to have, as the pods of a lost node are.
  async function lose(entry: Entry): Promise<void> {
    await report(entry, { exited: 137 })
    const query = { gracePeriodSeconds: '0' }
    await transport.call({ method: 'DELETE', path: podPath(entry.pod), query }, stopped.signal)
  }

  function partition(matches: (pod: RunningPod) => boolean): () => void {
    const cut = [...entries.values()].filter((entry) => !entry.cutOff && shown(entry).some(matches))
    const children = cut.flatMap(({ child }) => child ?? [])
    for (const child of children) strays.add(child)
    for (const entry of cut) {
      entry.cutOff = true
      void lose(entry).catch(() => {})
    }
    return () => {
      for (const child of children) {
        child.kill('SIGKILL')
        strays.delete(child)
      }
    }
  }

  return {
    pods: running,
    kill9(matches) {
      const victims = running().filter(matches)
      for (const { pid } of victims) process.kill(pid, 'SIGKILL')
      return victims.length
    },
    partition,
    async stop() {
      stopped.abort()
      await watching
      for (const { child } of entries.values()) child?.kill('SIGKILL')
      for (const child of strays) child.kill('SIGKILL')
    },
  }
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed'
}

async function registerNode(transport: Transport, signal: AbortSignal): Promise<void> {
  const body = { apiVersion: 'v1', kind: 'Node', metadata: { name: NODE } }
  await transport.call({ method: 'POST', path: '/api/v1/nodes', body }, signal).catch((error) => {
    if (rejectionOf(error)?.status !== 409) throw error
  })
  await markReady(transport, signal)
}

async function markReady(transport: Transport, signal: AbortSignal): Promise<void> {
  const lastHeartbeatTime = new Date().toISOString()
  const status = {
    capacity: { cpu: '64', memory: '256Gi', pods: '10000' },
    allocatable: { cpu: '64', memory: '256Gi', pods: '10000' },
    conditions: [{ type: 'Ready', status: 'True', reason: 'Test', message: '', lastHeartbeatTime }],
  }
  await transport.call(
    {
      method: 'PATCH',
      path: `/api/v1/nodes/${NODE}/status`,
      contentType: 'application/merge-patch+json',
      body: { status },
    },
    signal,
  )
}
