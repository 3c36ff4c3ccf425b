import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import type { LedgerTable } from '../../workers/destination/ledger.ts'
import { useApplyBeds } from './apply-beds.ts'
import { type ApplyBed, hold, never } from './apply-fixture.ts'
import { define } from './destination-postgres-fixture.ts'

const { open, openHeld } = useApplyBeds()
const KV = define('t', ['k integer', 'v text'], ['k'])

describe('a hold', () => {
  it('of a backfill that makes the table anew misses no column that the source has dropped', async () => {
    const { bed, uid } = await openHeld('narrower', 'Drop')
    await query(bed.source.url, 'alter table t drop v')
    await bed.copy(uid, define('t', ['k integer'], ['k']), ['1'])
    await bed.control(0xc00, { control: 'release', lsn: '0/C10', uid })
    await bed.untilQueue('b', 'Drained')
    await bed.rows(0xd00, [['i', 2, ['3']]], { columns: [['k', 'integer', 1]] })
    await bed.untilLedger('the row', (row) => row.position.lsn >= 0xd00n)
    expect(await bed.ledger()).toMatchObject({ needsEmptying: false, historyComplete: true, stopCode: '' })
  })

  it('lets nothing pass until the copy is complete, and is drained by the release', async () => {
    const { bed, uid, worker } = await openHeld('hold')
    expect(await bed.contents()).toEqual(['(1,before)'])
    expect(await bed.untilBackfill(uid, 'held')).toMatchObject({ holdLSN: 0x900n, holdOffset: 2n })
    expect(await bed.ledger()).toMatchObject({ heldBy: uid, nextOffset: 2n, historyComplete: false })
    // A restart finds everything in the ledger.
    await worker.stop()
    const again = bed.run()
    await bed.copy(uid, KV, ['1\tscanned', '7\tseven'])
    await bed.untilContents(['(1,scanned)', '(2,behind)', '(7,seven)'])
    expect(await bed.untilQueue('b', 'Copied')).toMatchObject({ heldLSN: '0/900' })
    expect(await bed.ledger()).toMatchObject({ heldBy: '', historyComplete: false })
    await bed.rows(0xb00, [['d', 2, ['7']]])
    await bed.control(0xc00, { control: 'release', lsn: '0/C10', uid })
    const drained = await bed.untilQueue('b', 'Drained')
    expect(drained).toMatchObject({ historyComplete: true, drainedTime: expect.any(String) })
    expect(await bed.untilBackfill(uid, 'drained')).toBeDefined()
    expect(await bed.contents()).toEqual(['(1,scanned)', '(2,behind)'])
    // Copies of hold and release, written again because an answer was lost, change nothing (R4).
    await bed.control(0xd00, hold(uid, 'b'))
    await bed.control(0xd10, { control: 'release', lsn: '0/D20', uid })
    await bed.rows(0xe00, [['i', 2, ['8', 'eight']]])
    await bed.untilContents(['(1,scanned)', '(2,behind)', '(8,eight)'])
    await again.stop()
    const last = bed.run()
    await bed.rows(0xf00, [['d', 2, ['8']]])
    await bed.untilContents(['(1,scanned)', '(2,behind)'])
    expect(await bed.queueStatus('b')).toEqual(drained)
    await last.stop()
  })

  it.each([
    ['cancel', (bed: ApplyBed) => bed.patchBackfill('b', { cancel: true })],
    ['failure', (bed: ApplyBed) => bed.setPhase('b', 'Failed')],
    ['deletion', (bed: ApplyBed) => bed.removeBackfill('b')],
  ])('ends by %s: the table goes on from the queue', async (how, end) => {
    const { bed, uid } = await openHeld(`end_${how}`)
    await end(bed)
    expect(await bed.untilBackfill(uid, 'closed')).toMatchObject({ closeCode: 'Cancelled' })
    await bed.untilContents(['(1,before)', '(2,behind)'])
    if (how !== 'deletion')
      expect(await bed.untilQueue('b', 'Closed')).toMatchObject({ code: 'Cancelled', historyComplete: false })
  })

  it('that is cancelled after the action emptied the table says that its history is incomplete', async () => {
    const bed = await open('cancel_truncated', { tables: [{ name: 't', initialBackfill: 'Skip' }] })
    const uid = await bed.backfill('b', { destinationTable: 'Truncate' })
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.rows(0x200, [['i', 2, ['1', 'before']]])
    const worker = bed.run()
    await bed.untilContents(['(1,before)'])
    expect(await bed.ledger()).toMatchObject({ historyComplete: true })
    await bed.control(0x900, hold(uid, 'b', 'Truncate'))
    await bed.untilQueue('b', 'Held')
    const held = await bed.destination.ledger.beginAttempt(uid, never)
    const table = await bed.untilLedger('held', (row) => row.heldBy === uid)
    const fence = { uid, attempt: held.attempt }
    await bed.destination.runAction(
      { fence, backfill: held, target: table.destination, definition: KV, options: { deletes: 'Hard' } },
      never,
    )
    await bed.patchBackfill('b', { cancel: true })
    expect(await bed.untilQueue('b', 'Closed')).toMatchObject({ historyComplete: false })
    expect(await bed.untilLedger('free', (row) => row.heldBy === '')).toMatchObject({
      historyComplete: false,
    })
    await worker.stop()
  })

  it('is passed when the API server does not know its backfill, or knows it as over (R8)', async () => {
    const bed = await open('unknown')
    const cancelled = await bed.backfill('b', { cancel: true })
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.control(0x200, hold('00000000-0000-0000-0000-000000000000', 'gone'))
    await bed.control(0x300, hold(cancelled, 'b'))
    await bed.control(0x400, hold('11111111-0000-0000-0000-000000000000', 'b'))
    await bed.rows(0x500, [['i', 2, ['1', 'one']]])
    bed.run()
    await bed.untilContents(['(1,one)'])
    await bed.untilBackfill('00000000-0000-0000-0000-000000000000', 'closed')
    await bed.untilBackfill(cancelled, 'closed')
    await bed.untilBackfill('11111111-0000-0000-0000-000000000000', 'closed')
    expect(await bed.untilQueue('b', 'Closed')).toMatchObject({ code: 'Cancelled' })
  })
})

// Looks at the ledger, and at what the topic still holds, come seldom.
describe.concurrent('a hold whose copy goes on for hours', () => {
  async function expectEnd(what: string, code: string, lose: (bed: ApplyBed) => Promise<void>) {
    const { bed, uid } = await openHeld(`held_${what.replaceAll(/\W/g, '_').slice(0, 24)}`, 'Truncate')
    await lose(bed)
    expect(await bed.untilQueue('b', 'Closed', 60_000)).toMatchObject({ code, historyComplete: false })
    expect(await bed.untilBackfill(uid, 'closed')).toMatchObject({ closeCode: code })
    const told = (row: LedgerTable) => row.needsEmptying && row.stopCode === code
    expect(await bed.untilLedger('told', told)).toMatchObject({ heldBy: '' })
  }

  it('is ended at once by a gap (R22)', async () => {
    await expectEnd('gap', 'SlotLost', (bed) =>
      bed.control(0x50, { control: 'gap', code: 'SlotLost', message: 'dropped' }, { epoch: 2 }),
    )
  })

  const rejoined = { control: 'join', lsn: '0/B10' } as const
  const retyped = { control: 'changed', code: 'TableChanged', message: 'column v was rewritten' } as const
  it.each([
    ['a table that was out of the publication', 'PublicationChanged', (bed) => bed.control(0xb00, rejoined)],
    ['a change that rows do not show', 'TableChanged', (bed) => bed.control(0xb00, retyped)],
    [
      'a topic that was made anew',
      'QueueLost',
      (bed) => bed.rows(0xb00, [['i', 2, ['3', 'three']]], { incarnation: 'other' }),
    ],
    ['records that were deleted', 'QueueLost', (bed) => bed.queue.deleteBefore(bed.topic(), 4n, never)],
    [
      "the table's row in the ledger that was deleted",
      'LedgerChanged',
      async (bed) => void (await query(bed.destinationUrl, 'delete from millrace.tables')),
    ],
    [
      'its own row in the ledger that was deleted',
      'LedgerChanged',
      async (bed) => void (await query(bed.destinationUrl, 'delete from millrace.backfills')),
    ],
  ] as [string, string, (bed: ApplyBed) => Promise<void>][])(
    'is ended at once by %s (R22): %s',
    async (what, code, lose) => await expectEnd(what, code, lose),
  )

  it('is not ended by what was passed before it, nor by watermarks and marks', async () => {
    const { bed, uid } = await openHeld('held_on', 'Truncate')
    // Written again by a capture that went back (R15).
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.control(0x900, hold(uid, 'b', 'Truncate'))
    await bed.control(0xb00, { control: 'mark', lsn: '0/B10' })
    // In records of a few bytes, none of which holds a whole line.
    await bed.rows(0xc00, [['i', 2, ['3', '{"control":"gap"}']]], { partBytes: 20 })
    await bed.copy(uid, KV, ['1\tone'])
    await bed.control(0xd00, { control: 'release', lsn: '0/D10', uid })
    await bed.untilQueue('b', 'Drained')
    expect(await bed.contents()).toEqual(['(1,one)', '(2,behind)', '(3,"{""control"":""gap""}")'])
  })
})

describe('a release', () => {
  it('that does not come is written again (R4)', async () => {
    const { bed, uid } = await openHeld('release')
    await query(bed.source.url, `select pg_create_logical_replication_slot('ap_release', 'test_decoding')`)
    await bed.copy(uid, KV, ['1\tone'])
    await bed.untilContents(['(1,one)', '(2,behind)'])
    const found = await until(
      async () =>
        (
          await query<{ data: string }>(
            bed.source.url,
            `select data from pg_logical_slot_peek_changes('ap_release', null, null) where data like '%release%'`,
          )
        )[0],
      { what: 'the release in the log', timeoutMs: 40_000 },
    )
    expect(found.data).toContain(uid)
    await query(bed.source.url, `select pg_drop_replication_slot('ap_release')`)
  })
})

describe('joining and leaving', () => {
  it('a table that joins again has rows of unknown history, and may have some that were deleted (R17, R22)', async () => {
    const bed = await open('rejoin', { tables: [{ name: 't', initialBackfill: 'Skip' }] })
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    bed.run()
    expect(await bed.untilLedger('applied', (row) => row.nextOffset === 2n)).toMatchObject({
      historyComplete: true,
      unknownHistory: false,
    })
    await bed.control(0x300, { control: 'leave', lsn: '0/310' })
    expect(await bed.untilLedger('left', (row) => row.state === 'left')).toMatchObject({
      historyComplete: false,
    })
    await bed.control(0x400, { control: 'join', lsn: '0/410' })
    expect(await bed.untilLedger('joined', (row) => row.state === 'active')).toMatchObject({
      unknownHistory: true,
      historyComplete: false,
      needsEmptying: true,
    })
  })

  it.each([
    ['left while its first rows were not written yet', ['rows', 'leave'], 'may still be in the destination'],
    // What the transaction did behind the leave is not sent.
    ['left in the middle of a transaction', ['leave', 'rows'], 'may still be in the destination'],
    // No leave before the second join: it was taken out by hand.
    ['was taken out while its first rows were not written yet', ['rows'], 'changes may be missing'],
  ] as const)('a table that %s is not taken for a blank one (R17, R22)', async (how, between, message) => {
    const bed = await open(how.replaceAll(' ', '_').slice(0, 30))
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    for (const [index, what] of between.entries()) {
      if (what === 'rows') await bed.rows(0x200 + index * 0x20, [['i', 2, ['1', 'one']]])
      else await bed.control(0x200 + index * 0x20, { control: 'leave', lsn: `0/2${index}8` })
    }
    await bed.control(0x400, { control: 'join', lsn: '0/410' })
    // All of it is there before the first line is read, so that the rows still wait for their batch when the table goes.
    bed.run()
    const row = await bed.untilLedger('joined again', ({ position }) => position.lsn >= 0x400n)
    expect(row).toMatchObject({ unknownHistory: true, historyComplete: false, needsEmptying: true })
    expect(row.stopMessage).toContain(message)
    await bed.untilContents(['(1,one)'])
  })

  it.each([
    ['came_back', {}],
    // Of this one history counts as complete from the start, but not what it has missed since.
    ['came_back_skipped', { initialBackfill: 'Skip' }],
  ])(
    'a table that comes back to the rows that it has left is to be emptied (R22), %s',
    async (name, more) => {
      const bed = await open(name, { tables: [{ name: 't', ...more }, { name: 'u' }] })
      await bed.control(0x100, { control: 'join', lsn: '0/110' })
      await bed.rows(0x200, [['i', 2, ['1', 'one']]])
      bed.run()
      await bed.untilContents(['(1,one)'])
      expect(await bed.ledger()).toMatchObject({ needsEmptying: false })
      await bed.patchPipeline({ tables: [{ schema: 'public', name: 'u' }] })
      await bed.control(0x400, { control: 'leave', lsn: '0/410' })
      await until(async () => (await bed.ledger()) === undefined, {
        what: 'no ledger row',
        timeoutMs: 20_000,
      })
      const reported = async () =>
        (await bed.pipeline()).status?.apply?.tables?.find(({ name: of }) => of === 't')
      await until(async () => (await reported()) === undefined, { what: 'no word of it', timeoutMs: 20_000 })
      // Whoever sees it before it is known that it has to be emptied makes a backfill in vain. Longer than status waits between two writes.
      await query(
        bed.destinationUrl,
        `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(7); return new; end $$;
         create trigger slow before update on millrace.tables for each row execute function slow()`,
      )
      await bed.control(0x500, { control: 'join', lsn: '0/510' })
      await bed.patchPipeline({
        tables: [
          { schema: 'public', name: 'u' },
          { schema: 'public', name: 't', ...more },
        ],
      })
      await until(async () => (await reported()) !== undefined, { what: 'a first word', timeoutMs: 30_000 })
      expect(await reported()).toMatchObject({ needsEmptying: true, gap: 'PublicationChanged' })
      expect(await bed.ledger()).toMatchObject({ historyComplete: false, stopCode: 'PublicationChanged' })
    },
  )

  it('a table that is removed is given free once it has left, and can come back', async () => {
    const bed = await open('removed', { tables: [{ name: 't' }, { name: 'u' }] })
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    bed.run()
    await bed.untilContents(['(1,one)'])
    await bed.patchPipeline({ tables: [{ schema: 'public', name: 'u' }] })
    await bed.rows(0x300, [['i', 2, ['2', 'two']]])
    await bed.control(0x400, { control: 'leave', lsn: '0/410' })
    await until(async () => (await bed.ledger()) === undefined, { what: 'no ledger row', timeoutMs: 20_000 })
    expect(await bed.contents()).toEqual(['(1,one)', '(2,two)'])
    expect(await bed.queue.offsets(bed.topic(), never)).toEqual({ earliest: 4n, end: 4n })
    await query(bed.destinationUrl, 'delete from t')
    await bed.control(0x500, { control: 'join', lsn: '0/510' })
    await bed.rows(0x600, [['i', 2, ['3', 'three']]])
    await bed.patchPipeline({
      tables: [
        { schema: 'public', name: 'u' },
        { schema: 'public', name: 't' },
      ],
    })
    await bed.untilContents(['(3,three)'])
  })

  it('a held table that is removed is let go', async () => {
    const { bed, uid } = await openHeld('removed_held')
    await bed.patchPipeline({ tables: [] })
    await bed.untilBackfill(uid, 'closed')
    await bed.control(0xb00, { control: 'leave', lsn: '0/B10' })
    await until(async () => (await bed.ledger()) === undefined, { what: 'no ledger row', timeoutMs: 20_000 })
    expect(await bed.contents()).toEqual(['(1,before)', '(2,behind)'])
  })

  it('a Pipeline that is deleted lets go of everything', async () => {
    const { bed, uid } = await openHeld('deleted_pipeline')
    await bed.removePipeline()
    await bed.untilBackfill(uid, 'closed')
    await until(async () => (await bed.ledger()) === undefined, { what: 'no ledger row', timeoutMs: 20_000 })
  })

  it('a Pipeline that is deleted while it streams gives its tables free, and takes none again', async () => {
    const bed = await open('deleted_streaming')
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    bed.run()
    await bed.untilContents(['(1,one)'])
    await bed.removePipeline()
    await until(async () => (await bed.ledger()) === undefined, { what: 'no ledger row', timeoutMs: 20_000 })
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(await bed.ledger()).toBeUndefined()
    expect(await bed.contents()).toEqual(['(1,one)'])
    // Another of the same name does not apply what this one has left.
    const offsets = await bed.queue.offsets(bed.topic(), new AbortController().signal)
    expect(offsets?.earliest).toBe(offsets?.end)
    expect(offsets?.end).toBeGreaterThan(0n)
  })

  it('a paused Pipeline applies nothing, and goes on where it was', async () => {
    const bed = await open('paused')
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    bed.run()
    await bed.untilContents(['(1,one)'])
    await bed.patchPipeline({ state: 'Paused' })
    await until(async () => (await bed.pipeline()).status?.apply?.tables?.[0]?.state === 'Paused', {
      what: 'status Paused',
      timeoutMs: 20_000,
    })
    await bed.rows(0x300, [['i', 2, ['2', 'two']]])
    await bed.patchPipeline({ state: 'Running' })
    await bed.untilContents(['(1,one)', '(2,two)'])
  })
})
