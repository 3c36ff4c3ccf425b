import { describe, expect, it } from 'vitest'
import { assertOwnRecord, decideStart, type Found } from './start.ts'

const record = { epoch: 2, lsn: 100n, systemIdentifier: 'sys', timeline: 1, owner: 'me' }
const good: Found = {
  record,
  slot: { confirmed: 100n, invalidated: undefined },
  systemIdentifier: 'sys',
  timeline: 1,
  owner: 'me',
  logEnd: 1000n,
  hasPast: true,
  unusable: undefined,
  now: Date.UTC(2026, 0, 2),
}
const day = 86_400

describe('assertOwnRecord', () => {
  it.each<[string, Parameters<typeof assertOwnRecord>, boolean]>([
    ['another one’s that came after its own', [record, 'you', true], true],
    ['another one’s that was there before', [record, 'you', false], false],
    ['its own', [record, 'me', true], false],
    ['one of before owners were remembered', [{ ...record, owner: undefined }, 'me', true], false],
    ['none', [undefined, 'me', true], false],
  ])('with %s', (_, given, refused) => {
    const check = () => assertOwnRecord(...given)
    if (!refused) expect(check).not.toThrow()
    else expect(check).toThrow(expect.objectContaining({ code: 'QueueConflict', retryable: false }))
  })
})

describe('decideStart', () => {
  it.each<[string, Partial<Found>, object]>([
    ['goes on', {}, { epoch: 2, slot: 'keep', from: 100n, gap: undefined }],
    [
      'goes on from the record when the slot is behind it',
      { slot: { confirmed: 90n, invalidated: undefined } },
      { epoch: 2, slot: 'keep', from: 100n, gap: undefined },
    ],
    [
      'finds a gap when the slot is ahead of the record',
      { slot: { confirmed: 101n, invalidated: undefined } },
      { epoch: 3, slot: 'keep', from: undefined, gap: { code: 'SlotLost' } },
    ],
    [
      'finds a gap when the log ends before the record: a backup was restored',
      { logEnd: 99n },
      { epoch: 3, slot: 'keep', from: undefined, gap: { code: 'SourceChanged' } },
    ],
    [
      'goes on when the log ends at the record',
      { logEnd: 100n },
      { epoch: 2, slot: 'keep', from: 100n, gap: undefined },
    ],
    [
      'finds a gap when the slot is gone',
      { slot: undefined },
      { epoch: 3, slot: 'create', from: undefined, gap: { code: 'SlotLost' } },
    ],
    [
      'finds a gap again that was found before, whatever is there now',
      { record: { ...record, gap: { code: 'SourceChanged', message: 'restored' } } },
      { epoch: 3, slot: 'keep', from: undefined, gap: { code: 'SourceChanged', message: 'restored' } },
    ],
    [
      'finds a gap when the slot was invalidated',
      { slot: { confirmed: 100n, invalidated: 'wal_removed' } },
      {
        epoch: 3,
        slot: 'replace',
        from: undefined,
        gap: { code: 'SlotLost', message: expect.stringContaining('wal_removed') },
      },
    ],
    [
      'finds a gap when the slot could not be read',
      { unusable: 'its publication was dropped' },
      { epoch: 3, slot: 'replace', from: undefined, gap: { code: 'SlotLost' } },
    ],
    [
      'finds a gap on a new timeline, whatever the positions',
      { timeline: 2, slot: { confirmed: 90n, invalidated: undefined } },
      { epoch: 3, slot: 'keep', from: undefined, gap: { code: 'SourceChanged' } },
    ],
    [
      'finds a gap on a new timeline without a slot',
      { timeline: 2, slot: undefined },
      { epoch: 3, slot: 'create', from: undefined, gap: { code: 'SourceChanged' } },
    ],
    [
      'finds a gap on another cluster',
      { systemIdentifier: 'other', slot: undefined },
      { epoch: 3, slot: 'create', gap: { code: 'SourceChanged' } },
    ],
    [
      'begins anew where a Pipeline has ended and its slot is gone',
      { owner: 'another', slot: undefined },
      { epoch: 3, slot: 'create', from: undefined, gap: undefined, anew: true },
    ],
    [
      'begins anew again when its first start was cut off behind the slot',
      { owner: 'another', slot: { confirmed: 200n, invalidated: undefined } },
      { epoch: 3, slot: 'keep', from: undefined, gap: undefined, anew: true },
    ],
    [
      'goes on where a Pipeline has ended and left its slot',
      { owner: 'another' },
      { epoch: 2, slot: 'keep', from: 100n, gap: undefined },
    ],
    [
      'finds a gap when the slot is gone and the record does not say whose it is',
      { record: { ...record, owner: undefined }, slot: undefined },
      { epoch: 3, slot: 'create', gap: { code: 'SlotLost' } },
    ],
    [
      'begins without a gap where nothing was before',
      { record: undefined, slot: undefined, hasPast: false },
      { epoch: 1, slot: 'create', from: undefined, gap: undefined },
    ],
    [
      'takes the slot of a start that was cut off',
      { record: undefined, hasPast: false },
      { epoch: day, slot: 'keep', from: undefined, gap: undefined },
    ],
    [
      'finds a gap when only its record is gone',
      { record: undefined },
      { epoch: day, slot: 'keep', from: undefined, gap: { code: 'SlotLost' } },
    ],
    [
      'finds a gap when record and slot are gone',
      { record: undefined, slot: undefined },
      { epoch: day, slot: 'create', from: undefined, gap: { code: 'SlotLost' } },
    ],
    [
      'replaces a lost slot without a record',
      { record: undefined, slot: { confirmed: 1n, invalidated: 'x' } },
      { epoch: day, slot: 'replace', from: undefined, gap: { code: 'SlotLost' } },
    ],
  ])('%s', (_, found, start) => {
    expect(decideStart({ ...good, ...found })).toMatchObject(start)
  })
})
