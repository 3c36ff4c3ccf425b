import { toMillraceError } from '../../lib/errors.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import type { Logger } from '../../lib/log.ts'
import type { OperatorMetrics } from './metrics.ts'
import { createWorkQueue, type WorkQueueOptions } from './work-queue.ts'

export interface ReconcileResult {
  /** Look again after so many milliseconds, should nothing happen before. */
  readonly again?: number | undefined
}

export interface Controller {
  readonly name: string
  enqueue(key: string): void
  /** Works until the signal aborts; resolves when what was under way has ended. */
  run(signal: AbortSignal): Promise<void>
  /** Milliseconds that the longest reconciliation of now has taken. */
  longestRunning(): number
}

export interface ControllerOptions {
  readonly name: string
  /** Keys that are worked on at the same time. */
  readonly concurrency: number
  /** Brings what is towards what should be, for one key. One that throws is tried again later; the other keys go on. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileResult>
  readonly log: Logger
  readonly metrics: OperatorMetrics
  readonly queue?: WorkQueueOptions
}

export function createController(options: ControllerOptions): Controller {
  const { name, reconcile, metrics } = options
  const log = options.log.child({ controller: name })
  const queue = createWorkQueue(options.queue)
  const running = new Map<string, number>()

  async function work(key: string, signal: AbortSignal): Promise<void> {
    const started = performance.now()
    running.set(key, started)
    metrics.activeWorkers.set({ controller: name }, running.size)
    metrics.queueSeconds.observe({ name }, queue.waited(key) / 1000)
    try {
      const { again } = await reconcile(key, signal)
      queue.forget(key)
      if (again !== undefined) queue.addAfter(key, again)
      metrics.reconciles.inc({ controller: name, result: again === undefined ? 'success' : 'requeue_after' })
    } catch (thrown) {
      if (signal.aborted) return
      const error = toMillraceError(thrown)
      const delay = queue.addAfterFailure(key)
      metrics.reconciles.inc({ controller: name, result: 'error' })
      metrics.reconcileErrors.inc({ controller: name })
      metrics.queueRetries.inc({ name })
      // Somebody else wrote first: the next look is at what they wrote, and nobody needs to know.
      const level = rejectionOf(error)?.status === 409 ? 'debug' : 'warn'
      log[level](
        { key, code: error.code, error: error.message, delay, stack: faultStack(error.cause) },
        'Failed',
      )
    } finally {
      running.delete(key)
      metrics.activeWorkers.set({ controller: name }, running.size)
      metrics.reconcileSeconds.observe({ controller: name }, (performance.now() - started) / 1000)
      queue.done(key)
      metrics.queueDepth.set({ name }, queue.depth())
    }
  }

  async function loop(signal: AbortSignal): Promise<void> {
    for (;;) {
      const key = await queue.take(signal)
      await work(key, signal)
    }
  }

  return {
    name,
    enqueue(key) {
      queue.add(key)
      metrics.queueAdds.inc({ name })
      metrics.queueDepth.set({ name }, queue.depth())
    },
    async run(signal) {
      const loops = Array.from({ length: options.concurrency }, () => loop(signal))
      const results = await Promise.allSettled(loops)
      const fault = results.find((result) => result.status === 'rejected' && result.reason !== signal.reason)
      if (fault?.status === 'rejected') throw fault.reason
    },
    longestRunning() {
      const oldest = Math.min(...running.values())
      return running.size === 0 ? 0 : performance.now() - oldest
    },
  }
}

/** Where a fault of the program came from; what the API server refused needs no stack. */
function faultStack(cause: unknown): string | undefined {
  return cause instanceof TypeError || cause instanceof RangeError || cause instanceof ReferenceError
    ? cause.stack
    : undefined
}
