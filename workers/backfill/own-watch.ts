import type { TableBackfill } from '../../crds/table-backfill.ts'
import { MillraceError } from '../../lib/errors.ts'
import type { KubeApi } from '../../lib/kube/api.ts'
import { tableBackfillResource } from '../runtime/resources.ts'

/** The TableBackfill that a process works for, as it changes. */
export interface OwnWatch {
  /** Aborts when it is cancelled or deleted, with a `Cancelled` that says which. */
  readonly ended: AbortSignal
  /** Settles only by rejection: with what ended the watch, the signal's reason in the end. */
  readonly done: Promise<never>
  /** Resolves at the next change of what apply reports, or after `milliseconds`. */
  queueChanged(milliseconds: number, signal: AbortSignal): Promise<void>
}

export interface OwnWatchOptions {
  readonly kube: KubeApi
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly signal: AbortSignal
}

/** Watches one TableBackfill; an object of another uid under its name means that it was deleted. */
export function watchOwn({ kube, namespace, name, uid, signal }: OwnWatchOptions): OwnWatch {
  const ended = new AbortController()
  let reported: string | undefined
  const wakes = new Set<() => void>()

  function see(object: TableBackfill | undefined): void {
    if (object === undefined || object.metadata.uid !== uid || object.metadata.deletionTimestamp) {
      ended.abort(new MillraceError('Cancelled', `TableBackfill ${name} was deleted`))
    } else if (object.spec.cancel) {
      ended.abort(new MillraceError('Cancelled', `TableBackfill ${name} was cancelled`))
    }
    const now = JSON.stringify(object?.status?.queue)
    if (now === reported) return
    reported = now
    for (const wake of [...wakes]) wake()
  }

  const watching = kube.watch<TableBackfill>(
    tableBackfillResource(namespace),
    { fields: `metadata.name=${name}` },
    {
      replace: (objects) => see(objects.find((object) => object.metadata.name === name)),
      changed: see,
      deleted: () => see(undefined),
    },
    signal,
  )
  return {
    ended: ended.signal,
    done: watching.then(() => new Promise<never>(() => {})),
    queueChanged(milliseconds, waiting) {
      return new Promise((resolve, reject) => {
        if (waiting.aborted) return reject(waiting.reason)
        const stop = () => {
          clearTimeout(timer)
          wakes.delete(wake)
          waiting.removeEventListener('abort', onAbort)
        }
        const wake = () => {
          stop()
          resolve()
        }
        const onAbort = () => {
          stop()
          reject(waiting.reason)
        }
        const timer = setTimeout(wake, milliseconds)
        wakes.add(wake)
        waiting.addEventListener('abort', onAbort, { once: true })
      })
    },
  }
}
