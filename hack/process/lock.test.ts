import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { withLock } from './lock.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lock-test-'))
})
afterEach(() => rmSync(dir, { recursive: true }))

it('lets one run at a time', async () => {
  const lock = join(dir, 'lock')
  let running = 0
  const work = async () => {
    running++
    await sleep(20)
    expect(running--).toBe(1)
  }
  await Promise.all([withLock(lock, work), withLock(lock, work)])
  expect(existsSync(lock)).toBe(false)
})

it('takes over from a holder that has died', async () => {
  const lock = join(dir, 'lock')
  writeFileSync(lock, '1 0')
  expect(await withLock(lock, async () => 'done')).toBe('done')
})

it('is free again after a failure', async () => {
  const lock = join(dir, 'lock')
  await expect(withLock(lock, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(existsSync(lock)).toBe(false)
})
