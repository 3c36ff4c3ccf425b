import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runNode } from '../../hack/process/run-node.ts'
import type { Killer } from './mutant.ts'

export interface Verdict {
  /** The test found something; undefined: it could not be run. */
  readonly failed: boolean | undefined
  /** What it said. */
  readonly said: string
  /** The schedule of the model that found it. */
  readonly seed?: number
}

type ModelKiller = Extract<Killer, { kind: 'model' }>
type TestKiller = Exclude<Killer, { kind: 'model' }>

/** Runs the test that should notice, in a tree. */
export async function attack(killer: Killer, dir: string): Promise<Verdict> {
  if (killer.kind === 'model') return await runModel(killer, dir, undefined)
  const [verdict] = await runTests([killer], dir)
  return verdict as Verdict
}

/** Runs one schedule of the model again. */
export function attackAgain(killer: ModelKiller, dir: string, seed: number): Promise<Verdict> {
  return runModel(killer, dir, seed)
}

async function runModel(killer: ModelKiller, dir: string, seed: number | undefined): Promise<Verdict> {
  const { code, output } = await runNode(
    ['test/model/main.ts', String(seed === undefined ? killer.schedules : 1)],
    {
      cwd: dir,
      env: { PROFILE: JSON.stringify(killer.profile), SHRINK: '0', SEED: String(seed ?? 1) },
    },
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

/** What vitest reports of a run. */
interface Report {
  readonly testResults: readonly {
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

/** Runs tests of one file at once; verdicts in the order of the tests. */
export async function runTests(killers: readonly TestKiller[], dir: string): Promise<Verdict[]> {
  const [first] = killers
  if (!first) return []
  const report = join(dir, 'mutants-report.json')
  await rm(report, { force: true })
  const names = killers.map(({ name }) => name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  const only = names.includes('') ? [] : ['-t', names.join('|')]
  const { output } = await runNode(
    [
      join(dir, 'node_modules/vitest/vitest.mjs'),
      ...['run', '--project', first.kind, '--reporter', 'json', '--outputFile', report],
      ...[first.file, ...only],
    ],
    {
      cwd: dir,
      // What only needs PostgreSQL does not wait for the other services.
      env: {
        NO_COLOR: '1',
        ...(first.file.includes('destination-postgres') && { TEST_SERVICES: 'postgres' }),
      },
    },
  )
  const content = await readFile(report, 'utf8').catch(() => undefined)
  if (content === undefined) return killers.map(() => ({ failed: undefined, said: output.slice(-2_000) }))
  const { testResults } = JSON.parse(content) as Report
  const tests = testResults.flatMap(({ assertionResults }) => assertionResults)
  return killers.map(({ name }) => {
    const own = tests.filter(({ fullName, status }) => status !== 'skipped' && fullName.includes(name))
    const failure = own.find(({ status }) => status === 'failed')
    if (failure) {
      const [why = ''] = failure.failureMessages
      return { failed: true, said: `${failure.fullName}: ${why.split('\n')[0]}` }
    }
    // A file that cannot be loaded has no tests.
    const said = testResults.map(({ message }) => message).join('\n')
    return own.some(({ status }) => status === 'passed')
      ? { failed: false, said: '' }
      : { failed: undefined, said: said || output.slice(-2_000) }
  })
}
