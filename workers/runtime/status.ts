import { isDeepStrictEqual } from 'node:util'
import { createBackoff } from '../../lib/backoff.ts'
import { around } from '../../lib/failpoints.ts'
import type { KubeApi, Resource } from '../../lib/kube/api.ts'
import type { Logger } from '../../lib/log.ts'

export interface StatusWriterOptions {
  readonly kube: KubeApi
  readonly resource: Resource
  /** metadata.name of the object. */
  readonly name: string
  /** Its uid, so that an object that takes the name later is left alone. */
  readonly uid?: string
  readonly fieldManager: string
  /** Shortest time between two writes, milliseconds; default 2,500. */
  readonly minIntervalMs?: number
  readonly log?: Logger
}

/** Writes one manager's part of a status: the latest wins, nothing is written twice. */
export interface StatusWriter {
  /**
   * Replaces this manager's whole part of the status; fields left out disappear. Written when the interval has passed, at
   * once when `urgent` (a state that others wait for). Never throws; failures are tried again.
   */
  set(status: object, options?: { urgent?: boolean }): void
  /** Resolves when the latest status is written (or the object gone); rejects when the signal aborts before that. */
  flush(signal: AbortSignal): Promise<void>
  /** Stops writing; what was not flushed is dropped. Idempotent. */
  close(): void
}

/**
 * A pod that was replaced and does not know it yet may write over what its successor has written, who would never notice:
 * after this time it is written again, milliseconds. The API server changes nothing when it stands there still.
 */
const REPEAT = 5 * 60_000

/** One writer per object and field manager in a process. */
export function createStatusWriter(options: StatusWriterOptions): StatusWriter {
  const interval = options.minIntervalMs ?? 2_500
  const backoff = createBackoff(500, 30_000)
  const closed = new AbortController()
  let wanted: object | undefined
  let written: object | undefined
  let gone = false
  let lastWrite = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let repeat: NodeJS.Timeout | undefined
  let dueAt = Number.POSITIVE_INFINITY
  let writing = false
  let hurry = false
  let waiters: (() => void)[] = []

  const settled = () =>
    gone || closed.signal.aborted || wanted === undefined || isDeepStrictEqual(wanted, written)

  function schedule(at: number): void {
    if (writing || closed.signal.aborted || at >= dueAt) return
    clearTimeout(timer)
    dueAt = at
    timer = setTimeout(() => void write(), Math.max(0, at - performance.now()))
  }

  function again(): void {
    written = undefined
    schedule(performance.now())
  }

  function release(): void {
    const resolved = waiters
    waiters = []
    for (const resolve of resolved) resolve()
  }

  async function write(): Promise<void> {
    dueAt = Number.POSITIVE_INFINITY
    if (writing) return
    if (settled()) return release()
    const status = wanted as object
    const { kube, resource, name, fieldManager, uid } = options
    writing = true
    hurry = false
    let delay = interval
    try {
      const answer = await around('status.write', () =>
        kube.applyStatus(resource, name, fieldManager, status, closed.signal, uid),
      )
      gone = answer === undefined
      written = status
      clearTimeout(repeat)
      repeat = setTimeout(again, REPEAT).unref()
      backoff.reset()
    } catch (error) {
      delay = backoff.next()
      if (!closed.signal.aborted) options.log?.warn({ err: error, delay }, 'Status not written, trying again')
    } finally {
      writing = false
      lastWrite = performance.now()
    }
    if (settled()) return release()
    const failed = backoff.attempts() > 0
    schedule(lastWrite + (!failed && (hurry || waiters.length > 0) ? 0 : delay))
  }

  return {
    set(status, { urgent = false } = {}) {
      wanted = structuredClone(status)
      if (settled()) return
      hurry ||= urgent
      schedule(urgent ? performance.now() : lastWrite + interval)
    },
    async flush(signal) {
      signal.throwIfAborted()
      while (!settled()) {
        await new Promise<void>((resolve, reject) => {
          const onAbort = () => reject(signal.reason)
          signal.addEventListener('abort', onAbort, { once: true })
          waiters.push(() => {
            signal.removeEventListener('abort', onAbort)
            resolve()
          })
          schedule(performance.now())
        })
      }
    },
    close() {
      closed.abort()
      clearTimeout(timer)
      clearTimeout(repeat)
      release()
    },
  }
}
