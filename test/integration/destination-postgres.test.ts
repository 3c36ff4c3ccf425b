import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { Destination } from '../../workers/destination/destination.ts'
import {
  batch,
  chunkOf,
  claim,
  define,
  hard,
  nameOf,
  never,
  openOn,
  prepare,
} from './destination-postgres-fixture.ts'
import { createDatabase } from './services.ts'

let url: string
let destination: Destination

beforeAll(async () => {
  url = (await createDatabase('destination_main', 'destination')).url
  destination = openOn(url)
  await destination.check(never)
})

afterAll(() => destination.close())

describe('a table from its backfill to its first changes', () => {
  it('goes all the way', async () => {
    const orders = define('orders', ['id bigint', 'note text', 'amount numeric(12,2)'], ['id'])
    const { fence } = await prepare(destination, orders, { uid: 'b1', action: 'Truncate', chunks: 2 })
    expect(
      await destination.writeChunk(chunkOf(fence, orders, ['1\tone\t1.50', '2\t\\N\t2.00']), never),
    ).toEqual({
      rows: 2n,
      bytes: 21n,
      written: true,
    })
    expect(await destination.writeChunk(chunkOf(fence, orders, ['9\tx\t1']), never)).toEqual({
      rows: 0n,
      bytes: 0n,
      written: false,
    })
    await expect(destination.ledger.recordCopied(fence, never)).rejects.toMatchObject({ code: 'Internal' })
    await destination.writeChunk(chunkOf(fence, orders, ['3\tthree\t3.00'], { chunk: 1 }), never)
    expect(await destination.ledger.recordCopied(fence, never)).toMatchObject({
      state: 'copied',
      rows: 3n,
      bytes: 34n,
      append: true,
    })
    const row = await destination.ledger.readTable(nameOf(orders), never)
    if (!row) throw new Error('no row')
    expect(row).toMatchObject({ heldBy: '', nextOffset: 7n })
    const flushed = await destination.flush(
      batch(row, orders, {
        upserts: [
          ['1', 'uno', undefined],
          ['4', 'it"s \\ {four}\n', '4.25'],
        ],
        deletes: [['2']],
        drained: 'b1',
        facts: { historyComplete: true },
      }),
      never,
    )
    expect(flushed).toMatchObject({ kind: 'applied', ledger: { historyComplete: true, nextOffset: 8n } })
    expect(await query(url, 'select id, note, amount from orders order by id')).toEqual([
      { id: '1', note: 'uno', amount: '1.50' },
      { id: '3', note: 'three', amount: '3.00' },
      { id: '4', note: 'it"s \\ {four}\n', amount: '4.25' },
    ])
    expect((await destination.ledger.readBackfill('b1', never))?.state).toBe('drained')
  })

  it('tells which rows it cannot fill', async () => {
    const notes = define('notes', ['id integer', 'note text'], ['id'])
    const row = await claim(destination, notes)
    await destination.ensureTable(nameOf(notes), notes, hard, never)
    const incomplete = batch(row, notes, {
      upserts: [
        ['1', 'a'],
        ['2', undefined],
      ],
    })
    expect(await destination.flush(incomplete, never)).toEqual({ kind: 'missing', keys: [['2']] })
    expect(await query(url, 'select * from notes')).toEqual([])
    expect(await destination.flush(batch(row, notes, { upserts: [['1', 'a']] }), never)).toMatchObject({
      kind: 'applied',
    })
  })
})
