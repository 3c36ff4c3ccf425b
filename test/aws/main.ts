/** `make test-aws`: the checks of the Redshift destination, against a real warehouse instead of the emulator. */

import { spawnSync } from 'node:child_process'
import { awsSettings, VARIABLES } from './settings.ts'
import { emptyWarehouse, openAwsClient, tablesInTheWay } from './warehouse.ts'

const FILES = ['destination-redshift.test', 'destination-redshift-types', 'destination-redshift-pipeline']

const settings = awsSettings()
if ('missing' in settings) {
  console.log(`test-aws: nothing was tested, because ${settings.missing.join(' and ')} ${settings.missing.length === 1 ? 'is' : 'are'} not set.

It runs the end-to-end checks of the Redshift destination against a warehouse of yours, which costs some minutes of it:

${VARIABLES}`)
  process.exit(0)
}

const client = openAwsClient(settings)
const found = await tablesInTheWay(client)
if (found.length > 0) {
  console.error(
    `test-aws: database ${settings.destination.database} has tables in the schemas public or millrace (${found.slice(0, 3).join(', ')}): give REDSHIFT_DATABASE an empty one, because the tests remove all of them at their end`,
  )
  process.exit(1)
}
try {
  let failed = 0
  // One after the other, each on an empty database.
  for (const file of FILES) {
    const { status } = spawnSync('vitest', ['run', '--project', 'integration', file], {
      stdio: 'inherit',
      env: { ...process.env, TEST_AWS: '1' },
    })
    if (status !== 0) failed += 1
    await emptyWarehouse(client)
  }
  console.log(`test-aws: files=${FILES.length} failed=${failed}`)
  process.exitCode = failed === 0 ? 0 : 1
} finally {
  client.close()
}
