import { describe, expect, it } from 'vitest'
import type { DataType } from '../sql/ast.ts'
import { createConverter, decimal, FieldError } from './convert.ts'
import { toBytes, toText } from './utf8.ts'

const base = {
  nullAs: '\\N',
  emptyAsNull: false,
  blanksAsNull: false,
  trimBlanks: false,
  invalidCharacter: undefined,
  truncateColumns: false,
  roundDecimals: false,
  dateFormat: 'iso',
  timeFormat: 'iso',
} as const

type Options = Parameters<typeof createConverter>[1]

function convert(type: DataType, field: string, options: Partial<Options> = {}) {
  const value = createConverter(type, { ...base, ...options })(toBytes(field))
  return value === null ? null : toText(value)
}

const varchar = (length: number): DataType => ({ kind: 'varchar', length })
const numeric = (length: number, scale: number): DataType => ({ kind: 'numeric', length, scale })

describe('taken', () => {
  it.each<[DataType, string, string | null, Partial<Options>?]>([
    [varchar(3), 'abc', 'abc'],
    [varchar(3), '', ''],
    [varchar(3), '', null, { emptyAsNull: true }],
    [varchar(3), '  ', '  '],
    [varchar(3), '  ', null, { blanksAsNull: true }],
    [varchar(3), 'a  ', 'a', { trimBlanks: true }],
    [varchar(3), '\\N', null],
    [varchar(3), '@', null, { nullAs: '@' }],
    [varchar(3), '\\N', '\\N', { nullAs: '@' }],
    [varchar(4), 'é€', 'é', { truncateColumns: true }],
    [varchar(5), 'é€', 'é€'],
    [varchar(9), 'a\uffff', 'a\uffff'],
    [varchar(9), 'a\uffff', 'a???', { invalidCharacter: '?' }],
    [varchar(4), '🙂', '🙂'],
    [{ kind: 'char', length: 3 }, 'ab', 'ab'],
    [{ kind: 'integer' }, '-2147483648', '-2147483648'],
    [{ kind: 'integer' }, '', null],
    [{ kind: 'integer' }, '  ', null],
    [{ kind: 'bigint' }, '9223372036854775807', '9223372036854775807'],
    [numeric(4, 2), '20.259', '20.25'],
    [numeric(4, 2), '20.259', '20.26', { roundDecimals: true }],
    [numeric(4, 2), '-20.259', '-20.25'],
    [numeric(4, 2), '.5', '0.50'],
    [numeric(4, 2), '-0.001', '0.00'],
    [numeric(3, 0), '1.9', '1'],
    [numeric(38, 37), `1.${'1'.repeat(37)}`, `1.${'1'.repeat(37)}`],
    [numeric(19, 0), '9223372036854775807', '9223372036854775807'],
    [{ kind: 'double' }, '1e308', '1e308'],
    [{ kind: 'double' }, '-0', '-0'],
    [{ kind: 'double' }, '0e-400', '0e-400'],
    [{ kind: 'boolean' }, 'TRUE', 't'],
    [{ kind: 'boolean' }, '0', 'f'],
    [{ kind: 'date' }, '2024-02-29', '2024-02-29'],
    [{ kind: 'timestamp' }, '2024-01-02 03:04:05.123456', '2024-01-02 03:04:05.123456'],
    [{ kind: 'timestamp' }, '2024-01-02T03:04:05Z', '2024-01-02 03:04:05', { timeFormat: 'auto' }],
    [{ kind: 'timestamp' }, '2024-01-02T03:04:05', '2024-01-02 03:04:05', { timeFormat: 'iso-t' }],
    [{ kind: 'timestamptz' }, '2024-01-02 03:04:05+00', '2024-01-02 03:04:05+00'],
    [{ kind: 'timestamptz' }, '2024-01-02 03:04:05-05:30', '2024-01-02 03:04:05-05:30'],
    [{ kind: 'timestamptz' }, '2024-01-02T03:04:05.5Z', '2024-01-02 03:04:05.5+00', { timeFormat: 'auto' }],
    [{ kind: 'timestamptz' }, '0', '1970-01-01 00:00:00.000+00', { timeFormat: 'epochsecs' }],
    [{ kind: 'timestamptz' }, '1500', '1970-01-01 00:00:01.500+00', { timeFormat: 'epochmillisecs' }],
    [{ kind: 'time' }, '23:59:59.999999', '23:59:59.999999'],
    [{ kind: 'timetz' }, '01:00:00+02', '23:00:00+00'],
    [{ kind: 'timetz' }, '23:30:00-05:30', '05:00:00+00'],
    [{ kind: 'super' }, '{"a": [1, null, "x"]}', '{"a": [1, null, "x"]}'],
    [{ kind: 'super' }, 'null', 'null'],
    [{ kind: 'super' }, '', null],
    [{ kind: 'super' }, `"${'x'.repeat(65_535)}"`, `"${'x'.repeat(65_535)}"`],
    [{ kind: 'varbyte', length: 2 }, '00fF', '\\x00fF'],
    [{ kind: 'varbyte', length: 2 }, '', null],
  ])('%j %s', (type, field, expected, options) => {
    expect(convert(type, field, options)).toBe(expected)
  })
})

describe('refused', () => {
  it.each<[DataType, string, number, string, Partial<Options>?]>([
    [varchar(3), 'abcd', 1204, 'String length exceeds DDL length'],
    [varchar(3), '€a', 1204, 'String length exceeds DDL length'],
    [{ kind: 'char', length: 3 }, 'abcd', 1204, 'Char length exceeds DDL length'],
    [{ kind: 'char', length: 3 }, 'é', 1220, 'Multibyte character not supported for CHAR'],
    [{ kind: 'smallint' }, '32768', 1204, 'Overflow'],
    [{ kind: 'integer' }, '2147483648', 1204, 'Overflow'],
    [{ kind: 'bigint' }, '9223372036854775808', 1204, 'Overflow'],
    [{ kind: 'integer' }, '1.5', 1207, "Invalid digit, Value '.', Pos 1, Type: Integer"],
    [{ kind: 'integer' }, '1 ', 1207, "Invalid digit, Value ' ', Pos 1"],
    [numeric(4, 2), '100', 1207, 'Overflow for NUMERIC(4,2)'],
    [numeric(4, 2), '99.999', 1207, 'Overflow for NUMERIC(4,2)', { roundDecimals: true }],
    [numeric(4, 2), 'NaN', 1207, "Invalid digit, Value 'N'"],
    [numeric(4, 2), '1e2', 1207, "Invalid digit, Value 'e'"],
    [numeric(19, 0), '9223372036854775808', 1207, 'Overflow for NUMERIC(19,0)'],
    [numeric(19, 18), '9.223372036854775808', 1207, 'Overflow for NUMERIC(19,18)'],
    [{ kind: 'double' }, 'NaN', 1207, 'Invalid digit'],
    [{ kind: 'double' }, 'Infinity', 1207, 'Invalid digit'],
    [{ kind: 'double' }, '1e309', 1208, 'Overflow'],
    [{ kind: 'double' }, '5e-324', 1208, 'Overflow'],
    [{ kind: 'real' }, '3.5e38', 1208, 'Overflow'],
    [{ kind: 'boolean' }, 'maybe', 1210, 'Boolean'],
    [{ kind: 'date' }, 'infinity', 1205, 'Invalid Date Format'],
    [{ kind: 'date' }, '2023-02-29', 1205, 'Invalid Date Format'],
    [{ kind: 'date' }, '0000-01-01', 1205, 'Invalid Date Format'],
    [{ kind: 'date' }, '10000-01-01', 1205, 'Invalid Date Format'],
    [{ kind: 'date' }, '0044-03-15 BC', 1205, 'Invalid Date Format'],
    [{ kind: 'timestamp' }, '2024-01-02T03:04:05', 1206, 'Invalid timestamp'],
    [{ kind: 'timestamp' }, '2024-01-02 24:00:00', 1206, 'Invalid timestamp'],
    [{ kind: 'timestamp' }, '2024-01-02 03:04:05+00', 1206, 'Invalid timestamp'],
    [{ kind: 'timestamptz' }, '2024-01-02 03:04:05Z', 1206, 'Invalid timestamp'],
    [{ kind: 'timestamptz' }, 'infinity', 1206, 'Invalid timestamp', { timeFormat: 'auto' }],
    [{ kind: 'time' }, '24:00:00', 1206, 'Invalid time'],
    [{ kind: 'super' }, '{a: 1}', 1224, 'Invalid JSON'],
    [{ kind: 'super' }, '"\\u0000"', 1224, '\\u0000'],
    [{ kind: 'super' }, '"\\ud800"', 1224, 'surrogate'],
    [{ kind: 'super' }, `{"a": "${'x'.repeat(65_536)}"}`, 1224, 'max size of 65535'],
    [{ kind: 'varbyte', length: 2 }, '0', 1224, 'hexadecimal'],
    [{ kind: 'varbyte', length: 2 }, '\\x00', 1224, 'hexadecimal'],
    [{ kind: 'varbyte', length: 2 }, '000000', 1204, 'longer'],
  ])('%j %s', (type, field, code, reason, options) => {
    expect(() => convert(type, field, options)).toThrow(FieldError)
    expect(() => convert(type, field, options)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(reason) }),
    )
  })

  it('bytes that are no UTF-8, unless they may be replaced', () => {
    const broken = 'a\xe2\x28\xa1\xff'
    expect(() => createConverter(varchar(9), base)(broken)).toThrow('Bad UTF8 hex sequence: e2 28 a1 ff')
    expect(createConverter(varchar(9), { ...base, invalidCharacter: '^' })(broken)).toBe('a^(^^')
  })
})

it('cuts decimals off without going through a double', () => {
  const digits = '1234567890123456789012345678901234567'
  expect(decimal(`0.${digits}9`, numeric(38, 37), false)).toBe(`0.${digits}`)
  expect(decimal(`0.${digits}9`, numeric(38, 37), true)).toBe(`0.${digits.slice(0, -1)}8`)
})
