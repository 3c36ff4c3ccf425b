import { describe, expect, it } from 'vitest'
import { compareLeaves, type FingerprintLeaf, type PartitionFacts, wholeTruncation } from './leaves.ts'

const facts: PartitionFacts = { persistence: 'p', tablespace: 0, identity: ['id'], attached: ['7:100'] }
const leaf = (change: Partial<PartitionFacts> = {}): FingerprintLeaf => ({
  oid: 7,
  name: 'p7',
  filenode: '7',
  partition: { ...facts, ...change },
})
const unremembered: FingerprintLeaf = { oid: 7, name: 'p7', filenode: '7' }
const other: FingerprintLeaf = { ...leaf(), oid: 8, name: 'p8' }
const nothing = {
  filled: new Set<number>(),
  emptied: new Map<number, string>(),
  altered: new Set<string>(),
  odd: new Set<string>(),
}

describe('compareLeaves', () => {
  it.each<[string, FingerprintLeaf, FingerprintLeaf, readonly string[], RegExp | undefined]>([
    ['the same', leaf(), leaf(), ['id'], undefined],
    ['a record without particulars', unremembered, leaf({ attached: ['7:101'] }), ['id'], undefined],
    [
      'another attachment',
      leaf(),
      leaf({ attached: ['7:101'] }),
      ['id'],
      /p7 was detached and attached again/,
    ],
    ['SET UNLOGGED', leaf(), leaf({ persistence: 'u' }), ['id'], undefined],
    ['SET LOGGED', leaf({ persistence: 'u' }), leaf(), ['id'], /p7 was unlogged/],
    ['an identity that fails', leaf(), leaf({ identity: ['u'] }), ['id'], undefined],
    ['one that failed, mended', leaf({ identity: ['u'] }), leaf(), ['id'], /p7 had deletes/],
    ['one that failed, otherwise', leaf({ identity: ['u'] }), leaf({ identity: ['v'] }), ['id'], undefined],
    ['one that let nothing pass', leaf({ identity: [] }), leaf(), ['id'], undefined],
    ['a key where rows have none', leaf(), leaf({ identity: 'full' }), [], /p7 had deletes/],
    ['a larger identity', leaf({ identity: ['id', 'u'] }), leaf({ identity: 'full' }), ['id'], undefined],
  ])('%s', (_, before, after, key, message) => {
    const found = compareLeaves([before], [after], key, nothing)
    if (message) expect(found).toMatch(message)
    else expect(found).toBeUndefined()
  })

  it('takes an emptied one for a change, and a new one that was filled', () => {
    const emptied = { ...nothing, emptied: new Map([[7, '100']]) }
    expect(compareLeaves([leaf()], [leaf()], ['id'], emptied)).toMatch(/p7 was emptied/)
    const filled = { ...nothing, filled: new Set([8]) }
    expect(compareLeaves([leaf()], [leaf(), other], ['id'], filled)).toMatch(/p8 was attached with rows/)
  })
})

describe('wholeTruncation', () => {
  it.each<[string, [number, string][], string | undefined]>([
    ['none', [], undefined],
    ['one of two', [[7, '100']], undefined],
    [
      'two by two',
      [
        [7, '100'],
        [8, '101'],
      ],
      undefined,
    ],
    [
      'two by one',
      [
        [7, '100'],
        [8, '100'],
      ],
      '100',
    ],
  ])('%s', (_, emptied, xid) => {
    const created = { ...leaf(), oid: 9 }
    expect(wholeTruncation([leaf(), other], [leaf(), other, created], new Map(emptied))).toBe(xid)
  })
})
