import { describe, expect, it } from 'vitest'
import type { RowLine } from '../queue/format.ts'
import { addKeylessChange, createMultiset } from './keyless.ts'
import { createLayout } from './layout.ts'

const column = (name: string, constantDefault?: string) => ({
  name,
  type: 'text',
  typeOid: 25,
  typeModifier: -1,
  typeKind: 'base' as const,
  baseType: 'text',
  notNull: false,
  ...(constantDefault !== undefined && { constantDefault }),
})
const definition = {
  schema: 'public',
  name: 't',
  oid: 1,
  columns: [column('a'), column('b', '7')],
  key: [],
  replicaIdentity: 'full' as const,
  partitioned: false,
}
const layout = createLayout(
  [
    ['a', 'text', 0],
    ['b', 'text', 0],
  ],
  definition,
)
const older = createLayout([['a', 'text', 0]], definition)

function counts(lines: readonly RowLine[], of = layout) {
  const batch = createMultiset()
  for (const line of lines) addKeylessChange(batch, of, line)
  return {
    truncate: batch.truncate,
    counts: [...batch.counts.values()].map(({ image, count }) => [...image, count]),
  }
}

describe('addKeylessChange', () => {
  it.each([
    [
      'counts equal rows',
      [
        ['i', 1, ['x', null]],
        ['i', 2, ['x', null]],
        ['d', 3, ['y', '1']],
      ],
      [
        ['x', null, 2],
        ['y', '1', -1],
      ],
    ],
    [
      'an update takes one away and adds one',
      [['u', 1, ['x', '2'], ['x', '1']]],
      [
        ['x', '1', -1],
        ['x', '2', 1],
      ],
    ],
    [
      'what comes and goes is nothing',
      [
        ['i', 1, ['x', '1']],
        ['u', 2, ['x', '2'], ['x', '1']],
        ['d', 3, ['x', '2']],
      ],
      [],
    ],
    [
      'NULL, empty and text that looks like either are different',
      [
        ['i', 1, [null, '']],
        ['i', 2, ['', null]],
        ['i', 3, ['null', '']],
      ],
      [
        [null, '', 1],
        ['', null, 1],
        ['null', '', 1],
      ],
    ],
  ] as [string, RowLine[], unknown[]][])('%s', (_name, lines, expected) => {
    expect(counts(lines)).toEqual({ truncate: false, counts: expected })
  })

  it('forgets everything at a truncate', () => {
    const lines: RowLine[] = [
      ['i', 1, ['x', '1']],
      ['t', 2],
      ['i', 3, ['y', '1']],
    ]
    expect(counts(lines)).toEqual({ truncate: true, counts: [['y', '1', 1]] })
  })

  it('gives a row that is older than a column the default of that column', () => {
    expect(counts([['i', 1, ['x']]], older).counts).toEqual([['x', '7', 1]])
  })

  it('refuses a change without the whole old row', () => {
    expect(() => counts([['u', 1, ['x', '2']]])).toThrow(/REPLICA IDENTITY FULL/)
    expect(() => counts([['u', 1, ['x', 0], ['x', '1']]])).toThrow(/REPLICA IDENTITY FULL/)
  })
})
