import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { csvField, csvLine } from './csv.ts'
import { textForm } from './form-text.ts'
import { DEFUSED, DOUBT_MARK, MARK_BEGIN, NULL_TEXT, unfitMark } from './marks.ts'
import type { ScannedColumn } from './row-fields.ts'
import { createRowScanner } from './row-scanner.ts'

const BYTES = 12
const text = textForm(BYTES)

/** The first stands for its row, the second is made by the source, the others are as they are, with a limit. */
const columns: ScannedColumn[] = Array.from({ length: 4 }, (_, index) => ({
  kind: index === 1 ? 'converted' : 'plain',
  carrier: index === 0,
  bytes: index > 1 ? BYTES : Number.POSITIVE_INFINITY,
  keep: index > 1 ? 2 * (BYTES + 8) : Number.POSITIVE_INFINITY,
  needle: index === 3 ? Buffer.from('\\u') : undefined,
  convert(given, unfit) {
    if (index < 2) return given
    if (index === 3 && given.includes('\\u')) {
      unfit()
      return null
    }
    const converted = text.convert(given)
    if (typeof converted === 'string') return converted
    unfit()
    return converted.nearest
  },
}))

/** Runs bytes through in pieces that end at the given places. */
function scan(given: string, cuts: readonly number[], of: readonly ScannedColumn[] = columns) {
  const bytes = Buffer.from(given)
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  const scanner = createRowScanner(of)
  const out: Buffer[] = []
  let from = 0
  for (const place of [...places, bytes.length]) {
    const rows = scanner.push(bytes.subarray(from, place))
    if (rows.length > 0) expect(rows.at(-1)?.at(-1)).toBe(0x0a)
    out.push(...rows)
    from = place
  }
  out.push(...scanner.end())
  return { text: Buffer.concat(out).toString(), rows: scanner.rows(), unfit: new Map(scanner.unfit) }
}

/** Fields of CSV, of which the last may be without its line end. */
function parse(csv: string): (string | null)[][] {
  const rows: (string | null)[][] = []
  const field = /("(?:[^"]|"")*"|[^,\n]*)([,\n]|$)/gy
  let row: (string | null)[] = []
  while (field.lastIndex < csv.length) {
    const [, given = '', end] = field.exec(csv) ?? []
    row.push(
      given === NULL_TEXT ? null : given.startsWith('"') ? given.slice(1, -1).replaceAll('""', '"') : given,
    )
    if (end !== ',') {
      rows.push(row)
      row = []
    }
  }
  return rows
}

/** As PostgreSQL writes a field: in quotes only where that is needed. */
function sent(value: string | null): string {
  if (value === null) return NULL_TEXT
  return /[",\n\r]/.test(value) || value === NULL_TEXT || value === '\\.' ? csvField(value) : value
}

const value = fc.oneof(
  fc.constant(null),
  fc.constantFrom('', 'a', '"', '""', 'a"b', 'x\ny', '\n', '\r\n', '<', '<~', '<~m', '>', 'é漢𝄞', ','),
  fc.constantFrom(NULL_TEXT, `${NULL_TEXT}"`, `a ${NULL_TEXT}`, unfitMark(3), DOUBT_MARK, '\\u0000'),
  fc.string({ maxLength: 60 }),
)

describe('a stream of CSV', () => {
  it('becomes the same rows and counts however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            values: fc.tuple(value, value, value, value),
            doubt: fc.boolean(),
            lost: fc.boolean(),
          }),
          { maxLength: 8 },
        ),
        fc.array(fc.nat(), { maxLength: 12 }),
        (rows, cuts) => {
          const counts = new Map<number, number>()
          const count = (column: number) => counts.set(column, (counts.get(column) ?? 0) + 1)
          const expected: (string | null)[][] = []
          let lines = ''
          for (const { values, doubt, lost } of rows) {
            // The source takes care that these two have no mark of their own but at a doubt.
            const free = (each: string | null) => each?.replaceAll(MARK_BEGIN, '') ?? null
            const first = doubt ? values[0] : free(values[0])
            const second = free(values[1])
            const carried = doubt ? `${DOUBT_MARK}${first === null ? '' : `=${first}`}` : first
            const made = lost ? `${unfitMark(1)}${second ?? NULL_TEXT}` : second
            // A NULL after a mark has no quotes, being made by the source.
            const converted = lost && second === null ? `${unfitMark(1)}${NULL_TEXT}` : sent(made)
            lines += `${[sent(carried), converted, sent(values[2]), sent(values[3])].join(',')}\n`
            if (lost) count(1)
            expected.push([
              first,
              second,
              ...[2, 3].map((index) => {
                const given = values[index] ?? null
                return given === null ? null : (columns[index]?.convert(given, () => count(index)) ?? null)
              }),
            ])
          }
          const found = scan(lines, cuts)
          expect(parse(found.text)).toEqual(expected)
          expect(found.rows).toBe(rows.length)
          expect(found.unfit).toEqual(counts)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('lets rows without a doubt pass as they are', () => {
    const lines = `1,x,"a,b",c\n${NULL_TEXT},,${NULL_TEXT},"q""q"\n`
    expect(scan(lines, [7])).toMatchObject({ text: lines, rows: 2, unfit: new Map() })
  })

  it('does not keep more of a value than decides about it', () => {
    const scanner = createRowScanner(columns)
    const piece = Buffer.from('y'.repeat(60_000))
    scanner.push(Buffer.from(`1,x,`))
    const before = process.memoryUsage().arrayBuffers
    for (let count = 0; count < 500; count += 1) scanner.push(piece)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000)
    const rows = scanner.push(Buffer.from(`,${MARK_BEGIN}\n2,x,a,b\n`))
    expect(Buffer.concat(rows).toString()).toBe(`1,x,"${'y'.repeat(BYTES)}",${MARK_BEGIN}\n2,x,a,b\n`)
    expect(new Map(scanner.unfit)).toEqual(new Map([[2, 1]]))
  })

  it('counts a last line without its end', () => {
    expect(scan('1,a,,\n2,b,,', [])).toMatchObject({ rows: 2, text: '1,a,,\n2,b,,' })
    expect(scan('', [])).toMatchObject({ rows: 0, text: '' })
    expect(scan(`${NULL_TEXT}\n`, [3], columns.slice(2, 3))).toMatchObject({
      rows: 1,
      text: `${NULL_TEXT}\n`,
    })
  })

  it('changes the text of a mark inside of a value', () => {
    expect(scan(`1,x,a${unfitMark(2)}b,\n`, [])).toMatchObject({
      text: `1,x,"a${DEFUSED}:2>b",\n`,
      unfit: new Map([[2, 1]]),
    })
    expect(scan(csvLine(['1', 'x', NULL_TEXT, 'y']), []).text).toBe(`"1","x","${DEFUSED}>","y"\n`)
  })
})
