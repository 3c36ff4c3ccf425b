import { describe, expect, it } from 'vitest'
import { compactJson, convertRows } from './result.ts'

const field = (dataTypeID: number) => ({
  name: 'a',
  tableID: 0,
  columnID: 0,
  dataTypeID,
  dataTypeModifier: -1,
})
const limits = { rowBytes: 100, resultBytes: 1000 }
const convert = (type: number, value: string | null) =>
  convertRows([[value]], [field(type)], limits).rows[0]?.[0]

describe('values', () => {
  it.each<[number, string | null, object]>([
    [23, null, { isNull: true }],
    [16, 't', { booleanValue: true }],
    [20, '9007199254740993', { longValue: '9007199254740993' }],
    [701, '1.5', { doubleValue: 1.5 }],
    [701, 'NaN', { doubleValue: Number.NaN }],
    [1700, '1.50', { stringValue: '1.50' }],
    [1042, 'a ', { stringValue: 'a ' }],
    [17, '\\x00ff', { stringValue: '00ff' }],
    [1184, '2020-01-01 00:00:00+00', { stringValue: '2020-01-01 00:00:00+00' }],
    [3802, '{"a": 1}', { stringValue: '{"a":1}' }],
  ])('%i %s', (type, value, expected) => {
    expect(convert(type, value)).toEqual(expected)
  })

  it('refuses types that Redshift has not', () => {
    expect(() => convert(2950, 'x')).toThrow("does not know what Redshift makes of PostgreSQL's type 2950")
  })
})

describe('limits', () => {
  it('of a row', () => {
    expect(() => convert(1042, 'x'.repeat(101))).toThrow('Packet for query is too large')
    expect(() => convert(1042, 'é'.repeat(51))).toThrow('Packet for query is too large')
    expect(convert(1042, 'x'.repeat(100))).toBeDefined()
  })

  it('of a result', () => {
    const rows = Array.from({ length: 11 }, () => ['x'.repeat(100)])
    expect(() => convertRows(rows, [field(1042)], limits)).toThrow('Database response exceeded size limit')
    expect(convertRows(rows.slice(1), [field(1042)], limits).bytes).toBe(1000)
  })
})

it.each([
  ['{"a": [1, {"b": null}], "c d": "e, f: \\" g"}', '{"a":[1,{"b":null}],"c d":"e, f: \\" g"}'],
  ['"a \\\\"', '"a \\\\"'],
  ['1', '1'],
])('takes the blanks out of %s', (json, expected) => {
  expect(compactJson(json)).toBe(expected)
})
