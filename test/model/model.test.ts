import { spawn } from 'node:child_process'
import { expect, it } from 'vitest'

/** Seeds that found something once come again, besides the first ones. */
const RUNS = [
  { first: 1, count: 100 },
  { first: 631, count: 1 },
  { first: 1671, count: 1 },
]

// The model replaces the process's clock and half of its modules, so it has a process of its own.
it.each(RUNS)(
  'the workers end in what the source has, whatever happens: $count from $first on',
  {
    timeout: 300_000,
  },
  async ({ first, count }) => {
    const child = spawn(process.execPath, ['test/model/main.ts', String(count)], {
      env: { ...process.env, SEED: String(first) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes: Buffer) => {
        output += bytes.toString()
      })
    }
    await new Promise((resolve) => child.once('close', resolve))
    expect(output).toMatch(new RegExp(`^model: schedules=${count} steps=\\d+ failures=0 `, 'm'))
  },
)
