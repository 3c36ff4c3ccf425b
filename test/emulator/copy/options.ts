import type { CopyStatement } from '../sql/ast.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'

export interface CopyOptions {
  readonly format: 'csv' | 'text'
  readonly delimiter: string
  /** CSV's. */
  readonly quote: string
  /** Backslashes escape; not in CSV. */
  readonly escape: boolean
  readonly nullAs: string
  readonly emptyAsNull: boolean
  readonly blanksAsNull: boolean
  readonly trimBlanks: boolean
  /** Character that replaces each byte of what is not valid UTF-8; undefined = an error. */
  readonly invalidCharacter: string | undefined
  readonly truncateColumns: boolean
  readonly roundDecimals: boolean
  readonly dateFormat: DateFormat
  readonly timeFormat: TimeFormat
  readonly ignoreHeader: number
  readonly ignoreBlankLines: boolean
  readonly fillRecord: boolean
  readonly explicitIds: boolean
  readonly maxErrors: number
  readonly compression: 'none' | 'gzip' | 'zstd'
  readonly manifest: boolean
  readonly noLoad: boolean
  readonly region: string | undefined
  readonly role: string
}

export type DateFormat = 'iso' | 'auto'
/** `iso` takes a blank between date and time, `iso-t` a T, `auto` both and `Z`. */
export type TimeFormat = 'iso' | 'iso-t' | 'auto' | 'epochsecs' | 'epochmillisecs'

const CONFLICTS: readonly (readonly [string, string])[] = [
  ['csv', 'escape'],
  ['gzip', 'zstd'],
  ['maxerror', 'noload'],
]

/** What a COPY statement asks for. Refuses combinations that Redshift refuses. */
export function readOptions(statement: CopyStatement): CopyOptions {
  const values = new Map(statement.options.map(({ name, value }) => [name, value ?? '']))
  const has = (name: string) => values.has(name)
  for (const [one, other] of CONFLICTS) {
    if (has(one) && has(other) && one !== 'maxerror') {
      throw new RedshiftError('42601', `${one.toUpperCase()} is not compatible with ${other.toUpperCase()}`)
    }
  }
  if (has('quote') && !has('csv')) throw new RedshiftError('42601', 'QUOTE requires CSV')
  const encoding = values.get('encoding')
  if (encoding !== undefined && encoding.toUpperCase() !== 'UTF8')
    throw new UnknownToEmulator(`the encoding ${encoding}`)
  const maxErrors = Number(values.get('maxerror') ?? 0)
  if (maxErrors > 100_000) throw new RedshiftError('22023', 'MAXERROR must be between 0 and 100000')
  return {
    format: has('csv') ? 'csv' : 'text',
    delimiter: oneAscii('DELIMITER', values.get('delimiter') ?? (has('csv') ? ',' : '|')),
    quote: oneAscii('QUOTE', values.get('quote') ?? '"'),
    escape: has('escape'),
    nullAs: nullMarker(values.get('null')),
    emptyAsNull: has('emptyasnull') || values.get('null') === '',
    blanksAsNull: has('blanksasnull'),
    trimBlanks: has('trimblanks'),
    invalidCharacter: has('acceptinvchars')
      ? oneAscii('ACCEPTINVCHARS', values.get('acceptinvchars') || '?')
      : undefined,
    truncateColumns: has('truncatecolumns'),
    roundDecimals: has('roundec'),
    dateFormat: dateFormat(values.get('dateformat')),
    timeFormat: timeFormat(values.get('timeformat')),
    ignoreHeader: Number(values.get('ignoreheader') ?? 0),
    ignoreBlankLines: has('ignoreblanklines'),
    fillRecord: has('fillrecord'),
    explicitIds: has('explicit_ids'),
    maxErrors,
    compression: has('gzip') ? 'gzip' : has('zstd') ? 'zstd' : 'none',
    manifest: has('manifest'),
    noLoad: has('noload'),
    region: values.get('region'),
    role: authorization(values),
  }
}

function oneAscii(option: string, value: string): string {
  // '\t' and octal numbers came through the string's own escapes.
  if (value.length !== 1 || value.charCodeAt(0) > 0x7f || value === '\0') {
    throw new RedshiftError('22023', `COPY ${option.toLowerCase()} must be a single ASCII character`)
  }
  if (value === '\n' || value === '\r')
    throw new RedshiftError('22023', `COPY ${option.toLowerCase()} cannot be a line end`)
  return value
}

function nullMarker(value: string | undefined): string {
  if (value === undefined) return '\\N'
  if (value.includes('\n') || value.includes('\r')) {
    throw new RedshiftError('22023', 'COPY null string cannot contain a line end')
  }
  return value
}

function dateFormat(value: string | undefined): DateFormat {
  if (value === undefined || value.toUpperCase() === 'YYYY-MM-DD') return 'iso'
  if (value === 'auto') return 'auto'
  throw new UnknownToEmulator(`the DATEFORMAT '${value}'`)
}

const ISO_TIME_FORMATS: Record<string, TimeFormat> = {
  'YYYY-MM-DD HH:MI:SS': 'iso',
  'YYYY-MM-DD HH24:MI:SS': 'iso',
  'YYYY-MM-DD HH:MI:SSOF': 'iso',
  'YYYY-MM-DDTHH:MI:SS': 'iso-t',
  'YYYY-MM-DDTHH:MI:SSOF': 'iso-t',
}

function timeFormat(value: string | undefined): TimeFormat {
  if (value === undefined) return 'iso'
  if (value === 'auto' || value === 'epochsecs' || value === 'epochmillisecs') return value
  const known = ISO_TIME_FORMATS[value.toUpperCase()]
  if (!known) throw new UnknownToEmulator(`the TIMEFORMAT '${value}'`)
  return known
}

function authorization(values: ReadonlyMap<string, string>): string {
  const role = values.get('iam_role')
  if (role !== undefined) {
    if (role !== 'default' && !/^arn:[a-z-]+:iam::\d{12}:role\/.+/.test(role)) {
      throw new RedshiftError('22023', `Invalid IAM_ROLE "${role}"`)
    }
    return role
  }
  if (values.has('credentials') || values.has('access_key_id')) {
    throw new UnknownToEmulator('COPY with keys in the statement: use IAM_ROLE')
  }
  throw new RedshiftError('42601', 'COPY from S3 requires an authorization: IAM_ROLE')
}
