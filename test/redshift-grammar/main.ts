/**
 * Checks every statement that the product has sent to the Redshift emulator against another grammar of Redshift than the
 * emulator's own: sqlglot's.
 *
 *     node test/redshift-grammar/main.ts [file] [--all]      default: out/redshift-statements.jsonl, which the tests write
 *
 * Says which sorts of statements are not in the file; with --all, for a run of all tests, that is a failure.
 */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cached, contentHash } from '../../hack/process/cache.ts'
import { run } from '../../hack/process/run.ts'

const SQLGLOT = 'sqlglot==30.30.0'

/** Path of a Python that has sqlglot. */
async function python(): Promise<string> {
  const folder = await cached(`sqlglot-${contentHash([], [SQLGLOT])}`, async (to) => {
    await run(['python3', '-m', 'venv', to])
    await run([join(to, 'bin/pip'), 'install', '--quiet', '--disable-pip-version-check', SQLGLOT])
  })
  return join(folder, 'bin/python3')
}

const [file = 'out/redshift-statements.jsonl', ...flags] = process.argv.slice(2)
if (!existsSync(file)) {
  console.error(`${file} is not there: run the integration tests of the Redshift destination first`)
  process.exit(1)
}
const { status } = spawnSync(await python(), [join(import.meta.dirname, 'parse.py'), file, ...flags], {
  stdio: 'inherit',
})
process.exit(status ?? 1)
