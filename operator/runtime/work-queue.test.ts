import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createWorkQueue } from './work-queue.ts'

const never = new AbortController().signal

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('createWorkQueue', () => {
  it('hands out keys in the order of arrival, each once', async () => {
    const queue = createWorkQueue()
    for (const key of ['a', 'b', 'a', 'c', 'b']) queue.add(key)
    expect(queue.depth()).toBe(3)
    expect([await queue.take(never), await queue.take(never), await queue.take(never)]).toEqual([
      'a',
      'b',
      'c',
    ])
  })

  it('keeps back what comes while it is worked on, and hands it out afterwards', async () => {
    const queue = createWorkQueue()
    queue.add('a')
    await queue.take(never)
    queue.add('a')
    queue.add('a')
    expect(queue.depth()).toBe(0)
    queue.done('a')
    expect(await queue.take(never)).toBe('a')
    queue.done('a')
    expect(queue.depth()).toBe(0)
  })

  it('wakes as many as there are keys', async () => {
    const queue = createWorkQueue()
    const takers = [queue.take(never), queue.take(never), queue.take(never)]
    queue.add('a')
    queue.add('b')
    expect(await Promise.all(takers.slice(0, 2))).toEqual(['a', 'b'])
    queue.add('c')
    expect(await takers[2]).toBe('c')
  })

  it('does not lose a key to one who has stopped waiting', async () => {
    const queue = createWorkQueue()
    const stop = new AbortController()
    const gone = queue.take(stop.signal)
    const waits = queue.take(never)
    stop.abort(new Error('enough'))
    await expect(gone).rejects.toThrow('enough')
    queue.add('a')
    expect(await waits).toBe('a')
  })

  it('adds after a delay, the earliest of several', () => {
    const queue = createWorkQueue()
    queue.addAfter('a', 500)
    queue.addAfter('a', 100)
    queue.addAfter('a', 900)
    vi.advanceTimersByTime(99)
    expect(queue.depth()).toBe(0)
    vi.advanceTimersByTime(1)
    expect(queue.depth()).toBe(1)
  })

  it('waits longer after each failure, until it is forgotten', () => {
    const queue = createWorkQueue({ minDelay: 100, maxDelay: 350, random: () => 1 })
    const delays = [1, 2, 3, 4].map(() => queue.addAfterFailure('a'))
    expect(delays).toEqual([100, 200, 350, 350])
    expect(queue.addAfterFailure('b')).toBe(100)
    queue.forget('a')
    expect(queue.addAfterFailure('a')).toBe(100)
  })
})
