import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import type { WorkerContext, WorkerEnvironment } from '../../../workers/runtime/context.ts'
import { fileSecrets } from '../../../workers/runtime/secrets.ts'

/** How a worker ended that nobody had stopped. */
export interface WorkerFailure {
  readonly message: string
  /** Whether another attempt may help. */
  readonly retryable: boolean
}

/** A worker in this process. */
export interface RunningWorker {
  /** Whether it has ended, in whatever way. */
  ended(): boolean
  failure(): WorkerFailure | undefined
  /** Asks it to stop and waits for that; one that does not is left alone after half a minute. */
  end(): Promise<void>
  readonly done: Promise<void>
}

/** What all workers of a Pipeline have in common. */
export type WorkerBase = Pick<WorkerContext, 'kube' | 'log'> & { readonly env: WorkerEnvironment }

const PATIENCE = 30_000

/** Runs one worker as its pod would, without a process of its own. */
export function startWorker(
  main: (context: WorkerContext) => Promise<void>,
  base: WorkerBase,
  backfill: Partial<WorkerEnvironment> = {},
): RunningWorker {
  const stop = new AbortController()
  let ended = false
  let failure: WorkerFailure | undefined
  const done = main({
    env: { ...base.env, ...backfill },
    log: base.log.child({ main: main.name, ...backfill }),
    kube: base.kube,
    metrics: new Registry(),
    stop: stop.signal,
    secrets: fileSecrets(base.env.secretsDir),
    health: { addLivenessCheck() {}, setReady() {} },
  }).then(
    () => {
      ended = true
    },
    (error: unknown) => {
      ended = true
      const { code, message, retryable } = error as { code?: string; message?: string; retryable?: boolean }
      failure = { message: `${code ?? 'error'}: ${message ?? error}`, retryable: retryable !== false }
    },
  )
  return {
    ended: () => ended,
    failure: () => failure,
    done,
    async end() {
      stop.abort(new Error('stopped'))
      const late = new AbortController()
      await Promise.race([done, sleep(PATIENCE, undefined, { signal: late.signal, ref: false })])
      late.abort()
    },
  }
}

/** A worker that is there all the time, but for restarts. */
export interface KeptWorker {
  /** Stops it, leaves it away for so long, and starts it again. */
  restart(downMilliseconds: number): Promise<void>
  stop(): Promise<void>
}

/** Starts a worker, and again whenever it ends by itself, as the kubelet would. */
export function keepWorker(start: () => RunningWorker, onFailure: (message: string) => void): KeptWorker {
  let wanted = true
  let current = watched()

  function watched(): RunningWorker {
    const worker = start()
    void worker.done.then(async () => {
      if (!wanted || current !== worker) return
      onFailure(worker.failure()?.message ?? 'it ended without an error')
      await sleep(1_000)
      if (wanted && current === worker) current = watched()
    })
    return worker
  }

  async function stop(): Promise<void> {
    wanted = false
    await current.end()
  }

  return {
    stop,
    async restart(downMilliseconds) {
      await stop()
      await sleep(downMilliseconds)
      wanted = true
      current = watched()
    },
  }
}
