import type { DataType } from '../sql/ast.ts'
import { typeName } from '../sql/types.ts'
import type { CopyOptions } from './options.ts'
import { isDate, readTime, readTimestamp } from './times.ts'
import { cut, firstInvalid, isAscii, isValid, replaceInvalid, toBytes, toText } from './utf8.ts'

/** Why a field cannot be loaded, with the number that STL_LOAD_ERRORS gives it. */
export class FieldError extends Error {
  readonly code: number

  constructor(code: number, reason: string) {
    super(reason)
    this.name = 'FieldError'
    this.code = code
  }
}

/** Turns a field of a file, as a binary string, into what PostgreSQL's COPY takes; null for NULL. */
export type Converter = (field: string) => string | null

type Conversion = Pick<
  CopyOptions,
  | 'nullAs'
  | 'emptyAsNull'
  | 'blanksAsNull'
  | 'trimBlanks'
  | 'invalidCharacter'
  | 'truncateColumns'
  | 'roundDecimals'
  | 'dateFormat'
  | 'timeFormat'
>

export function createConverter(type: DataType, options: Conversion): Converter {
  const marker = toBytes(options.nullAs)
  const text = type.kind === 'char' || type.kind === 'varchar'
  const convert = text ? textConverter(type, options) : valueConverter(type, options)
  return (field) => {
    if (field === marker) return null
    if (text) {
      if (options.emptyAsNull && field === '') return null
      if (options.blanksAsNull && field !== '' && field.trim() === '') return null
    } else if (field.trim() === '') return null
    return convert(field)
  }
}

function textConverter(type: DataType, options: Conversion): (field: string) => string {
  const limit = type.length ?? 0
  return (field) => {
    let value = options.trimBlanks ? field.replace(/ +$/, '') : field
    if (type.kind === 'char' && !isAscii(value)) {
      const bytes = firstNotAscii(value)
      throw new FieldError(
        1220,
        `Multibyte character not supported for CHAR (Hint: Try using VARCHAR). Invalid char: ${bytes}`,
      )
    }
    if (!isValid(value) || (options.invalidCharacter !== undefined && !isAscii(value))) {
      if (options.invalidCharacter === undefined) {
        throw new FieldError(
          1220,
          `String contains invalid or unsupported UTF8 codepoints. Bad UTF8 hex sequence: ${firstInvalid(value)} (error 3)`,
        )
      }
      value = replaceInvalid(value, options.invalidCharacter)
    }
    if (value.length <= limit) return value
    if (options.truncateColumns) return cut(value, limit)
    throw new FieldError(
      1204,
      type.kind === 'char' ? 'Char length exceeds DDL length' : 'String length exceeds DDL length',
    )
  }
}

const firstNotAscii = (bytes: string) => {
  const at = bytes.search(/[\x80-\xff]/)
  return Buffer.from(bytes.slice(at, at + 2), 'latin1')
    .toString('hex')
    .replaceAll(/(..)(?=.)/g, '$1 ')
}

const INTEGERS: Partial<Record<DataType['kind'], readonly [min: bigint, max: bigint]>> = {
  smallint: [-32_768n, 32_767n],
  integer: [-2_147_483_648n, 2_147_483_647n],
  bigint: [-9_223_372_036_854_775_808n, 9_223_372_036_854_775_807n],
}

function valueConverter(type: DataType, options: Conversion): (field: string) => string {
  switch (type.kind) {
    case 'smallint':
    case 'integer':
    case 'bigint':
      return (field) => integer(field, type)
    case 'numeric':
      return (field) => decimal(field, type, options.roundDecimals)
    case 'real':
    case 'double':
      return (field) => float(field, type)
    case 'boolean':
      return boolean
    case 'date':
      return (field) => {
        if (isDate(field)) return field
        throw new FieldError(1205, 'Invalid Date Format - expected YYYY-MM-DD')
      }
    case 'timestamp':
    case 'timestamptz':
      return (field) => {
        const value = readTimestamp(field, options.timeFormat, type.kind === 'timestamptz')
        if (value !== undefined) return value
        throw new FieldError(
          1206,
          `Invalid timestamp format or value [${TIMESTAMP_FORMATS[type.kind] ?? ''}]`,
        )
      }
    case 'time':
    case 'timetz':
      return (field) => {
        const value = readTime(field, type.kind === 'timetz')
        if (value !== undefined) return value
        throw new FieldError(1206, 'Invalid time format or value')
      }
    case 'super':
      return superValue
    case 'varbyte':
      return (field) => varbyte(field, type)
    default:
      throw new Error(`no conversion for ${type.kind}`)
  }
}

const TIMESTAMP_FORMATS: Partial<Record<DataType['kind'], string>> = {
  timestamp: 'YYYY-MM-DD HH24:MI:SS',
  timestamptz: 'YYYY-MM-DD HH24:MI:SSOF',
}

function invalidDigit(field: string, pattern: RegExp, name: string): FieldError {
  const at = Math.max(field.search(pattern), 0)
  return new FieldError(1207, `Invalid digit, Value '${field[at] ?? ''}', Pos ${at}, Type: ${name}`)
}

const NAMES: Partial<Record<DataType['kind'], string>> = {
  smallint: 'Short',
  integer: 'Integer',
  bigint: 'Long',
  numeric: 'Decimal',
  real: 'Float',
  double: 'Double',
}

function integer(field: string, type: DataType): string {
  if (!/^[+-]?\d+$/.test(field)) throw invalidDigit(field, /(?!^)[+-]|[^\d+-]/, NAMES[type.kind] ?? '')
  // Nine digits fit everything but SMALLINT.
  if (field.length <= 9 && type.kind !== 'smallint') return field
  const [min, max] = INTEGERS[type.kind] ?? [0n, 0n]
  const value = BigInt(field.replace(/^\+/, ''))
  if (value < min || value > max) throw new FieldError(1204, `Overflow, Column type: ${NAMES[type.kind]}`)
  return field
}

const MAX_INT64 = 9_223_372_036_854_775_807n

/** Decimals beyond the scale are cut off, or rounded with ROUNDEC. */
export function decimal(field: string, type: DataType, round: boolean): string {
  const [, sign = '', whole = '', fraction = ''] = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(field) ?? []
  if (whole === '' && fraction === '') throw invalidDigit(field, /[^\d.+-]|(?!^)[+-]|\..*\./, 'Decimal')
  const { length = 18, scale = 0 } = type
  const kept = fraction.slice(0, scale).padEnd(scale, '0')
  let unscaled = BigInt(whole + kept)
  if (round && (fraction[scale] ?? '0') >= '5') unscaled++
  if (unscaled.toString().length > length || (length === 19 && unscaled > MAX_INT64)) {
    throw new FieldError(1207, `Overflow for NUMERIC(${length},${scale})`)
  }
  const digits = unscaled.toString().padStart(scale + 1, '0')
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
  return sign === '-' && unscaled > 0n ? `-${text}` : text
}

const FLOAT_RANGE = {
  real: { min: 1.17549435e-38, max: 3.4028235e38 },
  double: { min: 2.2250738585072014e-308, max: Number.MAX_VALUE },
} as const

function float(field: string, type: DataType): string {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(field)) {
    // NaN and Infinity end here as well: COPY is not known to take them.
    throw invalidDigit(field, /[^\d.eE+-]/, NAMES[type.kind] ?? '')
  }
  const size = Math.abs(Number(field))
  const { min, max } = FLOAT_RANGE[type.kind === 'real' ? 'real' : 'double']
  const isZero = size === 0 && !/[1-9]/.test(field.replace(/[eE].*/, ''))
  if (size > max || (!isZero && size < min))
    throw new FieldError(1208, `Overflow, Column type: ${NAMES[type.kind]}`)
  return field
}

const BOOLEANS: Record<string, string> = {}
for (const word of ['t', 'true', 'y', 'yes', '1']) BOOLEANS[word] = 't'
for (const word of ['f', 'false', 'n', 'no', '0']) BOOLEANS[word] = 'f'

function boolean(field: string): string {
  const value = BOOLEANS[field.toLowerCase()]
  if (value === undefined) throw new FieldError(1210, 'Invalid value for type: Boolean')
  return value
}

const MAX_SUPER = 16_777_216
const MAX_SUPER_STRING = 65_535

function superValue(field: string): string {
  if (field.length > MAX_SUPER)
    throw new FieldError(1204, `Value exceeds the maximum SUPER size of ${MAX_SUPER} bytes`)
  if (!isValid(field)) {
    throw new FieldError(
      1220,
      `String contains invalid or unsupported UTF8 codepoints. Bad UTF8 hex sequence: ${firstInvalid(field)} (error 3)`,
    )
  }
  const text = toText(field)
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw new FieldError(1224, 'Invalid JSON format. The value is not JSON')
  }
  if (/\\u(0000|[dD][89abAB])/.test(text) && !hasOnlyCharacters(parsed)) {
    throw new FieldError(1224, 'Invalid JSON format. A string holds \\u0000 or half of a surrogate pair')
  }
  if (field.length > MAX_SUPER_STRING && hasLongString(parsed)) {
    throw new FieldError(1224, `String value exceeds the max size of ${MAX_SUPER_STRING} bytes`)
  }
  return field
}

const anyString = (value: unknown, test: (text: string) => boolean): boolean =>
  typeof value === 'string'
    ? test(value)
    : typeof value === 'object' && value !== null
      ? Object.entries(value).some(([key, inner]) => test(key) || anyString(inner, test))
      : false

const hasOnlyCharacters = (value: unknown) =>
  !anyString(value, (text) => !text.isWellFormed() || text.includes('\0'))
const hasLongString = (value: unknown) =>
  anyString(value, (text) => Buffer.byteLength(text) > MAX_SUPER_STRING)

function varbyte(field: string, type: DataType): string {
  if (!/^(?:[0-9a-fA-F]{2})*$/.test(field))
    throw new FieldError(1224, `Invalid hexadecimal value for type ${typeName(type)}`)
  if (field.length / 2 > (type.length ?? 0))
    throw new FieldError(1204, `Value is longer than ${typeName(type)}`)
  return `\\x${field}`
}
