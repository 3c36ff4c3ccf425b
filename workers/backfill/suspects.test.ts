import { describe, expect, it } from 'vitest'
import type { RowDigest } from '../source/verify-read.ts'
import { type Bracket, differingRows, judgeBracket, keyLabel, type Suspect } from './suspects.ts'

const row = (hash: string, version = hash): RowDigest => ({ key: ['1'], hash, version, slice: 0 })
const suspect: Suspect = { key: ['1'], range: 0, confirmed: 0, brackets: 0 }
const sure: Suspect = { ...suspect, confirmed: 1, brackets: 1 }

describe('judgeBracket', () => {
  it.each<[string, Suspect, Bracket, object]>([
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
      sure,
      { before: undefined, destination: row('b'), after: undefined },
      { kind: 'different', how: 'Extra' },
    ],
    [
      'never at rest',
      { ...suspect, brackets: 29 },
      { before: row('a', '1'), destination: row('b'), after: row('c', '2') },
      { kind: 'undecided' },
    ],
  ])('%s', (_name, of, bracket, expected) => {
    expect(judgeBracket(of, bracket, (a, b) => a === b)).toMatchObject(expected)
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
