import { describe, expect, it } from 'vitest'
import { PART_HEADER, RUN_HEADER } from './format.ts'
import type { QueueRecord } from './queue.ts'
import { createControlScanner } from './scan-control.ts'

const header = { v: 1, inc: 'i', epoch: 1, table: ['s', 't'], columns: [] }
const control = { control: 'gap', tx: '0/1', seq: 1, at: '', code: 'SlotLost', message: 'm' }
const text = (lines: readonly unknown[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join('')
const run = text([header, { tx: '0/1', xid: 3, at: '' }, ['i', 1, ['{"control":"gap"}']], control])

const record = (value: string, headers: Record<string, string> = {}): QueueRecord => ({
  topic: 'q',
  offset: 7n,
  timestamp: 0,
  key: undefined,
  value: Buffer.from(value),
  headers,
})

/** A run cut into records of so many bytes. */
function parts(value: string, bytes: number, name = 'r'): QueueRecord[] {
  const count = Math.ceil(value.length / bytes)
  return Array.from({ length: count }, (_, index) =>
    record(value.slice(index * bytes, (index + 1) * bytes), {
      [PART_HEADER]: `${index + 1}/${count}`,
      [RUN_HEADER]: name,
    }),
  )
}

const found = [
  { kind: 'header', header },
  { kind: 'control', line: control },
]

describe('createControlScanner', () => {
  it('gives headers and control lines, and no rows whatever they hold', () => {
    expect(createControlScanner().push(record(run))).toMatchObject(found)
  })

  it('gives the same of a run that is cut, wherever that is', () => {
    for (let bytes = 1; bytes <= run.length; bytes += 1) {
      const scanner = createControlScanner()
      expect(parts(run, bytes).flatMap((part) => scanner.push(part))).toMatchObject(found)
    }
  })

  it('tells two runs apart whose parts are mixed, and passes over one of which a part is missing', () => {
    const scanner = createControlScanner()
    const [a, b] = [parts(run, 40, 'a'), parts(run, 40, 'b')]
    const mixed = a.flatMap((part, index) => [part, b[index] as QueueRecord])
    expect(mixed.flatMap((part) => scanner.push(part))).toHaveLength(4)
    const [first, , ...rest] = parts(run, 40, 'c')
    expect([first as QueueRecord, ...rest].flatMap((part) => scanner.push(part))).toHaveLength(0)
  })

  it('refuses what a later version has written', () => {
    expect(() => createControlScanner().push(record(text([{ v: 2 }])))).toThrow('later')
  })
})
