import { pipeline, type Readable, Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { RedshiftError } from '../sql/errors.ts'
import { type ManifestEntry, parseManifest, parseS3Url } from './manifest.ts'
import type { CopyOptions } from './options.ts'
import { type S3Object, type S3Reader, s3Error, s3Failure } from './s3.ts'

export interface SourceFile {
  readonly url: string
  readonly bytes: number
  /** The content, decompressed. */
  readonly content: Readable
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

function decompress(object: S3Object, url: string, { compression }: CopyOptions): Readable {
  const checked = new Transform({ transform: (chunk, _, done) => done(null, chunk) })
  const fail = (error: Error | null | undefined) => {
    if (!error) return
    const code = (error as NodeJS.ErrnoException).code ?? ''
    const broken =
      /^(Z_|ZSTD_|ERR_ZSTD|ERR_ZLIB)/.test(code) || /zlib|zstd|header|unexpected end/i.test(error.message)
    checked.destroy(
      broken
        ? new RedshiftError(
            'XX000',
            `Failed to decompress ${url}: ${error.message}`,
            `Detail: error:  ${compression} code: 8001`,
          )
        : s3Error(error),
    )
  }
  if (compression === 'none') pipeline(object.body, checked, fail)
  else pipeline(object.body, compression === 'gzip' ? createGunzip() : createZstdDecompress(), checked, fail)
  return checked
}
