import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { KubeApi } from '../../lib/kube/api.ts'
import { pipelineResource, tableBackfillResource } from './resources.ts'

export interface PipelineWatchOptions {
  readonly kube: KubeApi
  readonly namespace: string
  /** metadata.name and uid of the Pipeline; one with another uid counts as not there. */
  readonly pipeline: string
  readonly pipelineUid: string
  /** Ends the watch. */
  readonly signal: AbortSignal
  /** A worker that needs only the Pipeline saves one watch. Default true. */
  readonly backfills?: boolean
}

/** What a worker knows about its Pipeline; a cache, so never the ground of a decision about safety (rule R8). */
export interface PipelineWatch {
  /** Resolves when both have been listed once; rejects when the watch ends before. */
  readonly ready: Promise<void>
  /** Settles only by rejection: with what ended the watch, the signal's reason in the end. */
  readonly done: Promise<never>
  /** As last seen; undefined before `ready`, and when it is deleted. */
  pipeline(): Pipeline | undefined
  /** Those that refer to this Pipeline, in the order of their creation. */
  backfills(): readonly TableBackfill[]
  /** Grows with every change that was seen. */
  version(): number
  /** Resolves with the present version as soon as it differs from the given one; at once when it does already. */
  changed(since: number, signal: AbortSignal): Promise<number>
  /** Calls back at every change; returns how to stop that. */
  onChange(listener: () => void): () => void
}

/** Watches a Pipeline and its TableBackfills. `done` must be awaited or caught by the caller. */
export function watchPipeline(options: PipelineWatchOptions): PipelineWatch {
  const { kube, namespace, signal } = options
  let pipeline: Pipeline | undefined
  const backfills = new Map<string, TableBackfill>()
  let version = 0
  const listeners = new Set<() => void>()

  function notify(): void {
    version += 1
    for (const listener of [...listeners]) listener()
  }

  const pipelineListed = deferred()
  const watchingPipeline = kube.watch<Pipeline>(
    pipelineResource(namespace),
    { fields: `metadata.name=${options.pipeline}` },
    {
      replace(objects) {
        pipeline = objects.find(isOurs)
        pipelineListed.resolve()
        notify()
      },
      changed(object) {
        if (isOurs(object)) pipeline = object
        else if (object.metadata.name === options.pipeline) pipeline = undefined
        notify()
      },
      deleted(object) {
        if (isOurs(object)) pipeline = undefined
        notify()
      },
    },
    signal,
  )

  const backfillsListed = deferred()
  const watchingBackfills =
    options.backfills === false
      ? backfillsListed.resolve()
      : kube.watch<TableBackfill>(
          tableBackfillResource(namespace),
          { fields: `spec.pipelineRef.name=${options.pipeline}` },
          {
            replace(objects) {
              backfills.clear()
              for (const object of objects) backfills.set(object.metadata.name, object)
              backfillsListed.resolve()
              notify()
            },
            changed(object) {
              backfills.set(object.metadata.name, object)
              notify()
            },
            deleted(object) {
              if (backfills.delete(object.metadata.name)) notify()
            },
          },
          signal,
        )

  function isOurs(object: Pipeline): boolean {
    return object.metadata.name === options.pipeline && object.metadata.uid === options.pipelineUid
  }

  const done = Promise.all([watchingPipeline, watchingBackfills]).then(() => new Promise<never>(() => {}))
  return {
    ready: Promise.race([
      Promise.all([pipelineListed.promise, backfillsListed.promise]).then(() => {}),
      done,
    ]),
    done,
    pipeline: () => pipeline,
    backfills: () => [...backfills.values()].sort(byCreation),
    version: () => version,
    changed(since, waiting) {
      return new Promise((resolve, reject) => {
        if (waiting.aborted) return reject(waiting.reason)
        if (version !== since) return resolve(version)
        const stop = () => {
          listeners.delete(onChange)
          waiting.removeEventListener('abort', onAbort)
        }
        const onChange = () => {
          stop()
          resolve(version)
        }
        const onAbort = () => {
          stop()
          reject(waiting.reason)
        }
        listeners.add(onChange)
        waiting.addEventListener('abort', onAbort, { once: true })
      })
    },
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
  }
}

function byCreation(a: TableBackfill, b: TableBackfill): number {
  const [left, right] = [a, b].map((one) => `${one.metadata.creationTimestamp} ${one.metadata.name}`)
  return (left ?? '') < (right ?? '') ? -1 : 1
}

function deferred() {
  let resolve: () => void = () => {}
  const promise = new Promise<void>((fulfil) => {
    resolve = fulfil
  })
  return { promise, resolve }
}
