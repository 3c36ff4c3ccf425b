import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readRun } from './decode.ts'
import { parseLargeLine } from './large-line.ts'

const run = (...lines: unknown[]) => Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
const header = { v: 1, inc: 'a', epoch: 2, table: ['public', 't'], columns: [['id', 'bigint', 1]] }

describe('readRun', () => {
  it('types every line', () => {
    const hold = {
      control: 'hold',
      tx: '0/30',
      seq: 1,
      at: '2026-11-22T10:00:01.000Z',
      lsn: '0/40',
      uid: 'u',
      name: 'b',
      action: 'Drop',
    }
    const lines = [header, { tx: '0/20', xid: 7, at: '2026-11-22T10:00:00.500Z' }, ['i', 2, ['1']], hold]
    expect([...readRun(run(...lines), 't')]).toEqual([
      { kind: 'header', header },
      { kind: 'transaction', lsn: 0x20n, xid: 7, at: Date.parse('2026-11-22T10:00:00.500Z') },
      { kind: 'row', line: ['i', 2, ['1']], bytes: 14 },
      { kind: 'control', line: hold, lsn: 0x30n, at: Date.parse(hold.at) },
    ])
  })

  it.each([
    ['no header first', run(['i', 2, ['1']]), /no header/],
    ['another version', run({ ...header, v: 2 }), /format 2 is not known/],
    [
      'a broken line',
      Buffer.from(`${JSON.stringify(header)}\n["i",2,["secret`),
      /line 2: not a line of a run/,
    ],
  ])('refuses %s without quoting it', (_name, value, message) => {
    const read = () => [...readRun(value, 'topic x, offset 7')]
    expect(read).toThrow(message)
    expect(read).not.toThrow(/secret/)
  })

  it('reads a large row to the same values', () => {
    const text = `line\n"quoted"\t\\x${'ü€😀'.repeat(200_000)}`
    const [, entry] = readRun(run(header, ['u', 4, ['1', text, null, 0], ['2']]), 't')
    expect(entry).toMatchObject({ kind: 'row', line: ['u', 4, ['1', text, null, 0], ['2']] })
  })
})

describe('parseLargeLine', () => {
  it('gives what JSON.parse gives', () => {
    const value = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.constant(null), fc.nat())
    const ascii = (text: string) =>
      text.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    fc.assert(
      fc.property(fc.array(fc.oneof(value, fc.array(value))), fc.boolean(), (list, escaped) => {
        const text = escaped ? ascii(JSON.stringify(list)) : JSON.stringify(list)
        expect(parseLargeLine(Buffer.from(text))).toEqual(JSON.parse(text))
      }),
      { numRuns: 500 },
    )
  }, 60_000)

  it.each(['["a"', '["a" "b"]', '["a', '["\\q"]', '["\\u12"]', '["a"] x', ''])('refuses %s', (text) => {
    expect(() => parseLargeLine(Buffer.from(text))).toThrow(SyntaxError)
  })

  it('takes time in proportion to the length', () => {
    const text = JSON.stringify(['x\n'.repeat(500_000), ...Array.from({ length: 1600 }, () => 'y')])
    const started = performance.now()
    parseLargeLine(Buffer.from(text))
    // What grows with the square would take minutes.
    expect(performance.now() - started).toBeLessThan(10_000)
  }, 60_000)
})
