import { afterEach, describe, expect, test, vi } from 'vitest'
import { around, configureFailpoints, failpoint, hasFailpoints } from './failpoints.ts'

const log = { warn: vi.fn() }
const set = (text: string | undefined) => configureFailpoints(text, log)

afterEach(() => set(undefined))

describe('off', () => {
  test.each([undefined, '', ' ; '])('%j sets none', (text) => {
    set(text)
    expect(hasFailpoints()).toBe(false)
    expect(failpoint('capture.send.before')).toBeUndefined()
  })

  test('around only works', async () => {
    await expect(around('capture.send', async () => 7)).resolves.toBe(7)
  })
})

describe('on', () => {
  test('throws a retryable error at the n-th hit alone, and logs it', () => {
    set('capture.send.before=throw@2')
    log.warn.mockClear()
    failpoint('capture.send.before')
    expect(log.warn).not.toHaveBeenCalled()
    expect(() => failpoint('capture.send.before')).toThrow(
      expect.objectContaining({ code: 'ConnectionLost', retryable: true }),
    )
    expect(log.warn).toHaveBeenCalledWith(
      { failpoint: 'capture.send.before', action: 'throw', hit: 2 },
      expect.any(String),
    )
    failpoint('capture.send.before')
    failpoint('capture.send.after')
  })

  test('throws at every hit when nothing else is said', () => {
    set('ledger.held.after=throw')
    for (const _ of [1, 2, 3]) expect(() => failpoint('ledger.held.after')).toThrow()
  })

  test('a pattern means all that begin like it, and the last rule for a place counts', () => {
    set('capture.*=throw; capture.record.after=throw@9')
    expect(() => failpoint('capture.record.before')).toThrow()
    failpoint('capture.record.after')
    failpoint('ledger.held.after')
  })

  test('a probability is decided by the seed', () => {
    const run = (seed: number) => {
      set(`ledger.plan.before=throw%0.5;seed=${seed}`)
      return Array.from({ length: 64 }, () => {
        try {
          failpoint('ledger.plan.before')
          return 0
        } catch {
          return 1
        }
      }).join('')
    }
    expect(run(1)).toBe(run(1))
    expect(run(1)).not.toBe(run(2))
    const hits = [...run(3)].filter((hit) => hit === '1').length
    expect(hits).toBeGreaterThan(16)
    expect(hits).toBeLessThan(48)
  })

  test('waits', async () => {
    set('ledger.close.before=delay(30)')
    const began = performance.now()
    await failpoint('ledger.close.before')
    expect(performance.now() - began).toBeGreaterThan(25)
  })

  test('cuts the connection at hand, and throws where there is none', () => {
    set('source.commit.before=cut')
    const cut = vi.fn()
    expect(failpoint('source.commit.before', cut)).toBeUndefined()
    expect(cut).toHaveBeenCalledOnce()
    expect(() => failpoint('source.commit.before')).toThrow()
  })

  test('crashes at once', () => {
    const kill = vi.spyOn(process, 'kill').mockReturnValue(true)
    set('operator.job.after=crash@1')
    void failpoint('operator.job.after')
    expect(kill).toHaveBeenCalledWith(process.pid, 'SIGKILL')
    kill.mockRestore()
  })

  test('after an effect it has happened and its result is lost', async () => {
    set('destination.commit.after=throw')
    const work = vi.fn(async () => 1)
    await expect(around('destination.commit', work)).rejects.toThrow('destination.commit.after')
    expect(work).toHaveBeenCalledOnce()
  })

  test('before an effect it never happens', async () => {
    set('destination.commit.before=throw')
    const work = vi.fn(async () => 1)
    await expect(around('destination.commit', work)).rejects.toThrow()
    expect(work).not.toHaveBeenCalled()
  })
})

test.each([
  'nonsense',
  'capture.send=crash',
  'capture.send.before=explode',
  'x.*=throw',
  'capture.send.before=delay',
])('%j is refused by name', (text) => {
  expect(() => set(text)).toThrow(/MILLRACE_FAILPOINTS/)
})
