import { pino } from 'pino'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { tellSlow } from './slow.ts'
import { createState } from './state.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it.each(['is done', 'fails'])('says after a minute what a table waits for, until that %s', async (end) => {
  const state = createState({ schema: 'public', name: 't' })
  const changed = vi.fn()
  const done = Promise.withResolvers<string>()
  const told = tellSlow({ log: pino({ level: 'silent' }), changed }, state, done.promise).catch(
    () => 'failed',
  )
  await vi.advanceTimersByTimeAsync(59_000)
  expect(state.waiting).toBeUndefined()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(state.waiting).toContain('has not answered for more than a minute')
  expect(changed).toHaveBeenLastCalledWith(true)
  if (end === 'fails') done.reject(new Error('no'))
  else done.resolve('done')
  expect(await told).toBe(end === 'fails' ? 'failed' : 'done')
  expect(state.waiting).toBeUndefined()
  expect(changed).toHaveBeenLastCalledWith(false)
})
