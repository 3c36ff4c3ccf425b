import { spawn } from 'node:child_process'
import { expect, it } from 'vitest'

/** What apply asks in an hour without changes: Kafka for more, and the API server to tell it and be told. */
const ALLOWED = /^(fetch|millrace-apply writes status|see Pipeline|see TableBackfill): \d+$/

// The real apply worker on a simulated clock, in a process of its own, which the model's clock needs.
it('an idle Pipeline asks its destination for nothing for an hour', { timeout: 120_000 }, async () => {
  const child = spawn(process.execPath, ['test/model/idle.ts', '3600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString()
  })
  await new Promise((resolve) => child.once('close', resolve))
  const lines = output.trim().split('\n')
  expect(lines.pop()).toMatch(/^idle: seconds=3600 /)
  expect(lines.filter((line) => !ALLOWED.test(line))).toEqual([])
  // It was awake all the while.
  expect(lines.find((line) => line.startsWith('fetch: '))).toBeDefined()
})
