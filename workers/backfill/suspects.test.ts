import { describe, expect, it } from 'vitest'
import type { RowDigest } from '../source/verify-read.ts'
import { type Bracket, differingRows, judgeBracket, keyLabel, type Suspect } from './suspects.ts'

const row = (hash: string, version = hash): RowDigest => ({ key: ['1'], hash, version, slice: 0 })
const suspect: Suspect = { key: ['1'], range: 0, confirmed: 0, extra: '', brackets: 0 }
const sure: Suspect = { ...suspect, confirmed: 1, brackets: 1 }
/** What brackets agreed on that saw this row where the source had none. */
const seen = (destination: RowDigest): Pick<Suspect, 'extra'> => {
  const bracket = { before: undefined, destination, after: undefined, isAllVisible: true }
  const verdict = judgeBracket(suspect, bracket, () => false)
  return { extra: verdict.kind === 'again' ? verdict.suspect.extra : '' }
}

describe('judgeBracket', () => {
  it.each<[string, Suspect, Omit<Bracket, 'isAllVisible'>, object]>([
    [
      'equal by now',
      suspect,
      { before: row('a'), destination: row('a'), after: row('a') },
      { kind: 'equal' },
    ],
    [
      'gone on both sides',
      suspect,
      { before: undefined, destination: undefined, after: undefined },
      { kind: 'equal' },
    ],
    [
      'changed meanwhile to what the destination has',
      sure,
      { before: row('a'), destination: row('b'), after: row('b') },
      { kind: 'equal' },
    ],
    [
      'deleted meanwhile, and gone there',
      sure,
      { before: row('a'), destination: undefined, after: undefined },
      { kind: 'equal' },
    ],
    [
      'touched meanwhile: nothing follows from it',
      sure,
      { before: row('a', '1'), destination: row('b'), after: row('a', '2') },
      { kind: 'again', suspect: { confirmed: 0, brackets: 2 } },
    ],
    [
      'different for the first time',
      suspect,
      { before: row('a'), destination: row('b'), after: row('a') },
      { kind: 'again', suspect: { confirmed: 1, brackets: 1 } },
    ],
    [
      'changed',
      sure,
      { before: row('a'), destination: row('b'), after: row('a') },
      { kind: 'different', how: 'Changed' },
    ],
    [
      'missing',
      sure,
      { before: row('a'), destination: undefined, after: row('a') },
      { kind: 'different', how: 'Missing' },
    ],
    [
      'extra',
      { ...sure, ...seen(row('b')) },
      { before: undefined, destination: row('b'), after: undefined },
      { kind: 'different', how: 'Extra' },
    ],
    [
      'extra, but written again meanwhile: it may have come and gone at the source',
      { ...sure, ...seen(row('b', '1')) },
      { before: undefined, destination: row('b', '2'), after: undefined },
      { kind: 'again', suspect: { confirmed: 1, ...seen(row('b', '2')) } },
    ],
    [
      'extra, after the source had another one',
      sure,
      { before: undefined, destination: row('b'), after: undefined },
      { kind: 'again', suspect: { confirmed: 1, ...seen(row('b')) } },
    ],
    [
      'changed, after the source had none',
      { ...sure, ...seen(row('b')) },
      { before: row('a'), destination: row('b'), after: row('a') },
      { kind: 'again', suspect: { confirmed: 1, extra: '' } },
    ],
    [
      'extra where there are no versions, a few times',
      { ...sure, ...seen(row('b', '')), confirmed: 6 },
      { before: undefined, destination: row('b', ''), after: undefined },
      { kind: 'again', suspect: { confirmed: 7 } },
    ],
    [
      'extra where there are no versions, often',
      { ...sure, ...seen(row('b', '')), confirmed: 7 },
      { before: undefined, destination: row('b', ''), after: undefined },
      { kind: 'different', how: 'Extra' },
    ],
    [
      'never at rest',
      { ...suspect, brackets: 29 },
      { before: row('a', '1'), destination: row('b'), after: row('c', '2') },
      { kind: 'undecided' },
    ],
  ])('%s', (_name, of, bracket, expected) => {
    expect(judgeBracket(of, { ...bracket, isAllVisible: true }, (a, b) => a === b)).toMatchObject(expected)
  })
})

it('nothing follows from a bracket in which the source may not have shown everything', () => {
  const bracket = { before: row('a'), destination: row('b'), after: row('a'), isAllVisible: false }
  expect(judgeBracket(sure, bracket, (a, b) => a === b)).toMatchObject({
    kind: 'again',
    suspect: { confirmed: 0 },
  })
})

describe('rows that come and go under one key', () => {
  /** How many of 500 are reported that come and go in the rhythm of the brackets, which begin at random moments. */
  function reported(isVersioned: boolean): number {
    let seed = 1
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed / 2_147_483_647
    }
    const at = (moment: number): RowDigest | undefined => {
      const number = Math.floor(moment / 100)
      return number % 2 === 0 ? row('a', String(number)) : undefined
    }
    let count = 0
    for (let run = 0; run < 500; run += 1) {
      let one: Suspect = suspect
      for (let moment = 200 * random(); ; moment += 300 + 200 * random()) {
        const found = at(moment + 80 + 40 * random())
        const destination = found && !isVersioned ? { ...found, version: '' } : found
        const bracket = { before: at(moment), destination, after: at(moment + 200), isAllVisible: true }
        const verdict = judgeBracket(one, bracket, (a, b) => a === b)
        if (verdict.kind === 'different') count += 1
        if (verdict.kind !== 'again') break
        one = verdict.suspect
      }
    }
    return count
  }

  it('are never called extra where versions tell, and hardly ever where there are none', () => {
    expect(reported(true)).toBe(0)
    expect(reported(false)).toBeLessThan(5)
  })
})

describe('differingRows', () => {
  it('finds what is changed, missing and extra', () => {
    const of = (key: string, hash: string): RowDigest => ({ key: [key], hash, version: '', slice: 0 })
    const source = [of('1', 'a'), of('2', 'b'), of('3', 'c')]
    const destination = [of('4', 'd'), of('2', 'x'), of('1', 'a')]
    expect(differingRows(source, destination).map(({ key }) => key)).toEqual([['2'], ['3'], ['4']])
    expect(differingRows(source, [...source, of('2', 'b')]).map(({ key }) => key)).toEqual([['2']])
    expect(differingRows(source, source)).toEqual([])
  })
})

describe('keyLabel', () => {
  it.each([
    [['7'], '7'],
    [['7', 'x,y'], '["7","x,y"]'],
  ])('%j is %s', (key, label) => {
    expect(keyLabel(key)).toBe(label)
  })
})
