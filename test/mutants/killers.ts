import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Killer } from './mutant.ts'

export interface Verdict {
  /** The test found something; undefined: it could not be run. */
  readonly failed: boolean | undefined
  /** What it said. */
  readonly said: string
  /** The schedule of the model that found it. */
  readonly seed?: number
}

/**
 * Runs a test in a tree.
 *
 * @param seed the only schedule of the model to be run; all when not given
 */
export async function attack(killer: Killer, dir: string, seed?: number): Promise<Verdict> {
  return killer.kind === 'model' ? await runModel(killer, dir, seed) : await runTest(killer, dir)
}

async function runModel(
  killer: Extract<Killer, { kind: 'model' }>,
  dir: string,
  seed: number | undefined,
): Promise<Verdict> {
  const { code, output } = await run(
    process.execPath,
    ['test/model/main.ts', String(seed === undefined ? killer.schedules : 1)],
    dir,
    { PROFILE: JSON.stringify(killer.profile), SHRINK: '0', SEED: String(seed ?? 1) },
  )
  // Without its last line it has not run.
  if (!/^model: schedules=/m.test(output)) return { failed: undefined, said: output.slice(0, 2_000) }
  const found = /^seed (\d+): (.*)$/m.exec(output)
  return {
    failed: code !== 0,
    said: found ? `seed ${found[1]}: ${found[2]}` : '',
    ...(found && { seed: Number(found[1]) }),
  }
}

async function runTest(killer: Exclude<Killer, { kind: 'model' }>, dir: string): Promise<Verdict> {
  const { kind, file, name } = killer
  const named = name === '' ? [] : ['-t', name]
  const { output } = await run(
    process.execPath,
    [join(dir, 'node_modules/vitest/vitest.mjs'), 'run', '--project', kind, file, ...named],
    dir,
    { NO_COLOR: '1' },
  )
  const tests = /^\s*Tests\s+(.*)$/m.exec(output)?.[1] ?? ''
  if (/\d+ failed/.test(tests)) return { failed: true, said: /(?:×|FAIL)\s+(.*)/.exec(output)?.[1] ?? '' }
  if (/\d+ passed/.test(tests)) return { failed: false, said: '' }
  return { failed: undefined, said: output.slice(-2_000) }
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    const add = (bytes: Buffer) => {
      output += bytes.toString()
    }
    child.stdout.on('data', add)
    child.stderr.on('data', add)
    child.once('error', reject)
    child.once('close', (code) => resolve({ code: code ?? 1, output }))
  })
}
