import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import {
  chunkOf,
  column,
  define,
  hard,
  nameOf,
  never,
  openOn,
  plan,
  prepare,
  soft,
} from './destination-postgres-fixture.ts'
import { createDatabase } from './services.ts'

const { url } = await createDatabase('destination_chunks', 'destination')
const one = openOn(url)

beforeAll(() => one.ledger.open(never))
afterAll(() => one.close())

const simple = (name: string) => define(name, ['id integer', 'v text'], ['id'])
const ensure = (definition: TableDefinition, options: { deletes: 'Hard' | 'Soft' } = hard) =>
  one.ensureTable(nameOf(definition), definition, options, never)

describe('a chunk', () => {
  const rowsOf = (name: string, order = '1') => query(url, `select * from "${name}" order by ${order}`)

  it('is put upon the rows that are there', async () => {
    const definition = define('upserted', ['id integer', 'v text', 'j json'], ['id'])
    await ensure(definition, soft)
    await query(
      url,
      `insert into upserted values (1, 'old', '{}', false), (2, 'gone', null, true), (3, 'same', '{"a": 1}', false), (4, 'other', null, false), (6, 'was gone', null, true)`,
    )
    const { fence } = await prepare(one, definition, { uid: 'upserted', deletes: 'Soft' })
    const chunk = chunkOf(
      fence,
      definition,
      ['1\tnew\t\\N', '2\tback\t\\N', '3\tsame\t{"a": 1}', '5\tmore\t[]', '6\twas gone\t\\N'],
      {
        options: soft,
      },
    )
    expect(await one.writeChunk(chunk, never)).toMatchObject({ rows: 5n, written: true })
    expect(await rowsOf('upserted')).toEqual([
      { id: 1, v: 'new', j: null, __millrace_deleted: false },
      { id: 2, v: 'back', j: null, __millrace_deleted: false },
      { id: 3, v: 'same', j: { a: 1 }, __millrace_deleted: false },
      { id: 4, v: 'other', j: null, __millrace_deleted: false },
      { id: 5, v: 'more', j: [], __millrace_deleted: false },
      { id: 6, v: 'was gone', j: null, __millrace_deleted: false },
    ])
  })

  it('is appended under the plan’s snapshot only', async () => {
    const definition = simple('snapshots')
    const { fence } = await prepare(one, definition, {
      uid: 'snapshots',
      action: 'Truncate',
      chunks: 3,
      plan: { scan: 'Ctid', snapshot: 'S1' },
    })
    await one.writeChunk(chunkOf(fence, definition, ['1\ta'], { snapshot: 'S1' }), never)
    const again = chunkOf(fence, definition, ['1\tb', '2\tb'], { chunk: 1, snapshot: '' })
    await one.writeChunk(again, never)
    const twice = chunkOf(fence, definition, ['1\tc'], { chunk: 2, snapshot: 'S1' })
    await expect(one.writeChunk(twice, never)).rejects.toMatchObject({ code: 'ValueRejected' })
    expect(await rowsOf('snapshots')).toEqual([
      { id: 1, v: 'b' },
      { id: 2, v: 'b' },
    ])
  })

  it('of a table without a key is appended or refused', async () => {
    const definition = define('keyless', ['v text'], [])
    const { fence } = await prepare(one, definition, {
      uid: 'keyless',
      action: 'Truncate',
      plan: { snapshot: 'S1' },
    })
    const other = chunkOf(fence, definition, ['a'], { snapshot: 'S2' })
    await expect(one.writeChunk(other, never)).rejects.toMatchObject({ code: 'SnapshotLost' })
    await one.writeChunk(chunkOf(fence, definition, ['a', 'a', '\\N'], { snapshot: 'S1' }), never)
    await one.ledger.recordPlan(fence, plan(2, 1, { snapshot: 'S2', discard: nameOf(definition) }), never)
    await one.writeChunk(chunkOf(fence, definition, ['b'], { plan: 2, snapshot: 'S2' }), never)
    expect(await rowsOf('keyless')).toEqual([{ v: 'b' }])
    expect(await one.ledger.readBackfill('keyless', never)).toMatchObject({ rows: 1n, bytes: 2n })
  })

  it('may be cut anywhere and hold nothing', async () => {
    const definition = simple('bytes')
    const { fence } = await prepare(one, definition, { uid: 'bytes', action: 'Truncate', chunks: 2 })
    const text = '1\tää\n2\t漢\\n字\n'
    const cut = chunkOf(fence, definition, [], {
      async *read() {
        for (const byte of Buffer.from(text)) yield Buffer.from([byte])
      },
    })
    expect(await one.writeChunk(cut, never)).toEqual({ rows: 2n, bytes: 18n, written: true })
    const empty = chunkOf(fence, definition, [], { chunk: 1, async *read() {} })
    expect(await one.writeChunk(empty, never)).toEqual({ rows: 0n, bytes: 0n, written: true })
    expect(await rowsOf('bytes')).toEqual([
      { id: 1, v: 'ää' },
      { id: 2, v: '漢\n字' },
    ])
  })

  it('takes no more from the source than the destination takes', async () => {
    const definition = simple('slow')
    const { fence } = await prepare(one, definition, { uid: 'slow', action: 'Truncate' })
    const mebibyte = Buffer.from(`${'x'.repeat(1024 * 1024 - 1)}\n`)
    let ahead = 0
    await query(
      url,
      `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.02); return new; end $$;
       create trigger slow before insert on slow for each row execute function slow()`,
    )
    const taken = () =>
      query<{ n: number }>(
        url,
        `select coalesce(sum(bytes_processed), 0)::float8 as n from pg_stat_progress_copy where datname = current_database()`,
      )
    const chunk = chunkOf(fence, definition, [], {
      async *read() {
        for (let n = 0; n < 40; n++) {
          yield Buffer.from(`${n}\t`)
          yield mebibyte
          if (n % 10 === 9) ahead = Math.max(ahead, (n + 1) * mebibyte.length - ((await taken())[0]?.n ?? 0))
        }
      },
    })
    expect(await one.writeChunk(chunk, never)).toMatchObject({ rows: 40n })
    expect(ahead).toBeGreaterThan(0)
    expect(ahead).toBeLessThan(16 * 1024 * 1024)
  })

  it('is read before the ledger is asked only when it is not durable yet', async () => {
    const definition = simple('once')
    const { fence } = await prepare(one, definition, { uid: 'once', action: 'Truncate' })
    await one.writeChunk(chunkOf(fence, definition, ['1\ta']), never)
    const again = chunkOf(fence, definition, [], {
      read: () => {
        throw new Error('read again')
      },
      beforeCommit: () => {
        throw new Error('committed again')
      },
    })
    expect(await one.writeChunk(again, never)).toEqual({ rows: 0n, bytes: 0n, written: false })
  })

  it.each(['Truncate', 'DoNothing'] as const)(
    'names the column that refuses a value, not the value (%s)',
    async (action) => {
      const definition = define(`refused_${action}`, ['id integer', 'v character varying(3)'], ['id'])
      await ensure(definition)
      if (action === 'DoNothing') await query(url, `insert into "refused_DoNothing" values (0, 'a')`)
      const { fence } = await prepare(one, definition, { uid: definition.name, action })
      const written = one.writeChunk(chunkOf(fence, definition, ['1\tabc', '2\tsecret']), never)
      await expect(written).rejects.toMatchObject({
        code: 'ValueRejected',
        message: expect.stringContaining('column "v" is too long'),
      })
      await written.catch((error) => expect(error.message + String(error.cause)).not.toContain('secret'))
      expect(await rowsOf(definition.name)).toHaveLength(action === 'DoNothing' ? 1 : 0)
    },
  )

  it.each(['Truncate', 'DoNothing'] as const)(
    'with NULLs where there were none asks to be read again (%s)',
    async (action) => {
      const definition = define(
        `nulls_${action}`,
        [column('id', 'integer', { notNull: true }), column('v', 'text', { notNull: true })],
        ['id'],
      )
      await ensure(definition)
      if (action === 'DoNothing') await query(url, `insert into "nulls_DoNothing" values (0, 'a')`)
      const { fence } = await prepare(one, definition, { uid: definition.name, action })
      const chunk = chunkOf(fence, definition, ['1\t\\N'])
      await expect(one.writeChunk(chunk, never)).rejects.toMatchObject({
        code: 'TableChanged',
        retryable: true,
      })
      expect(await one.writeChunk(chunk, never)).toMatchObject({ rows: 1n })
    },
  )

  it('fails for good when its table is gone', async () => {
    const definition = simple('vanished')
    const { fence } = await prepare(one, definition, { uid: 'vanished' })
    await query(url, 'drop table vanished')
    await expect(one.writeChunk(chunkOf(fence, definition, ['1\ta']), never)).rejects.toMatchObject({
      code: 'DestinationConflict',
      retryable: false,
    })
  })
})
