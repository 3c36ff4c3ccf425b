/**
 * `make test-aws`: the checks of the Redshift destination, against a real warehouse instead of the emulator.
 *
 * EMULATOR=1 tries these checks themselves, against the emulator as if it were one; ONLY=types runs one file.
 */

import { spawn } from 'node:child_process'
import { awsSettings, VARIABLES } from './settings.ts'
import { startStandIn } from './stand-in.ts'
import { emptyWarehouse, openAwsClient, tablesInTheWay } from './warehouse.ts'

const FILES = ['destination-redshift.test', 'destination-redshift-types', 'destination-redshift-pipeline']
const files = FILES.filter((file) => file.includes(process.env.ONLY ?? ''))

const standIn = process.env.EMULATOR === '1' ? await startStandIn() : undefined
if (standIn) {
  console.log('test-aws: EMULATOR=1, so this is no real warehouse: it only tries the checks.')
  Object.assign(process.env, standIn.environment)
}
try {
  process.exitCode = await main()
} finally {
  await standIn?.stop()
}

/** Returns the exit code. */
async function main(): Promise<number> {
  const settings = awsSettings()
  if ('missing' in settings) {
    console.log(`test-aws: nothing was tested, because these are not set: ${settings.missing.join(', ')}.

It runs the end-to-end checks of the Redshift destination against a warehouse of yours, which costs some minutes of it:

${VARIABLES}`)
    return 0
  }
  const client = openAwsClient(settings)
  try {
    const found = await tablesInTheWay(client)
    if (found.length > 0) {
      console.error(
        `test-aws: database ${settings.destination.database} has tables in the schemas public or millrace (${found.slice(0, 3).join(', ')}): give REDSHIFT_DATABASE an empty one, because the tests remove all of them at their end`,
      )
      return 1
    }
    let failed = 0
    // One after the other, each on an empty database.
    for (const file of files) {
      if ((await runTests(file)) !== 0) failed += 1
      await emptyWarehouse(client)
    }
    console.log(`test-aws: ${standIn ? 'emulator ' : ''}files=${files.length} failed=${failed}`)
    return failed === 0 && files.length > 0 ? 0 : 1
  } finally {
    client.close()
  }
}

function runTests(file: string): Promise<number> {
  const child = spawn('vitest', ['run', '--project', 'integration', file], {
    stdio: 'inherit',
    // Some of the files are among those that are left out of a run unless it may be long.
    env: { ...process.env, TEST_AWS: '1', LONG: '1' },
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
}
