import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { type EmulatorOptions, startEmulator } from './emulator.ts'
import type { Isolation } from './engine/errors.ts'
import type { Fault } from './faults.ts'

const USAGE = `Runs Millrace's emulator of the Amazon Redshift Data API.

  node test/emulator/main.ts --postgres URL --s3 URL [options]

  --postgres URL          PostgreSQL database, as a superuser, that stands for the Redshift database
  --s3 URL                S3 server that COPY reads from
  --s3-key KEY            its access key (default: millrace)
  --s3-secret SECRET      its secret key (default: millrace-local)
  --host ADDRESS          address to listen on (default: 127.0.0.1)
  --port PORT             port to listen on (default: a free one)
  --database NAME         name of the Redshift database (default: dev)
  --every-database        each database of the PostgreSQL server is a Redshift database of its name, not that one alone
  --isolation LEVEL       serializable (default) or snapshot
  --region REGION         region of cluster and buckets (default: us-east-1)
  --slices N              slices of the cluster (default: 2)
  --statements FILE       file that every statement is appended to (default: out/redshift-statements.jsonl)
  --faults JSON           list of faults, as of PUT /_emulator/faults
  --seed N                seed of the faults' random numbers (default: 1)
`

const { values } = parseArgs({
  options: {
    postgres: { type: 'string' },
    s3: { type: 'string' },
    's3-key': { type: 'string', default: 'millrace' },
    's3-secret': { type: 'string', default: 'millrace-local' },
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    database: { type: 'string', default: 'dev' },
    'every-database': { type: 'boolean', default: false },
    isolation: { type: 'string', default: 'serializable' },
    region: { type: 'string', default: 'us-east-1' },
    slices: { type: 'string', default: '2' },
    statements: { type: 'string', default: 'out/redshift-statements.jsonl' },
    faults: { type: 'string', default: '[]' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
})

function readOptions(): EmulatorOptions | undefined {
  const { postgres, s3, isolation } = values
  if (values.help || postgres === undefined || s3 === undefined) return undefined
  if (isolation !== 'serializable' && isolation !== 'snapshot') return undefined
  return {
    postgresUrl: postgres,
    s3: {
      endpoint: s3,
      region: values.region,
      accessKeyId: values['s3-key'],
      secretAccessKey: values['s3-secret'],
    },
    host: values.host,
    port: Number(values.port),
    database: values.database,
    everyDatabase: values['every-database'],
    isolation: isolation satisfies Isolation,
    region: values.region,
    slices: Number(values.slices),
    statementLog: resolve(values.statements),
    faults: JSON.parse(values.faults) as Fault[],
    seed: Number(values.seed),
  }
}

const options = readOptions()
if (!options) {
  process.stdout.write(USAGE)
  process.exit(values.help ? 0 : 2)
}
const emulator = await startEmulator(options)
console.log(`redshift-data  ${emulator.url}`)
console.log(`s3             ${options.s3.endpoint}`)
console.log(`control        ${emulator.url}/_emulator/faults`)
console.log(`statements     ${options.statementLog}`)

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void emulator.close().then(() => process.exit(0))
  })
}
