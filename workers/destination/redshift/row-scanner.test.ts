import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { csvLine } from './csv.ts'
import { NULL_TEXT, unfitMark } from './marks.ts'
import { createRowScanner } from './row-scanner.ts'

/** Runs bytes through in pieces that end at the given places. */
function scan(text: string, cuts: readonly number[]) {
  const bytes = Buffer.from(text)
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b)
  const scanner = createRowScanner()
  const out: Buffer[] = []
  let from = 0
  for (const place of [...places, bytes.length]) {
    const { bytes: given, rowEnd } = scanner.push(bytes.subarray(from, place))
    if (rowEnd > 0) expect(given[rowEnd - 1]).toBe(0x0a)
    out.push(Buffer.from(given))
    from = place
  }
  out.push(Buffer.from(scanner.end().bytes))
  return { text: Buffer.concat(out).toString(), rows: scanner.rows(), unfit: new Map(scanner.unfit) }
}

const value = fc.oneof(
  fc.constant(null),
  fc.constantFrom('', 'a', '"', '""', 'a"b', 'x\ny', '\n', '\r\n', '<', '<~', '<~m', '>', 'é漢𝄞', ','),
  fc.string(),
)

describe('a stream of CSV', () => {
  it('has the same rows and marks however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.tuple(value, fc.boolean()), { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (rows, cuts) => {
          const clean = (text: string | null) => text?.replaceAll('<~mr', '') ?? null
          const plain = rows.map((row) => csvLine(row.map(([each]) => clean(each)))).join('')
          const marked = rows
            .map((row) =>
              row
                .map(([each, isMarked], index) => {
                  const field = csvLine([clean(each)]).slice(0, -1)
                  if (!isMarked) return field
                  return field.startsWith('"')
                    ? `"${unfitMark(index)}${field.slice(1)}`
                    : `${unfitMark(index)}${field}`
                })
                .join(','),
            )
            .map((line) => `${line}\n`)
            .join('')
          const found = scan(marked, cuts)
          expect(found.text).toBe(plain)
          expect(found.rows).toBe(rows.length)
          const counts = new Map<number, number>()
          for (const row of rows) {
            for (const [index, [, isMarked]] of row.entries()) {
              if (isMarked) counts.set(index, (counts.get(index) ?? 0) + 1)
            }
          }
          expect(found.unfit).toEqual(counts)
        },
      ),
    )
  })

  it('counts a last line without its end', () => {
    expect(scan('1,a\n2,b', [])).toMatchObject({ rows: 2, text: '1,a\n2,b' })
    expect(scan('', [])).toMatchObject({ rows: 0, text: '' })
    expect(scan(`${NULL_TEXT}\n`, [3])).toMatchObject({ rows: 1, text: `${NULL_TEXT}\n` })
  })
})
