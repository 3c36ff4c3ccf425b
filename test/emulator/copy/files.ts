import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { RedshiftError } from '../sql/errors.ts'
import { type ManifestEntry, parseManifest, parseS3Url } from './manifest.ts'
import type { CopyOptions } from './options.ts'
import { type S3Object, type S3Reader, s3Error, s3Failure } from './s3.ts'
import { decompressZstd } from './zstd.ts'

export interface SourceFile {
  readonly url: string
  readonly bytes: number
  /** The content, decompressed. */
  readonly content: AsyncIterable<Buffer>
}

const noSuchKey = () => s3Failure(404, 'NoSuchKey', 'The specified key does not exist.')

/**
 * The files of a COPY, opened one after the other. Fails where a mandatory file is missing, or when there is none at all.
 */
export async function* openFiles(
  from: string,
  options: CopyOptions,
  s3: S3Reader,
  signal: AbortSignal,
): AsyncGenerator<SourceFile> {
  const entries = options.manifest ? await readManifest(from, s3, signal) : await listFiles(from, s3, signal)
  let found = 0
  for (const entry of entries) {
    const object = await s3.open(entry, signal)
    if (object) {
      found++
      yield { url: entry.url, bytes: object.bytes, content: decompress(object, entry.url, options) }
    } else if (entry.mandatory) {
      throw new RedshiftError(
        'XX000',
        'Mandatory url is not present in manifest file.',
        `Detail: error:  Mandatory url ${entry.url} is not present code: 8001`,
      )
    }
  }
  if (found === 0)
    throw new RedshiftError('XX000', 'No files were found: none of the urls of the manifest exists')
}

async function readManifest(from: string, s3: S3Reader, signal: AbortSignal): Promise<ManifestEntry[]> {
  const object = await s3.open(parseS3Url(from), signal)
  if (!object) throw noSuchKey()
  const parts: Buffer[] = []
  try {
    for await (const part of object.body) parts.push(part as Buffer)
  } catch (error) {
    throw s3Error(error)
  }
  return parseManifest(Buffer.concat(parts).toString('utf8'))
}

async function listFiles(from: string, s3: S3Reader, signal: AbortSignal): Promise<ManifestEntry[]> {
  const { bucket, key } = parseS3Url(from)
  const keys = await s3.list(bucket, key, signal)
  if (keys.length === 0) throw new RedshiftError('XX000', `The specified S3 prefix '${key}' does not exist`)
  return keys.map((each) => ({ bucket, key: each, url: `s3://${bucket}/${each}`, mandatory: true }))
}

/** The content of an object; what goes wrong with it comes out as Redshift reports it. */
async function* decompress(
  object: S3Object,
  url: string,
  { compression }: CopyOptions,
): AsyncGenerator<Buffer> {
  try {
    if (compression === 'zstd') yield* decompressZstd(object.body)
    else yield* compression === 'gzip' ? gunzip(object.body) : object.body
  } catch (error) {
    throw contentError(error, url, compression)
  } finally {
    object.body.destroy()
  }
}

function gunzip(body: Readable): AsyncIterable<Buffer> {
  // The error of either ends up in the last stream, which is read.
  return pipeline(body, createGunzip(), () => {})
}

function contentError(thrown: unknown, url: string, compression: CopyOptions['compression']): Error {
  const { code = '', message } = thrown as NodeJS.ErrnoException
  return /^(Z_|ZSTD_|ERR_)/.test(code) && compression !== 'none'
    ? new RedshiftError(
        'XX000',
        `Failed to decompress ${url}: ${message}`,
        `Detail: error:  ${compression} code: 8001`,
      )
    : s3Error(thrown)
}
