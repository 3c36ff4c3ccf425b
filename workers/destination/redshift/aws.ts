import type {
  BatchExecuteStatementCommandInput,
  CancelStatementCommandInput,
  DescribeStatementCommandInput,
  DescribeStatementCommandOutput,
  ExecuteStatementCommandInput,
  ExecuteStatementCommandOutput,
  GetStatementResultCommandInput,
  GetStatementResultCommandOutput,
} from '@aws-sdk/client-redshift-data'
import type { RedshiftDestination } from '../../../crds/redshift.ts'
import { MillraceError } from '../../../lib/errors.ts'
import { around, type Effect } from '../../../lib/failpoints.ts'
import { sleep } from '../../../lib/sleep.ts'
import type { Secrets } from '../../runtime/context.ts'

/** The calls of the Data API that are used, each made once: trying again is decided elsewhere. */
export interface DataApiCalls {
  execute(input: ExecuteStatementCommandInput, signal: AbortSignal): Promise<ExecuteStatementCommandOutput>
  batch(input: BatchExecuteStatementCommandInput, signal: AbortSignal): Promise<ExecuteStatementCommandOutput>
  describe(input: DescribeStatementCommandInput, signal: AbortSignal): Promise<DescribeStatementCommandOutput>
  result(input: GetStatementResultCommandInput, signal: AbortSignal): Promise<GetStatementResultCommandOutput>
  cancel(input: CancelStatementCommandInput, signal: AbortSignal): Promise<unknown>
  close(): void
}

/** The calls of S3 that are used. Transient failures are tried again inside. */
export interface ObjectCalls {
  put(key: string, body: Buffer, signal: AbortSignal): Promise<void>
  /** At most 1,000 keys. Deleting what is not there is no error. */
  remove(keys: readonly string[], signal: AbortSignal): Promise<void>
  /** Keys below a prefix that were last written before a time, in milliseconds since 1970. */
  olderThan(prefix: string, time: number, signal: AbortSignal): AsyncIterable<string>
  close(): void
}

export interface AwsOptions {
  readonly destination: RedshiftDestination
  readonly secrets: Secrets
}

const CONNECT_MILLISECONDS = 10_000
/** Longer than a call that waits for its statement. */
const DATA_API_MILLISECONDS = 60_000
const S3_MILLISECONDS = 120_000
const S3_ATTEMPTS = 6
const DELETED_AT_ONCE = 1000
const HTTP_CONFLICT = 409

// The SDKs are imported when they are first needed: they take some 35 MB, which other destinations should not pay for.

export async function openDataApi({ destination, secrets }: AwsOptions): Promise<DataApiCalls> {
  const sdk = await import('@aws-sdk/client-redshift-data')
  const client = new sdk.RedshiftDataClient({
    region: destination.region,
    maxAttempts: 1,
    requestHandler: { connectionTimeout: CONNECT_MILLISECONDS, requestTimeout: DATA_API_MILLISECONDS },
    ...optional('endpoint', destination.endpoints?.redshiftData),
    ...credentials(destination, secrets),
  })
  const withSignal = (signal: AbortSignal) => ({ abortSignal: signal })
  return {
    execute: (input, signal) =>
      lossy('redshift.statement', () =>
        client.send(new sdk.ExecuteStatementCommand(input), withSignal(signal)),
      ),
    batch: (input, signal) =>
      lossy('redshift.statement', () =>
        client.send(new sdk.BatchExecuteStatementCommand(input), withSignal(signal)),
      ),
    describe: (input, signal) => client.send(new sdk.DescribeStatementCommand(input), withSignal(signal)),
    result: (input, signal) => client.send(new sdk.GetStatementResultCommand(input), withSignal(signal)),
    cancel: (input, signal) => client.send(new sdk.CancelStatementCommand(input), withSignal(signal)),
    close: () => client.destroy(),
  }
}

export async function openObjects({ destination, secrets }: AwsOptions): Promise<ObjectCalls> {
  const sdk = await import('@aws-sdk/client-s3')
  const Bucket = destination.s3.bucket
  const client = new sdk.S3Client({
    region: destination.s3.region ?? destination.region,
    maxAttempts: S3_ATTEMPTS,
    // TLS protects what travels; a second checksum would only cost time.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: CONNECT_MILLISECONDS, requestTimeout: S3_MILLISECONDS },
    ...(destination.endpoints?.s3 !== undefined && {
      endpoint: destination.endpoints.s3,
      forcePathStyle: true,
    }),
    ...credentials(destination, secrets),
  })
  return {
    async put(Key, Body, abortSignal) {
      const input = { Bucket, Key, Body, ContentLength: Body.length }
      for (let attempt = 1; ; attempt += 1) {
        try {
          await lossy('redshift.put', () => client.send(new sdk.PutObjectCommand(input), { abortSignal }))
          return
        } catch (error) {
          // Another request about the same place was at work, which the SDK does not take for a passing trouble.
          const conflict =
            error instanceof sdk.S3ServiceException && error.$metadata.httpStatusCode === HTTP_CONFLICT
          if (!conflict || attempt >= S3_ATTEMPTS) throw error
          await sleep(100 * attempt, abortSignal)
        }
      }
    },
    async remove(keys, abortSignal) {
      for (let from = 0; from < keys.length; from += DELETED_AT_ONCE) {
        const Objects = keys.slice(from, from + DELETED_AT_ONCE).map((Key) => ({ Key }))
        const input = { Bucket, Delete: { Objects, Quiet: true } }
        await lossy('redshift.remove', () =>
          client.send(new sdk.DeleteObjectsCommand(input), { abortSignal }),
        )
      }
    },
    async *olderThan(Prefix, time, abortSignal) {
      let ContinuationToken: string | undefined
      do {
        const input = { Bucket, Prefix, ...optional('ContinuationToken', ContinuationToken) }
        const page = await client.send(new sdk.ListObjectsV2Command(input), { abortSignal })
        for (const { Key, LastModified } of page.Contents ?? []) {
          if (Key !== undefined && LastModified !== undefined && LastModified.getTime() < time) yield Key
        }
        ContinuationToken = page.NextContinuationToken
      } while (ContinuationToken !== undefined)
    },
    close: () => client.destroy(),
  }
}

/** A failpoint here is a request or an answer that is lost, which no error of ours must be taken for. */
async function lossy<T>(effect: Effect, work: () => Promise<T>): Promise<T> {
  return await around(effect, work).catch((error) => {
    throw error instanceof MillraceError ? new Error(error.message) : error
  })
}

const CREDENTIALS_FIELD = 'spec.destination.redshift.credentialsSecretRef'
/** A key that is read again now and then is one that can be rotated without a restart. */
const CREDENTIALS_MILLISECONDS = 5 * 60 * 1000

// Without a Secret the SDK's own chain finds the identity of the pod: EKS pod identity, IRSA, or that of the node.
function credentials({ credentialsSecretRef }: RedshiftDestination, secrets: Secrets) {
  if (!credentialsSecretRef) return {}
  return {
    credentials: async () => ({
      accessKeyId: await secrets.read('destination', 'username', CREDENTIALS_FIELD),
      secretAccessKey: await secrets.read('destination', 'password', CREDENTIALS_FIELD),
      expiration: new Date(Date.now() + CREDENTIALS_MILLISECONDS),
    }),
  }
}

function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: V }
}
