import {
  BatchExecuteStatementCommand,
  DescribeStatementCommand,
  type DescribeStatementCommandOutput,
  ExecuteStatementCommand,
  type Field,
  GetStatementResultCommand,
  RedshiftDataClient,
} from '@aws-sdk/client-redshift-data'
import { PutObjectCommand } from '@aws-sdk/client-s3'
import { afterAll, beforeAll } from 'vitest'
import { type Emulator, type EmulatorOptions, startEmulator } from '../emulator/emulator.ts'
import { type S3Server, s3Client, startS3Server } from '../emulator/s3/server.ts'
import { createDatabase, tempDir } from './services.ts'

export const BUCKET = 'millrace-test'
export const ROLE = 'arn:aws:iam::123456789012:role/copy'

let s3: S3Server | undefined

/** Starts the S3 server of one test file. */
export function useS3() {
  beforeAll(async () => {
    s3 = await startS3Server({ dir: tempDir('s3'), buckets: [BUCKET] })
  })
  afterAll(async () => {
    await s3?.stop()
    s3 = undefined
  })
}

export const s3Server = () => {
  if (!s3) throw new Error('useS3() is missing')
  return s3
}

/** Puts an object into the bucket. */
export async function putObject(key: string, body: string | Buffer) {
  const client = s3Client(s3Server())
  await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: body }))
  client.destroy()
}

export interface Warehouse {
  readonly emulator: Emulator
  readonly client: RedshiftDataClient
  /** Another client, of somebody else when a key is given. */
  newClient(accessKeyId?: string, attempts?: number): RedshiftDataClient
  /** Runs statements to their end: one as ExecuteStatement, several as a batch. */
  run(...sqls: string[]): Promise<DescribeStatementCommandOutput>
  /** Runs one, fails when it fails, and returns its rows as plain values. */
  rows(sql: string): Promise<unknown[][]>
  /** Runs and returns the error it fails with. */
  error(...sqls: string[]): Promise<string>
  close(): Promise<void>
}

export const TARGET = { ClusterIdentifier: 'c1', Database: 'dev', DbUser: 'awsuser' } as const

/** Rates that no test comes to; those about rates set their own. */
const noRates = {
  ExecuteStatement: 1e6,
  BatchExecuteStatement: 1e6,
  DescribeStatement: 1e6,
  GetStatementResult: 1e6,
  CancelStatement: 1e6,
  ListStatements: 1e6,
  ListSessions: 1e6,
}

/** Starts an emulator on a database of its own. */
export async function openWarehouse(
  name: string,
  options: Partial<EmulatorOptions> = {},
): Promise<Warehouse> {
  const { url } = await createDatabase(name, 'destination')
  const { limits, ...rest } = options
  const emulator = await startEmulator({
    postgresUrl: url,
    s3: s3Server(),
    limits: { rates: noRates, ...limits },
    ...rest,
  })
  const clients: RedshiftDataClient[] = []
  const newClient = (accessKeyId = 'someone', maxAttempts = 1) => {
    const client = new RedshiftDataClient({
      endpoint: emulator.url,
      region: 'us-east-1',
      credentials: { accessKeyId, secretAccessKey: 'secret' },
      maxAttempts,
    })
    clients.push(client)
    return client
  }
  const client = newClient()
  const run = async (...sqls: string[]) => {
    const [first = '', ...more] = sqls
    const { Id } =
      more.length === 0
        ? await client.send(new ExecuteStatementCommand({ ...TARGET, Sql: first }))
        : await client.send(new BatchExecuteStatementCommand({ ...TARGET, Sqls: sqls }))
    return finish(client, Id as string)
  }
  return {
    emulator,
    client,
    newClient,
    run,
    rows: async (sql) => {
      const described = await run(sql)
      if (described.Status !== 'FINISHED') throw new Error(described.Error)
      const { Records = [] } = await client.send(new GetStatementResultCommand({ Id: described.Id }))
      return Records.map((record) => record.map(plain))
    },
    error: async (...sqls) => {
      const { Status, Error: message = '' } = await run(...sqls)
      if (Status === 'FINISHED') throw new Error(`did not fail: ${sqls.join('; ')}`)
      return message
    },
    close: async () => {
      for (const each of clients) each.destroy()
      await emulator.close()
    },
  }
}

/** Polls until a statement has ended. */
export async function finish(
  client: RedshiftDataClient,
  id: string,
): Promise<DescribeStatementCommandOutput> {
  for (;;) {
    const described = await client.send(new DescribeStatementCommand({ Id: id, WaitTimeSeconds: 20 }))
    if (['FINISHED', 'FAILED', 'ABORTED'].includes(described.Status ?? '')) return described
  }
}

/** Locks a table in a session of its own; `release` ends it. */
export async function lockTable(client: RedshiftDataClient, table: string) {
  const { SessionId, Id } = await client.send(
    new ExecuteStatementCommand({ ...TARGET, Sql: 'begin', SessionKeepAliveSeconds: 600 }),
  )
  await finish(client, Id as string)
  const inSession = async (sql: string) =>
    finish(client, (await client.send(new ExecuteStatementCommand({ SessionId, Sql: sql }))).Id as string)
  await inSession(`LOCK "public"."${table}"`)
  return { release: () => inSession('commit') }
}

export function plain(field: Field): unknown {
  return field.isNull
    ? null
    : (field.stringValue ?? field.longValue ?? field.doubleValue ?? field.booleanValue)
}
