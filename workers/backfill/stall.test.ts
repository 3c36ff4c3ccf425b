import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { watchConsumer } from './stall.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

async function* produce(count: number, pause: () => Promise<void> = async () => {}) {
  for (let i = 0; i < count; i += 1) {
    await pause()
    yield i
  }
}

describe('watchConsumer', () => {
  it('passes everything on and leaves no timer', async () => {
    const stalled = vi.fn()
    expect(await Array.fromAsync(watchConsumer(produce(3), 1000, stalled))).toEqual([0, 1, 2])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('says once that the consumer does not go on', async () => {
    const stalled = vi.fn()
    const pieces = watchConsumer(produce(3), 1000, stalled)
    await pieces.next()
    await vi.advanceTimersByTimeAsync(999)
    expect(stalled).not.toHaveBeenCalled()
    await pieces.next()
    await vi.advanceTimersByTimeAsync(999)
    expect(stalled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(5000)
    expect(stalled).toHaveBeenCalledOnce()
    await pieces.return(undefined)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('is patient with the producer', async () => {
    const stalled = vi.fn()
    let go: () => void = () => {}
    const pieces = watchConsumer(
      produce(2, () => new Promise((resolve) => (go = resolve))),
      1000,
      stalled,
    )
    const first = pieces.next()
    await vi.advanceTimersByTimeAsync(10_000)
    go()
    expect(await first).toEqual({ done: false, value: 0 })
    expect(stalled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1000)
    expect(stalled).toHaveBeenCalledOnce()
    await pieces.return(undefined)
  })
})
