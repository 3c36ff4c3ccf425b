import { describe, expect, it } from 'vitest'
import { type Placed, place } from './place.ts'

describe('place', () => {
  it.each<
    [string, readonly (readonly [base: bigint, count: number])[], { first: bigint; end: bigint } | undefined]
  >([
    ['one chunk', [[7n, 3]], { first: 7n, end: 10n }],
    [
      'one behind the other',
      [
        [7n, 3],
        [10n, 2],
      ],
      { first: 7n, end: 12n },
    ],
    [
      'with those of another writer between',
      [
        [7n, 3],
        [15n, 2],
      ],
      { first: 7n, end: 17n },
    ],
    [
      'in a topic that was made anew between them',
      [
        [7n, 3],
        [0n, 2],
      ],
      { first: -3n, end: 2n },
    ],
    [
      'and even in one that was empty before',
      [
        [0n, 3],
        [0n, 2],
      ],
      { first: -3n, end: 2n },
    ],
    [
      'repeated after a lost answer',
      [
        [7n, 3],
        [-1n, 2],
      ],
      { first: 7n, end: 12n },
    ],
    ['the only one repeated', [[-1n, 2]], undefined],
  ])('%s', (_name, chunks, expected) => {
    const placed: Placed = new Map()
    for (const [base, count] of chunks) place(placed, 't', base, count)
    const found = placed.get('t')
    expect(found && { first: found.first, end: found.end }).toEqual(expected)
  })
})
