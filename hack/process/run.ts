import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const execute = promisify(execFile)

export interface RunOptions {
  cwd?: string
  env?: Record<string, string>
}

/** Runs a program to its end and returns what it printed. On failure the error holds the end of its output. */
export async function run(
  command: readonly [string, ...string[]],
  options: RunOptions = {},
): Promise<string> {
  const [program, ...args] = command
  try {
    const { stdout } = await execute(program, args, {
      cwd: options.cwd ?? process.cwd(),
      env: { ...process.env, ...options.env },
      maxBuffer: 64 * 1024 * 1024,
    })
    return stdout
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as Error & { stdout?: string; stderr?: string }
    const output = `${stdout}${stderr}`.trim().split('\n').slice(-30).join('\n')
    // Without the cause: it would repeat the whole output several times.
    throw new Error(`${program} failed: ${output || message}`)
  }
}
