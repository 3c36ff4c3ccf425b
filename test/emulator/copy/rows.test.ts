import { describe, expect, it } from 'vitest'
import { createRowParser, MAX_ROW_BYTES, type Row } from './rows.ts'

const csv = { format: 'csv', delimiter: ',', quote: '"', escape: false } as const
const text = { format: 'text', delimiter: '|', quote: '"', escape: false } as const
const escaped = { ...text, escape: true } as const

type Format = typeof csv | typeof text | typeof escaped

function parse(input: string, format: Format = csv): Row[] {
  const parser = createRowParser(format)
  return [...parser.push(input), ...parser.end()]
}

/** Cuts the input at every place into two parts. */
function parseCut(input: string, at: number, format: Format): Row[] {
  const parser = createRowParser(format)
  return [...parser.push(input.slice(0, at)), ...parser.push(input.slice(at)), ...parser.end()]
}

const accepted: readonly (readonly [string, Format, readonly (readonly string[])[]])[] = [
  [
    'a,b\nc,d\n',
    csv,
    [
      ['a', 'b'],
      ['c', 'd'],
    ],
  ],
  ['a,b', csv, [['a', 'b']]],
  [
    'a,b\r\nc,d\r\n',
    csv,
    [
      ['a', 'b'],
      ['c', 'd'],
    ],
  ],
  ['"a","b"\n', csv, [['a', 'b']]],
  ['"a,b",c\n', csv, [['a,b', 'c']]],
  ['"a\nb",c\n', csv, [['a\nb', 'c']]],
  ['"a\r\nb",c\r\n', csv, [['a\r\nb', 'c']]],
  ['"a ""quoted"" word",x\n', csv, [['a "quoted" word', 'x']]],
  ['"",\n', csv, [['', '']]],
  [' "a" , b\n', csv, [['a', ' b']]],
  ['\n', csv, [['']]],
  ['', csv, []],
  ['a\\,b\n', csv, [['a\\', 'b']]],
  ['a|b\n', text, [['a', 'b']]],
  ['"a|b"\n', text, [['"a', 'b"']]],
  ['a\\|b|c\n', escaped, [['a|b', 'c']]],
  [
    'a\\\nb|c\nd|e\n',
    escaped,
    [
      ['a\nb', 'c'],
      ['d', 'e'],
    ],
  ],
  ['\\N|\\\\\n', escaped, [['\\N', '\\']]],
]

describe('rows', () => {
  it.each(accepted)('%j', (input, format, expected) => {
    expect(parse(input, format).map(({ fields }) => fields)).toEqual(expected)
    expect(parse(input, format).every(({ error }) => error === undefined)).toBe(true)
  })

  it.each(accepted)('%j, cut in two anywhere', (input, format, expected) => {
    for (let at = 0; at <= input.length; at++) {
      expect(parseCut(input, at, format).map(({ fields }) => fields)).toEqual(expected)
    }
  })

  it('counts the lines inside of quotes', () => {
    expect(parse('a\n"b\nc\nd"\ne\n').map(({ line }) => line)).toEqual([1, 2, 5])
  })
})

describe('broken rows', () => {
  it.each([
    ['a"b,c\nd,e\n', 'Invalid quote formatting for CSV'],
    ['"a"b,c\nd,e\n', 'Invalid quote formatting for CSV'],
    ['a\rb,c\nd,e\n', 'Missing newline: Unexpected character 0x62 found at location 2'],
    ['a\0b,c\nd,e\n', 'Missing newline: Unexpected character 0x0 found at location 1'],
    ['"a\0",c\nd,e\n', 'Missing newline: Unexpected character 0x0'],
  ])('%j', (input, reason) => {
    const [first, second] = parse(input)
    expect(first?.error?.reason).toContain(reason)
    expect(second).toMatchObject({ line: 2, fields: ['d', 'e'] })
  })

  it('an open quote at the end of the file', () => {
    expect(parse('a,b\n"c,d\n').map(({ error }) => error?.reason)).toEqual([
      undefined,
      'Invalid quote formatting for CSV',
    ])
  })

  it('rows above 4 MB, ended or not', () => {
    const long = 'x'.repeat(MAX_ROW_BYTES + 1)
    expect(parse(`${long}\na\n`).map(({ error }) => error?.code)).toEqual([1216, undefined])
    expect(parse(`"${long}`).map(({ error }) => error?.code)).toEqual([1216])
    expect(parse(`${'x'.repeat(MAX_ROW_BYTES)}\n`).map(({ error }) => error)).toEqual([undefined])
  })
})
