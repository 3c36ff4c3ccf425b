import type { Readable } from 'node:stream'
import { GetObjectCommand, ListObjectsV2Command, S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { RedshiftError } from '../sql/errors.ts'
import type { S3Location } from './manifest.ts'

export interface S3Options {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** What COPY needs of S3. */
export interface S3Reader {
  /** Keys that begin with a prefix, in order. */
  list(bucket: string, prefix: string, signal: AbortSignal): Promise<string[]>
  /** Undefined when there is no such object. */
  open(location: S3Location, signal: AbortSignal): Promise<S3Object | undefined>
  close(): void
}

export interface S3Object {
  readonly bytes: number
  readonly body: Readable
}

/** Is asked before an object is read; may throw in place of S3, or break the stream off. */
export type S3Fault = (location: S3Location, body: Readable | undefined) => Readable | undefined

export function createS3Reader(options: S3Options, fault: S3Fault = (_, body) => body): S3Reader {
  const { endpoint, region, accessKeyId, secretAccessKey } = options
  const client = new S3Client({
    endpoint,
    region,
    credentials: { accessKeyId, secretAccessKey },
    forcePathStyle: true,
  })
  return {
    list: async (bucket, prefix, signal) => {
      const keys: string[] = []
      let token: string | undefined
      do {
        const page = await client
          .send(
            new ListObjectsV2Command({
              Bucket: bucket,
              Prefix: prefix,
              ...(token !== undefined && { ContinuationToken: token }),
            }),
            { abortSignal: signal },
          )
          .catch((error) => {
            throw s3Error(error)
          })
        keys.push(...(page.Contents ?? []).flatMap(({ Key }) => Key ?? []))
        token = page.NextContinuationToken
      } while (token !== undefined)
      return keys
    },
    open: async (location, signal) => {
      try {
        fault(location, undefined)
        const { Body, ContentLength } = await client.send(
          new GetObjectCommand({ Bucket: location.bucket, Key: location.key }),
          { abortSignal: signal },
        )
        const body = fault(location, Body as Readable) ?? (Body as Readable)
        return { bytes: ContentLength ?? 0, body }
      } catch (error) {
        if (error instanceof S3ServiceException && error.name === 'NoSuchKey') return undefined
        throw s3Error(error)
      }
    },
    close: () => client.destroy(),
  }
}

/** An error of S3 as a COPY reports it. */
export function s3Error(thrown: unknown): Error {
  if (thrown instanceof RedshiftError || !(thrown instanceof Error) || thrown.name === 'AbortError')
    return thrown as Error
  const status = thrown instanceof S3ServiceException ? (thrown.$metadata.httpStatusCode ?? 0) : 0
  return s3Failure(status, thrown.name, thrown.message)
}

export function s3Failure(status: number, code: string, message: string): RedshiftError {
  const retry = status === 0 || status >= 500 ? 1 : 0
  const text = `S3ServiceException:${message},Status ${status},Error ${code},Rid EMULATOR,ExtRid EMULATOR,CanRetry ${retry}`
  return new RedshiftError('XX000', text, `Detail: error:  ${text} code: 8001`)
}
