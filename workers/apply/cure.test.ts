import { describe, expect, it } from 'vitest'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import { isCureUnderWay } from './cure.ts'

const backfill = (destinationTable: string, phase?: string, spec: object = {}, metadata: object = {}) =>
  ({
    metadata,
    spec: { destinationTable, cancel: false, suspend: false, ...spec },
    ...(phase && { status: { phase } }),
  }) as TableBackfill

const first = backfill('DoNothing', 'Preparing')

describe('isCureUnderWay (R21)', () => {
  it.each([
    ['nothing', [], false],
    ['a copy on top', [first], false],
    ['one that empties', [backfill('Truncate', 'Preparing')], true],
    ['one that has emptied', [backfill('Drop', 'Backfilling')], true],
    ['one that is over', [backfill('Drop', 'Streaming'), first], false],
    ['one whose turn has not come', [backfill('Drop', 'Queued')], false],
    [
      'one that waits behind a copy on top, which waits for the table',
      [first, backfill('Drop', 'Queued')],
      true,
    ],
    ['the same, seen by nobody yet', [first, backfill('Truncate')], true],
    ['a copy on top behind another', [first, backfill('DoNothing', 'Queued')], false],
    ['one that waits, suspended', [first, backfill('Drop', 'Queued', { suspend: true })], false],
    ['one that waits, cancelled', [first, backfill('Drop', 'Queued', { cancel: true })], false],
    ['one that is going', [first, backfill('Drop', 'Preparing', {}, { deletionTimestamp: 'now' })], false],
    [
      'one behind what is going',
      [backfill('DoNothing', 'Preparing', { cancel: true }), backfill('Drop')],
      false,
    ],
  ])('%s', (_what, backfills, expected) => {
    expect(isCureUnderWay(backfills)).toBe(expected)
  })
})
