import { createHash } from 'node:crypto'
import type { Clock } from '../options.ts'
import { validation } from './errors.ts'

/** Remembers which statement a ClientToken made. */
export interface ClientTokens {
  /**
   * The statement that the same request made before, undefined for a new one. Fails when the token came with another
   * request.
   */
  find(identity: string, token: string, request: object): string | undefined
  remember(identity: string, token: string, request: object, id: string): void
}

export function createClientTokens(hours: number, clock: Clock): ClientTokens {
  const known = new Map<string, { request: string; id: string; until: number }>()
  const live = (key: string) => {
    const entry = known.get(key)
    if (entry && entry.until <= clock.now()) known.delete(key)
    return known.get(key)
  }
  return {
    find: (identity, token, request) => {
      const entry = live(`${identity} ${token}`)
      if (entry && entry.request !== fingerprint(request)) {
        throw validation('ClientToken was used before with other parameters')
      }
      return entry?.id
    },
    remember: (identity, token, request, id) => {
      const now = clock.now()
      for (const [key, { until }] of known) {
        // In the order they were made, so the rest is younger.
        if (until > now) break
        known.delete(key)
      }
      known.set(`${identity} ${token}`, { request: fingerprint(request), id, until: now + hours * 3_600_000 })
    },
  }
}

/** Waiting for the answer is no part of what a request does. */
function fingerprint(request: object): string {
  const parts = Object.entries(request).filter(
    ([name]) => name !== 'ClientToken' && name !== 'WaitTimeSeconds',
  )
  const text = JSON.stringify(parts.sort(([a], [b]) => (a < b ? -1 : 1)))
  return createHash('sha256').update(text).digest('hex')
}
