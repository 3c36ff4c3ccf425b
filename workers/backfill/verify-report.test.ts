import { describe, expect, it } from 'vitest'
import type { Suspect } from './suspects.ts'
import { createFindings, readCursor } from './verify-report.ts'

const BY = 'id ::bigint'
const suspect = (range: number, key = '1'): Suspect => ({
  key: [key],
  range,
  confirmed: 0,
  extra: '',
  brackets: 0,
})

function planned(ranges: number, before?: Parameters<typeof createFindings>[1]) {
  const findings = createFindings(BY, before)
  findings.plan(ranges, (range) => (range === 0 && !before ? undefined : [String(range * 10)]))
  return findings
}

const cursorOf = (findings: ReturnType<typeof createFindings>) => readCursor(findings.status(), BY)

describe('findings', () => {
  it('counts ranges, and rows by how they differ', () => {
    const findings = planned(2)
    findings.compared(0, 100)
    findings.suspected(1)
    findings.suspected(1)
    findings.compared(1, 50)
    findings.different(suspect(1, 'a'), 'Missing')
    findings.different(suspect(1, 'b'), 'Extra')
    expect(findings.status()).toMatchObject({
      rangesDone: 2,
      rangesTotal: 2,
      rowsCompared: 150,
      rangesDifferent: 1,
      rowsDifferent: 2,
      rowsMissing: 1,
      rowsExtra: 1,
      rowsChanged: 0,
      examples: [
        { key: 'a', kind: 'Missing' },
        { key: 'b', kind: 'Extra' },
      ],
    })
  })

  it('go on behind the ranges that are settled from the front', () => {
    const findings = planned(4)
    findings.compared(1, 10)
    expect(cursorOf(findings)).toBeUndefined()
    findings.compared(0, 10)
    expect(cursorOf(findings)).toMatchObject({ from: ['20'], ranges: 2, rows: 20 })
  })

  it('go on before a range with a row under suspicion, or a part that is not read', () => {
    const findings = planned(3)
    findings.suspected(0)
    findings.compared(0, 10)
    findings.split(1, 2)
    findings.compared(1, 5)
    expect(cursorOf(findings)).toBeUndefined()
    findings.equal(suspect(0))
    expect(cursorOf(findings)).toMatchObject({ from: ['10'], ranges: 1 })
    findings.compared(1, 5)
    expect(cursorOf(findings)).toMatchObject({ from: ['20'], ranges: 3, rows: 20 })
    expect(findings.status()).toMatchObject({ rangesTotal: 4, rangesDone: 3 })
    findings.compared(2, 1)
    expect(findings.status().cursor).toBeUndefined()
  })

  it('take along what was found before a restart, once', () => {
    const first = planned(3)
    first.suspected(0)
    first.compared(0, 10)
    first.different(suspect(0, 'x'), 'Changed')
    // Of a range that is not settled: found again after the restart.
    first.suspected(1)
    first.suspected(1)
    first.compared(1, 10)
    first.different(suspect(1, 'y'), 'Changed')
    const before = first.status()
    expect(before).toMatchObject({ rowsDifferent: 2, rangesDifferent: 2, rowsCompared: 20 })
    const cursor = readCursor(before, BY)
    if (!cursor) throw new Error('no cursor')
    expect(cursor).toMatchObject({ from: ['10'], Changed: 1, rangesDifferent: 1 })
    const second = planned(2, { cursor, examples: before.examples })
    expect(second.status()).toMatchObject({ rowsDifferent: 1, rangesDone: 1, rangesTotal: 3 })
    second.suspected(0)
    second.compared(0, 10)
    second.different(suspect(0, 'y'), 'Changed')
    second.compared(1, 10)
    expect(second.status()).toMatchObject({
      rowsDifferent: 2,
      rangesDifferent: 2,
      rowsCompared: 30,
      rangesDone: 3,
      examples: [
        { key: 'x', kind: 'Changed' },
        { key: 'y', kind: 'Changed' },
      ],
    })
  })

  it('keep no bound that the status has no room for', () => {
    const findings = createFindings(BY)
    findings.plan(2, () => ['x'.repeat(5_000)])
    findings.compared(0, 1)
    expect(findings.status().cursor).toBeUndefined()
  })
})

describe('readCursor', () => {
  const findings = planned(2)
  findings.compared(0, 1)
  const { cursor } = findings.status()

  it.each<[string, string | undefined, string, boolean]>([
    ['its own', cursor, BY, true],
    ['none', undefined, BY, false],
    ['one of another key', cursor, 'id ::integer', false],
    ['something else', '{"from":[1]}', BY, false],
    ['no JSON', 'x', BY, false],
  ])('reads %s', (_name, text, by, expected) => {
    expect(readCursor(text === undefined ? {} : { cursor: text }, by) !== undefined).toBe(expected)
  })
})
