import { pino } from 'pino'
import type { RedshiftDestination } from '../../crds/redshift.ts'
import type { Destination } from '../../workers/destination/destination.ts'
import {
  openRedshiftDestination,
  type RedshiftDestinationOptions,
} from '../../workers/destination/redshift/destination.ts'
import { ON_AWS, requireAwsSettings } from '../aws/settings.ts'
import { openAwsClient } from '../aws/warehouse.ts'
import { BUCKET, openWarehouse, plain, s3Server, useS3, type Warehouse } from './emulator-setup.ts'

export { useS3 }

/** Every statement that the tests make the product send, for the check against another grammar. */
const STATEMENTS = 'out/redshift-statements.jsonl'

/** What every test of the destination can do, on a real warehouse too. */
export interface AnyWarehouse extends Pick<Warehouse, 'rows' | 'close'> {
  /** A destination, as a worker of the given pipeline would open it. */
  open(pipelineUid?: string, options?: OpenOptions): Destination
}

/** An emulated warehouse, and what opens destinations on it. */
export interface TestWarehouse extends Warehouse, AnyWarehouse {}

export interface OpenOptions
  extends Partial<Pick<RedshiftDestinationOptions, 'onCall' | 'wrap' | 'onUnfit' | 'log'>> {
  readonly spec?: Partial<RedshiftDestination>
}

export async function openTestWarehouse(
  name: string,
  options: Parameters<typeof openWarehouse>[1] = {},
): Promise<TestWarehouse> {
  const warehouse = await openWarehouse(name, { statementLog: STATEMENTS, ...options })
  return {
    ...warehouse,
    open: (pipelineUid = 'pipeline-1', { spec, ...more } = {}) =>
      openAs(pipelineUid, more, {
        region: 'us-east-1',
        clusterIdentifier: 'c1',
        database: 'dev',
        dbUser: 'awsuser',
        s3: { bucket: BUCKET, prefix: `${name}/` },
        endpoints: { redshiftData: warehouse.emulator.url, s3: s3Server().endpoint },
        credentialsSecretRef: { name: 'aws', accessKeyIdKey: 'id', secretAccessKeyKey: 'key' },
        onUnfit: 'Truncate',
        ledgerSchema: 'millrace',
        ...spec,
      }),
  }
}

/** An emulated warehouse of its own; with `make test-aws` the real one. */
export async function openAnyWarehouse(name: string): Promise<AnyWarehouse> {
  if (!ON_AWS) return openTestWarehouse(name)
  const { destination } = requireAwsSettings()
  const client = openAwsClient()
  return {
    open: (pipelineUid = 'pipeline-1', { spec, ...more } = {}) =>
      openAs(pipelineUid, more, { ...destination, onUnfit: 'Truncate', ledgerSchema: 'millrace', ...spec }),
    async rows(sql) {
      const rows: unknown[][] = []
      for await (const fields of client.rows(sql)) rows.push(fields.map(plain))
      return rows
    },
    close: async () => client.close(),
  }
}

function openAs(
  pipelineUid: string,
  more: Omit<OpenOptions, 'spec'>,
  destination: RedshiftDestination,
): Destination {
  return openRedshiftDestination({
    destination,
    pipelineUid,
    pipelineLabel: `tests/${pipelineUid}`,
    secrets: {
      read: async (_mount, file) =>
        file === 'username' ? s3Server().accessKeyId : s3Server().secretAccessKey,
    },
    process: 'test',
    log: pino({ level: process.env.LOG ?? 'silent' }),
    ...more,
  })
}
