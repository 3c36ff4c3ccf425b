import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { relative } from 'node:path'
import { getuid } from 'node:process'

/**
 * `make test`: every check and every suite, one after the other, and the line `N passed, N failed` at the end.
 *
 * A check that cannot run here counts as failed and says what is missing; only `SKIP_E2E=1` leaves the end-to-end suite out,
 * and `INTEGRATION` may name the integration test files to run, by parts of their names.
 */

interface Counts {
  readonly passed: number
  readonly failed: number
  /** What failed, a line each. */
  readonly failures: readonly string[]
}

interface Outcome extends Counts {
  readonly name: string
  readonly seconds: number
}

/** The part of vitest's JSON report that is counted. */
interface VitestReport {
  readonly numPassedTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly fullName: string
      readonly failureMessages?: readonly string[] | null
    }[]
  }[]
}

const REPORTS = 'out/test'
const STACK_ENV = 'out/stack.env'
/** What the tests of the Redshift destination make the product send. */
const STATEMENTS = 'out/redshift-statements.jsonl'

async function run(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

async function timed(name: string, work: () => Promise<Counts>): Promise<Outcome> {
  console.log(`\n== ${name}`)
  const start = Date.now()
  const counts = await work()
  return { name, ...counts, seconds: (Date.now() - start) / 1000 }
}

async function check(name: string, command: string, args: readonly string[]): Promise<Outcome> {
  return timed(name, async () => {
    const failed = (await run(command, args)) === 0 ? 0 : 1
    return { passed: 1 - failed, failed, failures: [] }
  })
}

/**
 * @param files parts of file names; none for all of the suite
 * @param shards parts that run side by side, each with servers of its own: most of the time these tests wait
 */
async function suite(project: string, files: readonly string[] = [], shards = 1): Promise<Outcome> {
  return timed(`${project} tests`, async () => {
    const parts = Array.from({ length: shards }, (_, at) => runShard(project, files, `${at + 1}/${shards}`))
    const counts = await Promise.all(parts)
    return {
      passed: counts.reduce((sum, { passed }) => sum + passed, 0),
      failed: counts.reduce((sum, { failed }) => sum + failed, 0),
      failures: counts.flatMap(({ failures }) => failures),
    }
  })
}

async function runShard(project: string, files: readonly string[], shard: string): Promise<Counts> {
  const file = `${REPORTS}/${project}-${shard.replace('/', '-of-')}.json`
  await rm(file, { force: true })
  const code = await run('vitest', [
    'run',
    ...files,
    '--project',
    project,
    ...(shard === '1/1' ? [] : [`--shard=${shard}`, '--passWithNoTests']),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
  ])
  const report = await readReport(file)
  if (!report) return { passed: 0, failed: 1, failures: [`${project} ${shard}: vitest left no report`] }
  const failures = report.testResults.flatMap(failuresOf)
  // What vitest fails without a test, such as an error that nobody caught, is in its output alone.
  if (code !== 0 && failures.length === 0) failures.push(`${project} ${shard}: vitest ended with ${code}`)
  return { passed: report.numPassedTests, failed: failures.length, failures }
}

/** A line for each failed test, or for a file that died outside of its tests. */
function failuresOf({
  name,
  status,
  message,
  assertionResults,
}: VitestReport['testResults'][number]): string[] {
  const file = relative('.', name)
  const failed = assertionResults.filter((test) => test.status === 'failed')
  if (failed.length === 0) return status === 'failed' ? [`${file}: ${firstLine(message)}`] : []
  return failed.map((test) => `${file} › ${test.fullName}: ${firstLine(test.failureMessages?.[0] ?? '')}`)
}

function firstLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').slice(0, 300)
}

async function readReport(file: string): Promise<VitestReport | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as VitestReport
  } catch {
    return undefined
  }
}

/** Whether another grammar of Redshift than the emulator's takes every statement too. */
function redshiftGrammar(): Promise<Outcome> {
  return check('Redshift grammar', 'node', ['test/redshift-grammar/main.ts', STATEMENTS])
}

async function endToEnd(): Promise<Outcome[]> {
  if (process.env.SKIP_E2E === '1') {
    console.log('\n== e2e tests: left out, because SKIP_E2E=1')
    return []
  }
  if (getuid?.() !== 0) {
    console.error(
      '\n== e2e tests: the local cluster needs root (containerd, network bridge, mounts); run as root, or leave the end-to-end suite out with SKIP_E2E=1',
    )
    return [{ name: 'e2e tests', passed: 0, failed: 1, failures: [], seconds: 0 }]
  }
  // A stack that somebody is working with stays; one that was started for the tests goes with them.
  const ours = !existsSync(STACK_ENV)
  const up = await check('local stack', 'make', ['up', 'image'])
  const outcomes = up.failed > 0 ? [up] : [up, await suite('e2e')]
  if (ours) await run('make', ['down'])
  return outcomes
}

await mkdir(REPORTS, { recursive: true })
await rm(STATEMENTS, { force: true })
const integration = (process.env.INTEGRATION ?? '').split(' ').filter(Boolean)
const outcomes: Outcome[] = [
  await check('lint', 'biome', ['check', '.']),
  await check('types', 'tsc', ['--noEmit']),
  await check('dead code', 'knip', []),
  await suite('unit'),
  await suite('integration', integration, 2),
  ...(integration.length === 0 || existsSync(STATEMENTS) ? [await redshiftGrammar()] : []),
  ...(await endToEnd()),
]

console.log('')
for (const { name, passed, failed, failures, seconds } of outcomes) {
  console.log(
    `${failed === 0 ? 'ok  ' : 'FAIL'} ${name.padEnd(20)} ${passed} passed, ${failed} failed, ${seconds.toFixed(0)} s`,
  )
  // Once more at the end: between here and where they failed are thousands of lines.
  for (const failure of failures) console.log(`     ${failure}`)
}
const total = outcomes.reduce(
  (sum, o) => ({ passed: sum.passed + o.passed, failed: sum.failed + o.failed }),
  {
    passed: 0,
    failed: 0,
  },
)
console.log(`\n${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 ? 0 : 1
