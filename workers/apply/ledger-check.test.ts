import { describe, expect, it } from 'vitest'
import type { LedgerTable } from '../destination/ledger.ts'
import { ORIGIN } from '../source/position.ts'
import { changedFacts, judgeTarget, mayBeEmptied } from './ledger-check.ts'
import { LEDGER_ROW } from './ledger-row-fixture.ts'

const row: LedgerTable = {
  ...LEDGER_ROW,
  version: 7n,
  nextOffset: 10n,
  position: { epoch: 1, lsn: 5n, sequence: 0 },
}

describe('changedFacts', () => {
  it.each<[string, Partial<LedgerTable>, string[]]>([
    ['the same', {}, []],
    ['another version is somebody at work', { version: 8n, nextOffset: 11n }, []],
    ['a place', { nextOffset: 3n, position: ORIGIN }, ['nextOffset', 'position']],
    ['a fact', { historyComplete: false }, ['historyComplete']],
  ])('%s', (_name, change, expected) => {
    expect(changedFacts(row, { ...row, ...change })).toEqual(expected)
  })
})

describe('judgeTarget', () => {
  const target = { id: '1', file: '1', columns: ['id', 'note', 'own'], shape: '', empty: false }
  const before = { target, mark: '0', version: 7n }
  it.each<[string, Parameters<typeof judgeTarget>, RegExp | undefined]>([
    ['nothing happened', [row, before, target, '0', ['id', 'note']], undefined],
    ['first look', [row, undefined, target, '0', ['id', 'gone']], undefined],
    ['dropped', [row, before, undefined, '0', ['id']], /was dropped:/],
    ['gone at the first look', [row, undefined, undefined, '0', ['id']], /was dropped:/],
    ['not made yet', [{ ...row, position: ORIGIN }, undefined, undefined, '0', ['id']], undefined],
    ['made again', [row, before, { ...target, id: '2' }, '0', ['id']], /dropped and made again/],
    ['made again by Millrace', [row, before, { ...target, id: '2' }, '1', ['id']], undefined],
    ['column dropped', [row, before, { ...target, columns: ['id'] }, '0', ['id', 'note']], /column "note"/],
    [
      'column of its own dropped',
      [row, before, { ...target, columns: ['id', 'note'] }, '0', ['id', 'note']],
      undefined,
    ],
  ])('%s', (_name, given, expected) => {
    const found = judgeTarget(...given)
    if (expected)
      expect(found).toMatchObject({ code: 'DestinationChanged', message: expect.stringMatching(expected) })
    else expect(found).toBeUndefined()
  })
})

describe('mayBeEmptied', () => {
  const target = { id: '1', file: '1', columns: ['id'], shape: '', empty: false }
  const before = { target, mark: '0', version: 7n }
  const empty = { ...before, target: { ...target, empty: true } }
  const rewritten = { ...target, file: '2' }
  it.each<[string, Parameters<typeof mayBeEmptied>, boolean]>([
    ['another file', [row, before, rewritten, '0'], true],
    ['the same file', [row, before, target, '0'], false],
    ['first look', [row, undefined, rewritten, '0'], false],
    ['dropped', [row, before, undefined, '0'], false],
    ['emptied by Millrace', [row, before, rewritten, '1'], false],
    ['empty before, and nothing was written', [row, empty, rewritten, '0'], false],
    ['empty before, and filled since', [{ ...row, version: 8n }, empty, rewritten, '0'], true],
  ])('%s', (_name, given, expected) => {
    expect(mayBeEmptied(...given)).toBe(expected)
  })
})
