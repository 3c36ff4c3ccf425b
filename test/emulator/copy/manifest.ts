import { RedshiftError } from '../sql/errors.ts'

export interface S3Location {
  readonly bucket: string
  readonly key: string
}

export interface ManifestEntry extends S3Location {
  readonly url: string
  readonly mandatory: boolean
}

export function parseS3Url(url: string): S3Location {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(.+)$/s.exec(url)
  if (!match) throw new RedshiftError('22023', `The specified S3 path "${url}" is not valid`)
  return { bucket: match[1] as string, key: match[2] as string }
}

const broken = (why: string) => new RedshiftError('XX000', `Problem reading manifest file - ${why}`)

/** The files that a manifest lists. */
export function parseManifest(text: string): ManifestEntry[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw broken('it is not JSON')
  }
  const entries = isObject(parsed) ? parsed.entries : undefined
  if (!Array.isArray(entries) || entries.length === 0) throw broken('it has no "entries"')
  return entries.map((entry: unknown) => {
    if (!isObject(entry) || typeof entry.url !== 'string') throw broken('an entry has no "url"')
    const { mandatory = false, url } = entry
    if (typeof mandatory !== 'boolean') throw broken('"mandatory" is neither true nor false')
    return { ...parseS3Url(url), url, mandatory }
  })
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
