import { spawn } from 'node:child_process'
import { expect, it } from 'vitest'

// The model replaces the process's clock and half of its modules, so it has a process of its own.
it('the workers end in what the source has, whatever happens', { timeout: 300_000 }, async () => {
  const child = spawn(process.execPath, ['test/model/main.ts', '120'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      output += bytes.toString()
    })
  }
  await new Promise((resolve) => child.once('close', resolve))
  expect(output).toMatch(/^model: schedules=120 steps=\d+ failures=0 /m)
})
