import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Destination } from '../../workers/destination/destination.ts'
import { batch, chunkOf, claim, define, nameOf, never, prepare } from './destination-postgres-fixture.ts'
import { type AnyWarehouse, openAnyWarehouse, useS3 } from './destination-redshift-fixture.ts'

useS3()
let warehouse: AnyWarehouse
let destination: Destination

beforeAll(async () => {
  warehouse = await openAnyWarehouse('redshift_whole')
  destination = warehouse.open()
})

afterAll(async () => {
  await destination?.close()
  await warehouse?.close()
})

it('checks, opens the ledger, and leaves no file', async () => {
  await destination.check(never)
  await destination.check(never)
  expect(await warehouse.rows('select version from millrace.schema_version')).toEqual([[1]])
})

it('makes a table, copies chunks into it, drains, and applies', async () => {
  const definition = define('orders', ['id integer', 'note text', 'price numeric(12,2)'], ['id'])
  const { fence } = await prepare(destination, definition, { uid: 'b1', action: 'Truncate', chunks: 3 })
  const lines = [['1,one,1.50', '2,"two, ""quoted""",<~mr>'], ['11,<~mr>,<~mr>'], ['21,"a\nb",-3.00']]
  const results = await Promise.all(
    lines.map((each, chunk) =>
      destination.writeChunk(chunkOf(fence, definition, each, { chunk, range: { kind: 'key' } }), never),
    ),
  )
  expect(results.map(({ rows, written }) => [rows, written])).toEqual([
    [2n, true],
    [1n, true],
    [1n, true],
  ])
  const copied = await destination.ledger.recordCopied(fence, never)
  expect(copied).toMatchObject({ state: 'copied', rows: 4n })
  const row = await destination.ledger.readTable(nameOf(definition), never)
  if (!row) throw new Error('no row')
  const flushed = await destination.flush(
    batch(row, definition, {
      upserts: [
        ['2', undefined, '7.25'],
        ['30', "it's \\ new", null],
      ],
      deletes: [['1']],
      drained: 'b1',
    }),
    never,
  )
  expect(flushed).toMatchObject({ kind: 'applied' })
  expect(await warehouse.rows('select id, note, price::varchar(20) from orders order by id')).toEqual([
    [2, 'two, "quoted"', '7.25'],
    [11, null, null],
    [21, 'a\nb', '-3.00'],
    [30, "it's \\ new", null],
  ])
  expect(await destination.ledger.readBackfill('b1', never)).toMatchObject({ state: 'drained' })
  expect(await destination.ledger.readTables(never)).toEqual([(flushed as { ledger: unknown }).ledger])
})

it('applies a large batch through one file', async () => {
  const definition = define('large', ['id integer', 'note text'], ['id'])
  await destination.ensureTable(nameOf(definition), definition, { deletes: 'Hard' }, never)
  const row = await claim(destination, definition)
  const upserts = Array.from({ length: 3000 }, (_, n) => [String(n), `note ${n} ${'x'.repeat(50)}`])
  const result = await destination.flush(batch(row, definition, { upserts }), never)
  expect(result).toMatchObject({ kind: 'applied' })
  expect(await warehouse.rows('select count(*), count(distinct id) from large')).toEqual([[3000, 3000]])
})
