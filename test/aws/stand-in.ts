import { join } from 'node:path'
import { ownedTempDir } from '../../hack/process/temp-dir.ts'
import { startPostgres } from '../../hack/services/postgres.ts'
import { startEmulator } from '../emulator/emulator.ts'
import { startS3Server } from '../emulator/s3/server.ts'

/** Millrace's Redshift emulator in the place of a warehouse, so that these checks themselves can be tried without one. */
export interface StandIn {
  /** What a person would set for a real warehouse. */
  readonly environment: Readonly<Record<string, string>>
  stop(): Promise<void>
}

const BUCKET = 'millrace-test'
const DATABASE = 'dev'

export async function startStandIn(): Promise<StandIn> {
  const dir = ownedTempDir()
  const [postgres, s3] = await Promise.all([
    startPostgres({ dir: join(dir, 'postgres') }),
    startS3Server({ dir: join(dir, 's3'), buckets: [BUCKET] }),
  ])
  const emulator = await startEmulator({
    postgresUrl: postgres.url,
    s3,
    database: DATABASE,
    region: s3.region,
    statementLog: 'out/redshift-statements.jsonl',
  })
  return {
    environment: {
      REDSHIFT_REGION: s3.region,
      REDSHIFT_CLUSTER: 'stand-in',
      REDSHIFT_DATABASE: DATABASE,
      REDSHIFT_BUCKET: BUCKET,
      REDSHIFT_DATA_ENDPOINT: emulator.url,
      REDSHIFT_S3_ENDPOINT: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    },
    async stop() {
      await emulator.close()
      await Promise.all([postgres.stop('immediate'), s3.stop()])
    },
  }
}
