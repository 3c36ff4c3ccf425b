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

it('copies on into columns that were made wider between two chunks', async () => {
  const narrow = define('widened', ['id integer', 'v character varying(20)', 'n numeric(10,2)'], ['id'])
  const wide = define('widened', ['id integer', 'v character varying(200)', 'n numeric(12,2)'], ['id'])
  const { fence } = await prepare(destination, narrow, { uid: 'b2', action: 'Truncate', chunks: 2 })
  const write = (definition: typeof narrow, chunk: number, line: string) =>
    destination.writeChunk(chunkOf(fence, definition, [line], { chunk, range: { kind: 'key' } }), never)
  await write(narrow, 0, '1,short,1.50')
  const row = `2,${'long '.repeat(30)},1234567890.12`
  await expect(write(narrow, 1, row)).rejects.toMatchObject({ code: 'ValueRejected', retryable: false })
  await destination.ensureTable(nameOf(wide), wide, { deletes: 'Hard' }, never)
  expect(await write(wide, 1, row)).toMatchObject({ rows: 1n, written: true })
  expect(await warehouse.rows('select id, len(v), n::varchar(20) from widened order by id')).toEqual([
    [1, 5, '1.50'],
    [2, 150, '1234567890.12'],
  ])
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
