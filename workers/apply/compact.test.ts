import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RowLine } from '../queue/format.ts'
import type { TableDefinition } from '../source/table.ts'
import { addChange, createCompaction, type Entry } from './compact.ts'
import { createLayout } from './layout.ts'

type Value = string | null | undefined

const column = (name: string) => ({
  name,
  type: 'text',
  typeOid: 25,
  typeModifier: -1,
  typeKind: 'base' as const,
  baseType: 'text',
  notNull: false,
})

const definition = (key: string[], ...columns: string[]): TableDefinition => ({
  schema: 'public',
  name: 't',
  oid: 1,
  columns: columns.map(column),
  key,
  replicaIdentity: 'default',
  partitioned: false,
})

const headerOf = (key: string[], ...columns: string[]) =>
  columns.map((name) => [name, 'text', key.indexOf(name) + 1] as const)

const layout = createLayout(headerOf(['k'], 'k', 'v', 't'), definition(['k'], 'k', 'v', 't'))
const older = createLayout(headerOf(['k'], 'k', 'v'), definition(['k'], 'k', 'v', 't'))

function compact(lines: readonly RowLine[], options: { unknown?: boolean; layout?: typeof layout } = {}) {
  const batch = createCompaction()
  for (const [index, line] of lines.entries()) {
    const transaction = { lsn: BigInt(index + 1), xid: index + 1 }
    addChange(batch, options.layout ?? layout, line, transaction, options.unknown ?? false)
  }
  return batch
}

const shown = (entry: Entry) => (entry.image === undefined ? 'deleted' : [...entry.image, entry.reread])

describe('addChange', () => {
  const cases: [string, RowLine[], Record<string, unknown>, Parameters<typeof compact>[1]?][] = [
    ['an insert', [['i', 1, ['1', 'a', 'x']]], { 1: ['1', 'a', 'x', false] }],
    [
      'last image wins',
      [
        ['i', 1, ['1', 'a', 'x']],
        ['u', 2, ['1', 'b', 'y']],
      ],
      { 1: ['1', 'b', 'y', false] },
    ],
    [
      'an unchanged value comes from an earlier image of the batch',
      [
        ['i', 1, ['1', 'a', 'x']],
        ['u', 2, ['1', 'b', 0]],
      ],
      { 1: ['1', 'b', 'x', false] },
    ],
    ['else from the row in the destination', [['u', 1, ['1', 'b', 0]]], { 1: ['1', 'b', undefined, false] }],
    [
      'R17: from the source while the history is unknown',
      [['u', 1, ['1', 'b', 0]]],
      { 1: ['1', 'b', undefined, true] },
      { unknown: true },
    ],
    [
      'null and empty are values',
      [
        ['i', 1, ['1', 'a', 'x']],
        ['u', 2, ['1', null, '']],
      ],
      { 1: ['1', null, '', false] },
    ],
    ['a delete of a row that is not in the batch', [['d', 1, ['1']]], { 1: 'deleted' }],
    ['a delete with the whole old row', [['d', 1, ['1', 'a', 'x']]], { 1: 'deleted' }],
    [
      'an insert over a delete',
      [
        ['d', 1, ['1']],
        ['i', 2, ['1', 'b', 'y']],
      ],
      { 1: ['1', 'b', 'y', false] },
    ],
    [
      'an unchanged value behind a delete is not the deleted row’s',
      [
        ['d', 1, ['1']],
        ['u', 2, ['1', 'b', 0]],
      ],
      { 1: ['1', 'b', undefined, true] },
    ],
    [
      'R16: a key change takes unchanged values along',
      [
        ['i', 1, ['1', 'a', 'x']],
        ['u', 2, ['2', 'a', 0], ['1']],
      ],
      { 1: 'deleted', 2: ['2', 'a', 'x', false] },
    ],
    [
      'R16: but never from the destination’s row',
      [['u', 1, ['2', 'a', 0], ['1']]],
      { 1: 'deleted', 2: ['2', 'a', undefined, true] },
    ],
    [
      'R16: not even by way of an earlier image',
      [
        ['u', 1, ['1', 'b', 0]],
        ['u', 2, ['2', 'b', 0], ['1']],
      ],
      { 1: 'deleted', 2: ['2', 'b', undefined, true] },
    ],
    [
      'a value that is to be read again stays so until a change brings it',
      [
        ['u', 1, ['2', 'a', 0], ['1']],
        ['u', 2, ['2', 'b', 0]],
      ],
      { 1: 'deleted', 2: ['2', 'b', undefined, true] },
    ],
    [
      'and is not once one has',
      [
        ['u', 1, ['2', 'a', 0], ['1']],
        ['u', 2, ['2', 'b', 'z']],
      ],
      { 1: 'deleted', 2: ['2', 'b', 'z', false] },
    ],
    [
      'two rows that exchange their keys',
      [
        ['u', 1, ['9', 'a', 'x'], ['1']],
        ['u', 2, ['1', 'b', 0], ['2']],
        ['u', 3, ['2', 'a', 0], ['9']],
      ],
      { 9: 'deleted', 1: ['1', 'b', undefined, true], 2: ['2', 'a', 'x', false] },
    ],
    ['an old key that is the same', [['u', 1, ['1', 'a', 0], ['1']]], { 1: ['1', 'a', undefined, false] }],
    [
      'R19: a change that is older than a column lacks it',
      [['i', 1, ['1', 'a']]],
      { 1: ['1', 'a', undefined, false] },
      { layout: older },
    ],
    [
      'R19: and does not take it from a row that was there before it',
      [
        ['d', 1, ['1']],
        ['i', 2, ['1', 'a']],
      ],
      { 1: ['1', 'a', undefined, true] },
      { layout: older },
    ],
  ]

  it.each(cases)('%s', (_name, lines, expected, options) => {
    const batch = compact(lines, options)
    const found = Object.fromEntries([...batch.entries].map(([key, entry]) => [key, shown(entry)]))
    expect(found).toEqual(expected)
    expect(batch.rereads).toBe([...batch.entries.values()].filter((entry) => entry.reread).length)
  })

  it('forgets everything at a truncate', () => {
    const batch = compact([
      ['u', 1, ['2', 'a', 0], ['1']],
      ['t', 2],
      ['i', 3, ['1', 'c', 'z']],
    ])
    expect(batch.truncate).toBe(true)
    expect(batch.rereads).toBe(0)
    expect([...batch.entries.keys()]).toEqual(['1'])
  })

  it('remembers the last transaction of each key', () => {
    const batch = compact([
      ['i', 1, ['1', 'a', 'x']],
      ['i', 2, ['2', 'a', 'x']],
      ['u', 3, ['1', 'b', 0]],
    ])
    expect(batch.entries.get('1')).toMatchObject({ lsn: 3n, xid: 3 })
    expect(batch.entries.get('2')).toMatchObject({ lsn: 2n, xid: 2 })
  })

  it('keeps keys of several columns apart, in key order', () => {
    const wide = createLayout(headerOf(['b', 'a'], 'a', 'b', 'v'), definition(['b', 'a'], 'a', 'b', 'v'))
    const batch = compact(
      [
        ['i', 1, ['1', '23', 'x']],
        ['i', 2, ['12', '3', 'y']],
        ['d', 3, ['23', '1']],
      ],
      { layout: wide },
    )
    expect([...batch.entries.values()].map((entry) => [entry.key, shown(entry)])).toEqual([
      [['23', '1'], 'deleted'],
      [
        ['3', '12'],
        ['12', '3', 'y', false],
      ],
    ])
  })

  it('refuses a row without a key', () => {
    expect(() => compact([['i', 1, [null, 'a', 'x']]])).toThrow(/has no key/)
    expect(() => compact([['u', 1, [0, 'a', 'x']]])).toThrow(/has no key/)
  })
})

/** What a source does: each step names keys among few, so that they meet. */
type Step = {
  op: 'insert' | 'update' | 'delete' | 'move' | 'truncate'
  key: number
  to: number
  toast: boolean
}

interface Source {
  readonly rows: Map<string, Value[]>
  readonly lines: RowLine[]
}

/** Plays steps as PostgreSQL would: what makes no sense does nothing; a value that does not change is not sent. */
function play(source: Source, steps: readonly Step[]): void {
  for (const [index, { op, key, to, toast }] of steps.entries()) {
    const [from, target] = [String(key), String(to)]
    const old = source.rows.get(from)
    const fresh = `${source.lines.length}-${index}`
    if (op === 'truncate') {
      source.rows.clear()
      source.lines.push(['t', index])
    } else if (op === 'insert' && !old) {
      source.rows.set(from, [from, fresh, `t${fresh}`])
      source.lines.push(['i', index, [from, fresh, `t${fresh}`]])
    } else if (op === 'delete' && old) {
      source.rows.delete(from)
      source.lines.push(['d', index, [from]])
    } else if (op === 'update' && old) {
      const text = toast ? `t${fresh}` : old[2]
      source.rows.set(from, [from, fresh, text])
      source.lines.push(['u', index, [from, fresh, toast ? `t${fresh}` : 0]])
    } else if (op === 'move' && old && !source.rows.has(target)) {
      const text = toast ? `t${fresh}` : old[2]
      source.rows.delete(from)
      source.rows.set(target, [target, fresh, text])
      source.lines.push(['u', index, [target, fresh, toast ? `t${fresh}` : 0], [from]])
    }
  }
}

/** A destination as the port describes it; returns the keys that lack a row. */
function write(rows: Map<string, Value[]>, entries: Iterable<Entry>, truncate: boolean): string[] {
  if (truncate) rows.clear()
  const all = [...entries]
  for (const { key, image } of all) if (!image) rows.delete(key[0] as string)
  const missing: string[] = []
  for (const { key, image } of all) {
    if (!image) continue
    const before = rows.get(key[0] as string)
    if (image.includes(undefined) && !before) missing.push(key[0] as string)
    else
      rows.set(
        key[0] as string,
        image.map((value, index) => (value === undefined ? before?.[index] : value)),
      )
  }
  return missing
}

describe('compaction and a destination', () => {
  const step = fc.record<Step>({
    op: fc.constantFrom(
      'insert',
      'insert',
      'update',
      'update',
      'update',
      'delete',
      'move',
      'move',
      'truncate',
    ),
    key: fc.integer({ min: 0, max: 4 }),
    to: fc.integer({ min: 0, max: 4 }),
    toast: fc.boolean(),
  })

  it('end in what the source has, however the changes are cut into batches', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 12 }),
        fc.array(step, { maxLength: 40 }),
        fc.array(fc.nat({ max: 40 }), { maxLength: 6 }),
        fc.boolean(),
        (before, steps, cuts, unknown) => {
          const source: Source = { rows: new Map(), lines: [] }
          play(source, before)
          // With unknown history the rows that are there are none of the source's.
          const destination = new Map(
            [...source.rows].map(([key, row]) => [key, unknown ? [key, 'old', 'old'] : [...row]]),
          )
          const start = source.lines.length
          // What a server says that is read at the very end: it is past every change.
          play(source, steps)
          const lines = source.lines.slice(start)
          const bounds = [0, ...cuts.filter((cut) => cut < lines.length).sort((a, b) => a - b), lines.length]
          for (const [index, from] of bounds.slice(0, -1).entries()) {
            const batch = compact(lines.slice(from, bounds[index + 1]), { unknown })
            const again = new Set([...batch.entries.values()].filter(({ reread }) => reread))
            const resolve = (entry: Entry) => {
              const row = source.rows.get(entry.key[0] as string)
              // Gone: a delete follows, the change is dropped (rule R18).
              if (!row) batch.entries.delete(entry.key[0] as string)
              else entry.image = entry.image?.map((value, at) => (value === undefined ? row[at] : value))
            }
            for (const entry of again) resolve(entry)
            const copy = new Map([...destination].map(([key, row]) => [key, [...row]]))
            const missing = write(copy, batch.entries.values(), batch.truncate)
            for (const key of missing) resolve(batch.entries.get(key) as Entry)
            expect(write(destination, batch.entries.values(), batch.truncate)).toEqual([])
          }
          const touched = unknown
            ? new Set(lines.flatMap((line) => (line[0] === 'u' ? [line[2][0]] : [])))
            : undefined
          for (const [key, row] of source.rows) {
            // A row that nothing has touched is still the old one; the backfill's part, not compaction's.
            if (unknown && !touched?.has(key) && destination.get(key)?.[1] === 'old') continue
            expect(destination.get(key)).toEqual(row)
          }
          for (const key of destination.keys()) expect(source.rows.has(key)).toBe(true)
        },
      ),
      { numRuns: 3000 },
    )
  }, 60_000)
})
