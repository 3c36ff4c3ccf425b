import { describe, expect, it } from 'vitest'
import {
  batch,
  chunkOf,
  claim,
  define,
  hold,
  nameOf,
  never,
  plan,
  prepare,
} from './destination-postgres-fixture.ts'
import { closed, copyChunks, current, type LedgerPods, simple } from './ledger-pods.ts'

/** What the ledger of every destination promises about backfills: their ends, attempts and plans. */
export function describeLedgerBackfills(pods: LedgerPods): void {
  describe('the end of a hold', () => {
    it('closes a backfill that nobody knows yet', async () => {
      expect(await pods.one.ledger.closeBackfill(closed('e1', 'e1'), never)).toMatchObject({
        uid: 'e1',
        state: 'closed',
        attempt: 0,
        closeCode: 'Cancelled',
        closeMessage: 'spec.cancel is true',
      })
    })

    it('frees the table, once', async () => {
      const held = await pods.one.ledger.recordHeld(await claim(pods.one, simple('e2')), hold('e2'), never)
      const [first, second] = await Promise.all([
        pods.one.ledger.closeBackfill(closed('e2', 'e2'), never),
        pods.two.ledger.closeBackfill({ ...closed('e2', 'e2'), code: 'Failed', message: 'm' }, never),
      ])
      expect(first).toEqual(second)
      expect(await current(pods, 'e2')).toEqual({ ...held, heldBy: '', version: held.version + 1n })
    })

    it('of one backfill leaves a table alone that another holds', async () => {
      const held = await pods.one.ledger.recordHeld(await claim(pods.one, simple('e3')), hold('e3'), never)
      await pods.one.ledger.closeBackfill(closed('e3-old', 'e3'), never)
      expect(await current(pods, 'e3')).toEqual(held)
    })

    it('is whichever comes first: hold or close', async () => {
      for (const round of [1, 2, 3, 4, 5, 6]) {
        const uid = `e4-${round}`
        const row = await claim(pods.one, simple(uid))
        const [, end] = await Promise.allSettled([
          pods.one.ledger.recordHeld(row, hold(uid), never),
          pods.two.ledger.closeBackfill(closed(uid, uid), never),
        ])
        expect(end.status).toBe('fulfilled')
        expect((await pods.one.ledger.readBackfill(uid, never))?.state).toBe('closed')
        expect((await current(pods, uid)).heldBy).toBe('')
      }
    })

    it('cannot come any more after all was copied', async () => {
      const definition = simple('e5')
      const { fence } = await prepare(pods.one, definition, { uid: 'e5', action: 'Truncate' })
      await copyChunks(pods, fence, definition, [0])
      const copied = await pods.one.ledger.recordCopied(fence, never)
      expect(await pods.two.ledger.closeBackfill(closed('e5', 'e5'), never)).toEqual(copied)
      expect(await pods.one.ledger.recordCopied(fence, never)).toEqual(copied)
      const row = await current(pods, 'e5')
      expect(row.heldBy).toBe('')
      await pods.one.flush(batch(row, definition, { drained: 'e5' }), never)
      expect((await pods.two.ledger.closeBackfill(closed('e5', 'e5'), never)).state).toBe('drained')
      const lost = { ...closed('e5', 'e5'), code: 'SlotLost', evenCopied: true } as const
      expect(await pods.one.ledger.closeBackfill(lost, never)).toMatchObject({ state: 'drained' })
      await expect(
        pods.one.ledger.recordHeld(await current(pods, 'e5'), hold('e5', 'Truncate'), never),
      ).rejects.toMatchObject({ code: 'NotHeld' })
    })

    it('comes after the copy where changes were lost that the copy builds on', async () => {
      const definition = simple('e7')
      const { fence } = await prepare(pods.one, definition, { uid: 'e7', action: 'Truncate' })
      await pods.one.writeChunk(
        chunkOf(fence, definition, [pods.line('1', 'a'), pods.line('2', 'b'), pods.line('3', 'c')]),
        never,
      )
      await pods.one.ledger.recordCopied(fence, never)
      const lost = { ...closed('e7', 'e7'), code: 'SlotLost', evenCopied: true } as const
      expect(await pods.one.ledger.closeBackfill(lost, never)).toMatchObject({
        state: 'closed',
        closeCode: 'SlotLost',
        rows: 3n,
      })
      const drained = pods.one.flush(batch(await current(pods, 'e7'), definition, { drained: 'e7' }), never)
      await expect(drained).rejects.toMatchObject({ code: 'LedgerConflict' })
    })

    it('is final: a closed backfill cannot be copied or drained', async () => {
      const definition = simple('e6')
      const { fence } = await prepare(pods.one, definition, { uid: 'e6', action: 'Truncate' })
      await copyChunks(pods, fence, definition, [0])
      await pods.one.ledger.closeBackfill(closed('e6', 'e6'), never)
      await expect(pods.one.ledger.recordCopied(fence, never)).rejects.toMatchObject({ code: 'Fenced' })
      const before = await current(pods, 'e6')
      await expect(pods.one.flush(batch(before, definition, { drained: 'e6' }), never)).rejects.toMatchObject(
        {
          code: 'LedgerConflict',
        },
      )
      expect(await current(pods, 'e6')).toEqual(before)
    })
  })

  describe('attempts', () => {
    it('count up, and older ones are fenced', async () => {
      const definition = simple('a1')
      const { fence } = await prepare(pods.one, definition, { uid: 'a1' })
      expect(await pods.two.ledger.beginAttempt('a1', never)).toMatchObject({
        attempt: 2,
        actionDone: true,
        plan: 1,
      })
      for (const write of [
        () => pods.one.ledger.recordPlan(fence, plan(2, 1), never),
        () => pods.one.ledger.splitChunk(fence, 1, 0, [{ kind: 'all' }], never),
        () => pods.one.ledger.recordCopied(fence, never),
      ]) {
        await expect(write()).rejects.toMatchObject({ code: 'Fenced' })
      }
    })

    it('need a hold', async () => {
      await expect(pods.one.ledger.beginAttempt('nobody', never)).rejects.toMatchObject({ code: 'NotHeld' })
      await pods.one.ledger.closeBackfill(closed('a2', 'a2'), never)
      await expect(pods.one.ledger.beginAttempt('a2', never)).rejects.toMatchObject({
        code: 'NotHeld',
        message: expect.stringContaining('spec.cancel is true'),
      })
    })

    it('that begin at once get numbers of their own', async () => {
      await pods.one.ledger.recordHeld(await claim(pods.one, simple('a3')), hold('a3'), never)
      const begun = await Promise.all(
        [pods.one, pods.two, pods.one, pods.two].map((pod) => pod.ledger.beginAttempt('a3', never)),
      )
      expect(begun.map(({ attempt }) => attempt).sort()).toEqual([1, 2, 3, 4])
    })
  })

  describe('plans', () => {
    it('are recorded with all their chunks', async () => {
      const { fence } = await prepare(pods.one, simple('p1'), { uid: 'p1', chunks: 3 })
      expect(await pods.one.ledger.readChunks('p1', 1, never)).toEqual([
        { chunk: 0, range: { kind: 'key', to: ['10'] }, state: 'planned', attempt: 0, rows: 0n, bytes: 0n },
        {
          chunk: 1,
          range: { kind: 'key', from: ['10'], to: ['20'] },
          state: 'planned',
          attempt: 0,
          rows: 0n,
          bytes: 0n,
        },
        { chunk: 2, range: { kind: 'key', from: ['20'] }, state: 'planned', attempt: 0, rows: 0n, bytes: 0n },
      ])
      const ctid = {
        kind: 'ctid',
        leaf: { schema: 'we "ird', name: 'léaf' },
        fromBlock: 0,
        toBlock: 4294967295,
        filenode: '12',
      } as const
      const second = plan(2, 0, {
        scan: 'Ctid',
        snapshot: 's',
        visibility: '1:2:',
        append: false,
        ranges: [ctid],
      })
      expect(await pods.one.ledger.recordPlan(fence, second, never)).toMatchObject({
        plan: 2,
        scan: 'Ctid',
        snapshot: 's',
        visibility: '1:2:',
        append: false,
      })
      expect((await pods.one.ledger.readChunks('p1', 2, never)).map(({ range }) => range)).toEqual([ctid])
      expect(await pods.two.ledger.readChunks('p1', 1, never)).toHaveLength(3)
    })

    it('replace none', async () => {
      const { fence } = await prepare(pods.one, simple('p2'), { uid: 'p2' })
      for (const number of [0, 1]) {
        await expect(pods.one.ledger.recordPlan(fence, plan(number, 1), never)).rejects.toMatchObject({
          code: 'LedgerConflict',
        })
      }
      expect(await pods.one.ledger.readChunks('p2', 1, never)).toHaveLength(1)
    })

    it('never bring append back', async () => {
      const { fence } = await prepare(pods.one, simple('p3'), { uid: 'p3', plan: { append: false } })
      expect(await pods.one.ledger.recordPlan(fence, plan(2, 1), never)).toMatchObject({ append: false })
    })

    it('of a great many chunks are one call', async () => {
      const { fence } = await prepare(pods.one, simple('p4'), { uid: 'p4' })
      await pods.one.ledger.recordPlan(fence, plan(2, 20_000), never)
      const chunks = await pods.one.ledger.readChunks('p4', 2, never)
      expect(chunks.map(({ chunk }) => chunk)).toEqual(Array.from({ length: 20_000 }, (_, n) => n))
    })

    it('that void the rows before them empty the table', async () => {
      const keyless = define('p5', ['v text'], [])
      const { fence } = await prepare(pods.one, keyless, { uid: 'p5' })
      await pods.run(`insert into p5 values ('left over')`)
      const target = nameOf(keyless)
      expect(await pods.one.ledger.recordPlan(fence, plan(2, 1, { discard: target }), never)).toMatchObject({
        plan: 2,
        append: true,
      })
      expect(await pods.rows('select * from p5')).toEqual([])
      await pods.run(`insert into p5 values ('kept')`)
      const wrong = plan(3, 1, { discard: { schema: 'public', name: 'p4' } })
      await expect(pods.one.ledger.recordPlan(fence, wrong, never)).rejects.toMatchObject({ code: 'NotHeld' })
      const stale = pods.one.ledger.recordPlan(
        { ...fence, attempt: 0 },
        plan(3, 1, { discard: target }),
        never,
      )
      await expect(stale).rejects.toMatchObject({ code: 'Fenced' })
      expect(await pods.rows('select * from p5')).toEqual([['kept']])
    })

    it('have chunks that are split before their parts are written', async () => {
      const { fence } = await prepare(pods.one, simple('p6'), { uid: 'p6', chunks: 2 })
      const parts = [
        { kind: 'key' as const, to: ['5'] },
        { kind: 'key' as const, from: ['5'], to: ['10'] },
      ]
      const made = await pods.one.ledger.splitChunk(fence, 1, 0, parts, never)
      expect(made.map(({ chunk, range, state }) => ({ chunk, range, state }))).toEqual([
        { chunk: 2, range: parts[0], state: 'planned' },
        { chunk: 3, range: parts[1], state: 'planned' },
      ])
      expect(await pods.two.ledger.splitChunk(fence, 1, 0, parts, never)).toEqual(made)
      const states = (await pods.one.ledger.readChunks('p6', 1, never)).map(({ chunk, state }) => [
        chunk,
        state,
      ])
      expect(states).toEqual([
        [0, 'split'],
        [1, 'planned'],
        [2, 'planned'],
        [3, 'planned'],
      ])
      await copyChunks(pods, fence, simple('p6'), [1])
      await expect(pods.one.ledger.splitChunk(fence, 1, 1, parts, never)).rejects.toMatchObject({
        code: 'LedgerConflict',
      })
      await expect(pods.one.ledger.splitChunk(fence, 2, 0, parts, never)).rejects.toMatchObject({
        code: 'Fenced',
      })
    })

    it('split several chunks at once', async () => {
      const { fence } = await prepare(pods.one, simple('p7'), { uid: 'p7', chunks: 4 })
      const parts = [{ kind: 'all' as const }, { kind: 'all' as const }]
      const made = await Promise.all(
        [0, 1, 2, 3].map((n) => (n % 2 ? pods.one : pods.two).ledger.splitChunk(fence, 1, n, parts, never)),
      )
      expect(
        made
          .flat()
          .map(({ chunk }) => chunk)
          .sort((a, b) => a - b),
      ).toEqual([4, 5, 6, 7, 8, 9, 10, 11])
    })
  })

  it('lists the backfills of its pipeline', async () => {
    const all = await pods.one.ledger.readAll(never)
    expect(all).toMatchObject({ tables: await pods.one.ledger.readTables(never), locked: [] })
    const uids = all.backfills.map(({ uid }) => uid)
    expect(uids).toContain('h1')
    expect(uids).toContain('e5')
    expect(uids).not.toContain('nobody')
    const of = await pods.one.ledger.readBackfills({ schema: 'public', name: 'e5' }, never)
    expect(of).toEqual(all.backfills.filter(({ table }) => table.name === 'e5'))
    expect(of.map(({ uid }) => uid)).toContain('e5')
    expect(await pods.other.ledger.readAll(never)).toMatchObject({ backfills: [] })
  })
}
