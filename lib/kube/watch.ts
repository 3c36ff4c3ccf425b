import type { IncomingMessage } from 'node:http'
import { createBackoff } from '../backoff.ts'
import { sleep } from '../sleep.ts'
import type { KubeObject, Resource, Selector, WatchHandler } from './api.ts'
import { readLines } from './lines.ts'
import { rejectionOf } from './rejection.ts'
import { apiVersion, resourcePath } from './resources.ts'
import type { Transport } from './transport.ts'

export interface WatchOptions {
  /** Told of every failure that the watch survives, and how long it waits before the next attempt (milliseconds). */
  readonly onTrouble?: (error: unknown, delay: number) => void
  /**
   * A stream that is silent for this long may be dead and is opened anew, milliseconds. Nothing is wrong with that: where
   * nothing changes at all, bookmarks do not come either.
   */
  readonly inactivity?: number
  /** Objects per page of a list. */
  readonly pageSize?: number
  readonly minDelay?: number
  readonly maxDelay?: number
}

/** A watch that ends sooner than this has done nothing for the calmness of the API server. Milliseconds. */
const SHORT = 5_000

interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  readonly object: KubeObject & { readonly code?: number; readonly message?: string }
}

/** Raised by nobody else: marks what a handler threw, so that it is not taken for a failure of the connection. */
class HandlerFailure extends Error {
  readonly thrown: unknown
  constructor(thrown: unknown) {
    super('a watch handler threw')
    this.thrown = thrown
  }
}

/**
 * Lists, then watches, for as long as the signal lives. Every end of a stream leads to the next one from the last known
 * version; a version that the server has forgotten (410) leads to a new list. Nothing but the signal or an exception of the
 * handler ends it.
 */
export async function watchForever<T extends KubeObject>(
  transport: Transport,
  resource: Resource,
  selector: Selector,
  handler: WatchHandler<T>,
  signal: AbortSignal,
  options: WatchOptions = {},
): Promise<never> {
  const backoff = createBackoff(options.minDelay ?? 500, options.maxDelay ?? 30_000)
  let version: string | undefined
  for (;;) {
    signal.throwIfAborted()
    const started = performance.now()
    let trouble: unknown
    try {
      if (version === undefined) {
        const list = await listAll<T>(transport, resource, selector, signal, options.pageSize)
        await guarded(() => handler.replace(list.objects, list.version))
        version = list.version
      }
      version = await watchOnce(transport, resource, selector, version, handler, signal, options, (seen) => {
        version = seen
      })
    } catch (error) {
      if (error instanceof HandlerFailure) throw error.thrown
      if (signal.aborted) throw signal.reason
      if (rejectionOf(error)?.status === 410) version = undefined
      trouble = error
    }
    if (trouble === undefined && performance.now() - started >= SHORT) {
      backoff.reset()
      continue
    }
    const asked = trouble === undefined ? undefined : rejectionOf(trouble)?.retryAfter
    const delay = Math.max(backoff.next(), Math.min(asked ?? 0, 60_000))
    if (trouble !== undefined) options.onTrouble?.(trouble, delay)
    await sleep(delay, signal)
  }
}

/** All pages of a list, each object with apiVersion and kind (which lists leave out). */
export async function listAll<T extends KubeObject>(
  transport: Transport,
  resource: Resource,
  selector: Selector,
  signal: AbortSignal,
  pageSize = 500,
): Promise<{ objects: T[]; version: string }> {
  const objects: T[] = []
  const identity = { apiVersion: apiVersion(resource), kind: resource.kind }
  let page: string | undefined
  for (;;) {
    const answer = (await transport.call(
      {
        method: 'GET',
        path: resourcePath(resource),
        query: { ...selectorQuery(selector), limit: String(pageSize), continue: page },
      },
      signal,
    )) as { metadata: { resourceVersion: string; continue?: string }; items: T[] | null }
    for (const item of answer.items ?? []) objects.push({ ...item, ...identity })
    page = answer.metadata.continue
    if (page === undefined || page === '') return { objects, version: answer.metadata.resourceVersion }
  }
}

async function watchOnce<T extends KubeObject>(
  transport: Transport,
  resource: Resource,
  selector: Selector,
  from: string,
  handler: WatchHandler<T>,
  signal: AbortSignal,
  options: WatchOptions,
  onVersion: (version: string) => void,
): Promise<string | undefined> {
  const inactivity = options.inactivity ?? 120_000
  // Ending is spread out, so that the watchers of a cluster do not come back all at once.
  const seconds = Math.round(240 + Math.random() * 240)
  const stream = await transport.open(
    {
      method: 'GET',
      path: resourcePath(resource),
      query: {
        ...selectorQuery(selector),
        watch: 'true',
        allowWatchBookmarks: 'true',
        resourceVersion: from,
        timeoutSeconds: String(seconds),
      },
    },
    signal,
  )
  let version = from
  // While a handler runs nobody reads the stream; an error that comes then is met at the next read.
  stream.on('error', () => {})
  const silence = silenceTimer(stream, inactivity)
  try {
    for await (const line of readLines(stream, silence.touch)) {
      const event = JSON.parse(line) as WatchEvent
      if (event.type === 'ERROR') {
        if (event.object.code === 410) return undefined
        throw new Error(event.object.message ?? 'the API server ended the watch with an error')
      }
      // The time that a handler takes is not silence of the server.
      silence.pause()
      if (event.type !== 'BOOKMARK') await guarded(() => dispatch(event.type, event.object as T, handler))
      silence.touch()
      version = event.object.metadata.resourceVersion ?? version
      onVersion(version)
    }
    return version
  } catch (error) {
    if (silence.fired()) return version
    throw error
  } finally {
    silence.pause()
    stream.destroy()
  }
}

function dispatch<T>(type: WatchEvent['type'], object: T, handler: WatchHandler<T>): void | Promise<void> {
  return type === 'DELETED' ? handler.deleted(object) : handler.changed(object)
}

async function guarded(call: () => void | Promise<void>): Promise<void> {
  try {
    await call()
  } catch (thrown) {
    throw new HandlerFailure(thrown)
  }
}

function silenceTimer(stream: IncomingMessage, milliseconds: number) {
  let timer: NodeJS.Timeout | undefined
  let fired = false
  const touch = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      fired = true
      stream.destroy(new Error(`the watch was silent for ${milliseconds / 1000} s`))
    }, milliseconds)
  }
  touch()
  return { touch, pause: () => clearTimeout(timer), fired: () => fired }
}

function selectorQuery(selector: Selector) {
  return { labelSelector: selector.labels, fieldSelector: selector.fields }
}
