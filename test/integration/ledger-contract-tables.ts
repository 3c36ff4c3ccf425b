import { describe, expect, it } from 'vitest'
import type { TableClaim } from '../../workers/destination/ledger.ts'
import { batch, claim, hold, nameOf, never } from './destination-postgres-fixture.ts'
import { closed, current, type LedgerPods, simple } from './ledger-pods.ts'

/** What the ledger of every destination promises about tables and about what holds them. */
export function describeLedgerTables(pods: LedgerPods): void {
  describe('opening', () => {
    it('refuses what a newer Millrace wrote', async () => {
      await pods.run('insert into millrace.schema_version values (99)')
      await expect(pods.one.ledger.open(never)).rejects.toMatchObject({
        code: 'DestinationConflict',
        message: expect.stringContaining('newer'),
      })
      await pods.run('delete from millrace.schema_version where version = 99')
    })
  })

  describe('tables', () => {
    const wanted = (name: string, destination = name): TableClaim => ({
      table: { schema: 'public', name },
      destination: { schema: 'public', name: destination },
      topic: `t.${name}`,
      historyComplete: false,
      unknownHistory: true,
    })

    it('that are given free and claimed anew never have a version again that they had', async () => {
      const row = await pods.one.ledger.claimTable(wanted('again'), never)
      const moved = await pods.one.ledger.updateTable(row, { nextOffset: 5n }, never)
      await pods.one.ledger.releaseTable(moved, never)
      const again = await pods.one.ledger.claimTable(wanted('again'), never)
      expect(again.version).toBeGreaterThan(moved.version)
      // A process that was away meanwhile, and takes the row for the one that it knows.
      await expect(pods.two.ledger.updateTable(row, { nextOffset: 9n }, never)).rejects.toMatchObject({
        code: 'LedgerConflict',
      })
    })

    it('are claimed once and kept as they are', async () => {
      const row = await pods.one.ledger.claimTable(wanted('claimed'), never)
      expect(row).toEqual({
        pipeline: 'pipeline-1',
        table: { schema: 'public', name: 'claimed' },
        destination: { schema: 'public', name: 'claimed' },
        version: expect.any(BigInt),
        topic: 't.claimed',
        incarnation: '',
        nextOffset: 0n,
        position: { epoch: 0, lsn: 0n, sequence: 0 },
        state: 'active',
        stopCode: '',
        stopMessage: '',
        heldBy: '',
        unknownHistory: true,
        needsEmptying: false,
        historyComplete: false,
      })
      const moved = await pods.one.ledger.updateTable(row, { nextOffset: 5n, historyComplete: true }, never)
      expect(await pods.two.ledger.claimTable(wanted('claimed'), never)).toEqual(moved)
      expect(await pods.one.ledger.readTables(never)).toContainEqual(moved)
      expect(await pods.other.ledger.readTables(never)).toEqual([])
      expect(await pods.other.ledger.readTable(row.table, never)).toBeUndefined()
    })

    it('have one owner among pipelines that want them at once', async () => {
      const results = await Promise.allSettled([
        pods.one.ledger.claimTable(wanted('fought', 'prize'), never),
        pods.other.ledger.claimTable(wanted('fought', 'prize'), never),
        pods.two.ledger.claimTable(wanted('rival', 'prize'), never),
      ])
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const result of results) {
        if (result.status === 'fulfilled') continue
        expect(result.reason).toMatchObject({
          code: 'DestinationConflict',
          field: 'spec.tables[].destination',
          message: expect.stringMatching(
            /public\.prize belongs to table public\.\w+ of Pipeline tests\/pipeline-\d/,
          ),
        })
      }
    })

    it('keep their destination', async () => {
      await pods.one.ledger.claimTable(wanted('settled'), never)
      await expect(pods.one.ledger.claimTable(wanted('settled', 'elsewhere'), never)).rejects.toMatchObject({
        code: 'DestinationConflict',
      })
    })

    it('cannot be the ledger itself', async () => {
      const claim = { ...wanted('tables'), destination: { schema: 'millrace', name: 'tables' } }
      await expect(pods.one.ledger.claimTable(claim, never)).rejects.toMatchObject({
        code: 'DestinationConflict',
      })
    })

    it('hold every fact, positions as numbers', async () => {
      const row = await pods.one.ledger.claimTable(wanted('facts'), never)
      const facts = {
        topic: 'x',
        incarnation: 'i',
        nextOffset: 9_223_372_036_854_775_807n,
        position: { epoch: 3, lsn: 0xffff_ffff_ffff_fff0n, sequence: 4_000_000_000 },
        state: 'stopped',
        stopCode: 'TableChanged',
        stopMessage: `it's "so"`,
        heldBy: 'b',
        unknownHistory: false,
        needsEmptying: true,
        historyComplete: true,
      } as const
      expect(await pods.one.ledger.updateTable(row, facts, never)).toEqual({
        ...row,
        ...facts,
        version: row.version + 1n,
      })
      expect(await pods.two.ledger.readTable(row.table, never)).toEqual({
        ...row,
        ...facts,
        version: row.version + 1n,
      })
    })

    it('are changed by compare-and-set only', async () => {
      const row = await pods.one.ledger.claimTable(wanted('raced'), never)
      const both = await Promise.allSettled([
        pods.one.ledger.updateTable(row, { incarnation: 'one' }, never),
        pods.two.ledger.updateTable(row, { incarnation: 'two' }, never),
      ])
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      const lost = both.find((result) => result.status === 'rejected')
      expect(lost?.reason).toMatchObject({ code: 'LedgerConflict', retryable: true })
      await expect(pods.one.ledger.releaseTable(row, never)).rejects.toMatchObject({ code: 'LedgerConflict' })
      await pods.one.ledger.releaseTable(await current(pods, 'raced'), never)
      expect(await pods.one.ledger.readTable(row.table, never)).toBeUndefined()
      expect(await pods.other.ledger.claimTable(wanted('raced'), never)).toMatchObject({
        pipeline: 'pipeline-2',
      })
    })
  })

  describe('a hold', () => {
    it('is written with the table, and stays at its offset', async () => {
      const row = await claim(pods.one, simple('h1'))
      const held = await pods.one.ledger.recordHeld(row, hold('h1', 'Drop'), never)
      expect(held).toEqual({
        ...row,
        heldBy: 'h1',
        nextOffset: 7n,
        position: { epoch: 1, lsn: 0x30c8000n, sequence: 0 },
        version: row.version + 1n,
      })
      expect(await pods.two.ledger.readBackfill('h1', never)).toEqual({
        uid: 'h1',
        name: 'backfill-h1',
        table: row.table,
        state: 'held',
        action: 'Drop',
        version: 1n,
        attempt: 0,
        holdLSN: 0x30c8020n,
        holdOffset: 7n,
        actionDone: false,
        append: false,
        plan: 0,
        scan: '',
        snapshot: '',
        visibility: '',
        rows: 0n,
        bytes: 0n,
        closeCode: '',
        closeMessage: '',
      })
      expect(await pods.other.ledger.readBackfill('h1', never)).toBeUndefined()
    })

    it('is the same when it is recorded again', async () => {
      const held = await pods.one.ledger.recordHeld(await claim(pods.one, simple('h2')), hold('h2'), never)
      expect(await pods.one.ledger.recordHeld(held, hold('h2'), never)).toEqual(held)
      expect(await current(pods, 'h2')).toEqual(held)
    })

    it('of a stale pod is refused, and so is a second one', async () => {
      const row = await claim(pods.one, simple('h3'))
      const both = await Promise.allSettled([
        pods.one.ledger.recordHeld(row, hold('h3a'), never),
        pods.two.ledger.recordHeld(row, hold('h3b'), never),
      ])
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      const { heldBy } = await current(pods, 'h3')
      const loser = heldBy === 'h3a' ? 'h3b' : 'h3a'
      expect(await pods.one.ledger.readBackfill(loser, never)).toBeUndefined()
      await expect(
        pods.one.ledger.recordHeld(await current(pods, 'h3'), hold(loser), never),
      ).rejects.toMatchObject({
        code: 'LedgerConflict',
      })
      expect((await pods.one.ledger.readAll(never)).backfills.map(({ uid }) => uid)).not.toContain(loser)
    })

    it('comes too late for a backfill that was closed', async () => {
      const row = await claim(pods.one, simple('h4'))
      await pods.one.ledger.closeBackfill(closed('h4', 'h4'), never)
      await expect(pods.one.ledger.recordHeld(row, hold('h4'), never)).rejects.toMatchObject({
        code: 'NotHeld',
        message: expect.stringContaining('closed'),
      })
      expect(await current(pods, 'h4')).toEqual(row)
    })

    it('of a stopped table makes it go on, as one that needs emptying', async () => {
      const stopped = await pods.one.ledger.updateTable(
        await claim(pods.one, simple('h5')),
        { state: 'stopped', stopCode: 'TableChanged', stopMessage: 'm', historyComplete: true },
        never,
      )
      await expect(pods.one.ledger.recordHeld(stopped, hold('h5', 'DoNothing'), never)).rejects.toMatchObject(
        {
          code: 'ActionRefused',
          field: 'spec.destinationTable',
        },
      )
      expect(await pods.one.ledger.recordHeld(stopped, hold('h5', 'Truncate'), never)).toMatchObject({
        state: 'active',
        stopCode: 'TableChanged',
        stopMessage: 'm',
        heldBy: 'h5',
        needsEmptying: true,
        unknownHistory: true,
        historyComplete: false,
      })
    })

    it('lets nothing be applied (invariant I3), whatever version the batch has', async () => {
      const definition = simple('h6')
      const row = await claim(pods.one, definition)
      await pods.one.ensureTable(nameOf(definition), definition, { deletes: 'Hard' }, never)
      const held = await pods.one.ledger.recordHeld(row, hold('h6'), never)
      for (const ledger of [row, held]) {
        const flush = pods.one.flush(batch(ledger, definition, { upserts: [['1', 'a']] }), never)
        await expect(flush).rejects.toMatchObject({ code: 'LedgerConflict' })
      }
      expect(await pods.rows('select * from h6')).toEqual([])
    })
  })
}
