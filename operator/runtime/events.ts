import { createHash } from 'node:crypto'
import type { KubeObject } from '../../lib/kube/api.ts'
import type { Logger } from '../../lib/log.ts'
import type { OperatorApi } from '../kube/api.ts'
import { EVENTS, within } from '../kube/resources.ts'
import { microTime } from './leader.ts'

export interface EventRecorder {
  /**
   * Tells people that look at `about` what happened. Repeats of the same are counted in one Event, written at most every
   * minute. Never throws and is not waited for.
   *
   * @param action what was done or tried, CamelCase; `reason` why, CamelCase
   */
  record(about: KubeObject, type: 'Normal' | 'Warning', reason: string, action: string, note: string): void
}

/** The API server's limit, bytes. */
const MAX_NOTE = 1024
const REPEAT_MILLISECONDS = 60_000
/** A series that is quiet for this long has ended; the next occurrence is a new Event. */
const FORGET_MILLISECONDS = 360_000
const MAX_REMEMBERED = 2_000

interface Series {
  readonly name: string
  count: number
  lastSeen: number
  lastWritten: number
}

export function createEventRecorder(
  kube: OperatorApi,
  instance: string,
  log: Logger,
  signal: AbortSignal,
): EventRecorder {
  const series = new Map<string, Series>()

  function remember(key: string, name: string, now: number): Series {
    const entry = { name, count: 1, lastSeen: now, lastWritten: now }
    series.set(key, entry)
    const oldest = series.keys().next().value
    if (series.size > MAX_REMEMBERED && oldest !== undefined) series.delete(oldest)
    return entry
  }

  return {
    record(about, type, reason, action, note) {
      const { namespace = 'default', name, uid = '' } = about.metadata
      const now = Date.now()
      const key = JSON.stringify([uid, type, reason, action, note])
      const known = series.get(key)
      const events = within(EVENTS, namespace)
      let write: Promise<unknown>
      if (known && now - known.lastSeen < FORGET_MILLISECONDS) {
        known.count += 1
        known.lastSeen = now
        if (now - known.lastWritten < REPEAT_MILLISECONDS) return
        known.lastWritten = now
        const patch = { series: { count: known.count, lastObservedTime: microTime(new Date(now)) } }
        write = kube.patch(events, known.name, patch, signal)
      } else {
        const hash = createHash('sha256').update(`${key}${now}`).digest('hex').slice(0, 16)
        const eventName = `${name.slice(0, 200)}.${hash}`
        remember(key, eventName, now)
        write = kube.create(
          events,
          {
            metadata: { name: eventName, namespace },
            eventTime: microTime(new Date(now)),
            reportingController: 'millrace.dev/operator',
            reportingInstance: instance.slice(0, 128),
            action,
            reason,
            type,
            note: cutBytes(note, MAX_NOTE),
            regarding: { apiVersion: about.apiVersion, kind: about.kind, name, namespace, uid },
          },
          signal,
        )
      }
      write.catch((error) => {
        if (!signal.aborted)
          log.debug({ error: String(error?.message ?? error), reason }, 'Event not written')
      })
    },
  }
}

/** Cuts between characters, not within one. */
function cutBytes(text: string, limit: number): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= limit) return text
  const ellipsis = ' …'
  let end = limit - Buffer.byteLength(ellipsis)
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return `${bytes.subarray(0, end).toString('utf8')}${ellipsis}`
}
