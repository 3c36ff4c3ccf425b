import { describe, expect, it } from 'vitest'
import type { CopyStatement } from '../sql/ast.ts'
import { UnknownToEmulator } from '../sql/errors.ts'
import { parseStatement } from '../sql/parse.ts'
import { parseManifest, parseS3Url } from './manifest.ts'
import { readOptions } from './options.ts'

const read = (options: string) =>
  readOptions(parseStatement(`copy t from 's3://bucket/key' ${options}`).statement as CopyStatement)

describe('options', () => {
  it('has the defaults of Redshift', () => {
    expect(read('iam_role default')).toEqual({
      format: 'text',
      delimiter: '|',
      quote: '"',
      escape: false,
      nullAs: '\\N',
      emptyAsNull: false,
      blanksAsNull: false,
      trimBlanks: false,
      invalidCharacter: undefined,
      truncateColumns: false,
      roundDecimals: false,
      dateFormat: 'iso',
      timeFormat: 'iso',
      ignoreHeader: 0,
      ignoreBlankLines: false,
      fillRecord: false,
      explicitIds: false,
      maxErrors: 0,
      compression: 'none',
      manifest: false,
      noLoad: false,
      region: undefined,
      role: 'default',
    })
  })

  it('reads what is given', () => {
    const role = 'arn:aws:iam::123456789012:role/copy'
    expect(
      read(`iam_role '${role}' format as csv delimiter as '\\t' quote '^' null as '@' zstd manifest region 'eu-west-1'
        acceptinvchars timeformat 'auto' maxerror as 5 ignoreheader 1 roundec`),
    ).toMatchObject({
      role,
      format: 'csv',
      delimiter: '\t',
      quote: '^',
      nullAs: '@',
      compression: 'zstd',
      manifest: true,
      region: 'eu-west-1',
      invalidCharacter: '?',
      timeFormat: 'auto',
      maxErrors: 5,
      ignoreHeader: 1,
      roundDecimals: true,
    })
  })

  it.each([
    ['csv', 'requires an authorization'],
    ["iam_role 'nobody'", 'Invalid IAM_ROLE'],
    ['iam_role default csv escape', 'CSV is not compatible with ESCAPE'],
    ['iam_role default gzip zstd', 'GZIP is not compatible with ZSTD'],
    ["iam_role default quote '^'", 'QUOTE requires CSV'],
    ["iam_role default delimiter 'ab'", 'must be a single ASCII character'],
    ["iam_role default delimiter 'ü'", 'must be a single ASCII character'],
    ["iam_role default null '\\n'", 'cannot contain a line end'],
    ['iam_role default maxerror 100001', 'between 0 and 100000'],
  ])('refuses %s', (options, message) => {
    expect(() => read(options)).toThrow(message)
    expect(() => read(options)).not.toThrow(UnknownToEmulator)
  })

  it.each([
    "iam_role default timeformat 'MM.DD.YYYY HH:MI:SS'",
    "iam_role default dateformat 'DD.MM.YYYY'",
    "iam_role default encoding 'utf16'",
    "access_key_id 'a' secret_access_key 'b'",
  ])('does not know %s', (options) => {
    expect(() => read(options)).toThrow(UnknownToEmulator)
  })
})

describe('manifests', () => {
  it('lists files, by default not mandatory', () => {
    const text = JSON.stringify({
      entries: [
        { url: 's3://bucket/a b/ü', mandatory: true },
        { url: 's3://other/c', meta: { content_length: 1 } },
      ],
    })
    expect(parseManifest(text)).toEqual([
      { bucket: 'bucket', key: 'a b/ü', url: 's3://bucket/a b/ü', mandatory: true },
      { bucket: 'other', key: 'c', url: 's3://other/c', mandatory: false },
    ])
  })

  it.each([
    ['', 'not JSON'],
    ['[]', 'no "entries"'],
    ['{"entries": []}', 'no "entries"'],
    ['{"entries": [{}]}', 'no "url"'],
    ['{"entries": [{"url": "s3://bucket/a", "mandatory": "true"}]}', 'neither true nor false'],
    ['{"entries": [{"url": "https://bucket/a"}]}', 'is not valid'],
  ])('refuses %s', (text, message) => {
    expect(() => parseManifest(text)).toThrow(message)
  })

  it.each(['s3://bucket', 's3://bucket/', 's3:/bucket/a', 's3://B/a'])('refuses the location %s', (url) => {
    expect(() => parseS3Url(url)).toThrow('is not valid')
  })
})
