import { describe, expect, it } from 'vitest'
import type { RedshiftError } from '../sql/errors.ts'
import { parseSnapshot } from './conflicts.ts'
import { createTracker } from './tracker.ts'

const transaction = (id: number, snapshot: string, reads: number[], writes: number[]) => ({
  id,
  snapshot: parseSnapshot(snapshot),
  reads: new Set(reads),
  writes: new Set(writes),
})
const done = async () => {}

describe('the tracker', () => {
  it('refuses the second of two that conflict, in both orders', async () => {
    for (const [first, second] of [
      [1, 2],
      [2, 1],
    ] as const) {
      const tracker = createTracker()
      const [a, b] = [transaction(first, '10:10:', [5], [5]), transaction(second, '10:10:', [5], [5])]
      tracker.enter(a)
      tracker.enter(b)
      await tracker.commit(a, 10n, 100, done)
      const refused = await tracker.check(b, 200).catch((error: RedshiftError) => error)
      expect(refused).toMatchObject({
        message: '1023',
        detail: `Detail: Serializable isolation violation on table - 5, transactions forming the cycle are: ${second}, ${first} (pid:200)`,
      })
    }
  })

  it('waits for a commit that decides', async () => {
    for (const outcome of ['commits', 'fails'] as const) {
      const tracker = createTracker()
      const [a, b] = [transaction(1, '10:10:', [5], [6]), transaction(2, '10:10:', [6], [5])]
      tracker.enter(a)
      tracker.enter(b)
      const gate = Promise.withResolvers<void>()
      const first = tracker.commit(a, 10n, 1, () => gate.promise).catch(() => 'failed')
      const second = tracker.commit(b, 11n, 2, done).then(
        () => 'committed',
        (error: Error) => error.message,
      )
      await Promise.resolve()
      if (outcome === 'commits') gate.resolve()
      else gate.reject(new Error('no'))
      expect(await second).toBe(outcome === 'commits' ? '1023' : 'committed')
      await first
    }
  })

  it('forgets what no active transaction can conflict with', async () => {
    const tracker = createTracker()
    const a = transaction(1, '10:10:', [5], [5])
    tracker.enter(a)
    await tracker.commit(a, 10n, 1, done)
    const late = transaction(2, '11:11:', [5], [5])
    tracker.enter(late)
    await expect(tracker.check(late, 1)).resolves.toBeUndefined()
  })
})
