import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Daemon, daemon } from './daemon.ts'
import { until } from './wait.ts'

const dir = mkdtempSync(join(tmpdir(), 'millrace-daemon-'))
const sleeper = (): Daemon =>
  daemon({
    name: 'sleeper',
    dir,
    logFile: join(dir, 'sleeper.log'),
    lifetime: 'bound',
    command: [process.execPath, '-e', 'setInterval(() => {}, 1000)'],
  })

afterEach(async () => {
  await sleeper().kill9()
  rmSync(dir, { recursive: true, force: true })
})

describe('daemon', () => {
  it('that is started again while it is being killed stays known, so that no third one is started', async () => {
    const one = sleeper()
    one.start()
    const first = one.running()
    const killed = one.kill9()
    await until(() => !one.running(), { what: 'the end of the first', timeoutMs: 30_000, intervalMs: 1 })
    one.start()
    await killed
    expect(one.running()).toBeDefined()
    expect(one.running()).not.toEqual(first)
  })
})
