import { describe, expect, it } from 'vitest'
import { type Ended, type Footprint, findCycle, parseSnapshot } from './conflicts.ts'

const snapshot = (text: string) => parseSnapshot(text)
const footprint = (id: number, at: string | undefined, reads: number[], writes: number[]): Footprint => ({
  id,
  snapshot: at === undefined ? undefined : snapshot(at),
  reads: new Set(reads),
  writes: new Set(writes),
})
const ended = (
  id: number,
  at: string,
  order: number,
  xid: bigint,
  reads: number[],
  writes: number[],
): Ended => ({
  ...footprint(id, at, reads, writes),
  order,
  xid,
})

describe('cycles', () => {
  // Transaction 1 took its snapshot at 10:10:, transaction 2 wrote as xid 10 and committed after that.
  const early = '10:10:'
  it.each<[string, Footprint, Ended[], number[] | undefined]>([
    ['two that only insert', footprint(1, early, [], [5]), [ended(2, early, 1, 10n, [], [5])], undefined],
    [
      'two that read and write one table',
      footprint(1, early, [5], [5]),
      [ended(2, early, 1, 10n, [5], [5])],
      [1, 2],
    ],
    [
      'an update after an insert it does not see',
      footprint(1, early, [5], [5]),
      [ended(2, early, 1, 10n, [], [5])],
      [1, 2],
    ],
    [
      'an insert after an update',
      footprint(1, early, [], [5]),
      [ended(2, early, 1, 10n, [5], [5])],
      undefined,
    ],
    ['write skew', footprint(1, early, [5], [6]), [ended(2, early, 1, 10n, [6], [5])], [1, 2]],
    [
      'one reads what the other wrote, no more',
      footprint(1, early, [5], [6]),
      [ended(2, early, 1, 10n, [], [5])],
      undefined,
    ],
    ['different tables', footprint(1, early, [5], [5]), [ended(2, early, 1, 10n, [6], [6])], undefined],
    [
      'a snapshot after the other commit',
      footprint(1, '11:11:', [5], [5]),
      [ended(2, early, 1, 10n, [5], [5])],
      undefined,
    ],
    ['a reader', footprint(1, early, [5, 6], []), [ended(2, early, 1, 10n, [6], [5])], undefined],
    [
      'around three tables',
      footprint(1, early, [5], [7]),
      [ended(2, early, 1, 10n, [6], [5]), ended(3, early, 2, 11n, [7], [6])],
      [1, 2, 3],
    ],
    [
      'around three tables, one of them unread',
      footprint(1, early, [5], [7]),
      [ended(2, early, 1, 10n, [6], [5]), ended(3, early, 2, 11n, [], [6])],
      undefined,
    ],
    [
      'through one that ended before the snapshot',
      // 3 ended before 1 began, 2 began before 3 ended and did not see it.
      footprint(1, '12:12:', [5], [7]),
      [ended(3, early, 1, 11n, [7], [6]), ended(2, early, 2, 12n, [6], [5])],
      [1, 2, 3],
    ],
  ])('%s', (_, transaction, others, cycle) => {
    expect(findCycle(transaction, others)?.transactions).toEqual(cycle)
  })

  it('names the table that broke the order', () => {
    expect(findCycle(footprint(1, early, [5], [6]), [ended(2, early, 1, 10n, [6], [5])])?.table).toBe(5)
  })
})

describe('snapshots', () => {
  it('are read as PostgreSQL prints them', () => {
    expect(snapshot('10:20:12,15')).toEqual({ xmin: 10n, xmax: 20n, running: new Set([12n, 15n]) })
    expect(snapshot('10:10:')).toEqual({ xmin: 10n, xmax: 10n, running: new Set() })
  })

  it('do not see transactions that were running', () => {
    const reader = footprint(1, '10:20:15', [5], [5])
    expect(findCycle(reader, [ended(2, '10:10:', 1, 14n, [5], [5])])).toBeUndefined()
    expect(findCycle(reader, [ended(2, '10:10:', 1, 15n, [5], [5])])).toBeDefined()
    expect(findCycle(reader, [ended(2, '10:10:', 1, 20n, [5], [5])])).toBeDefined()
  })
})
