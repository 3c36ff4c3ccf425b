import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { Batch, Destination, RowImage } from '../../workers/destination/destination.ts'
import type { LedgerTable } from '../../workers/destination/ledger.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import {
  batch,
  claim,
  column,
  define,
  hard,
  nameOf,
  never,
  openOn,
  soft,
} from './destination-postgres-fixture.ts'
import { createDatabase } from './services.ts'

let url: string
let destination: Destination

beforeAll(async () => {
  url = (await createDatabase('destination_flush', 'destination')).url
  destination = openOn(url)
  await destination.ledger.open(never)
})

afterAll(() => destination.close())

let made = 0
async function fresh(
  columns: Parameters<typeof define>[1],
  key: string[],
  deletes: 'Hard' | 'Soft' = 'Hard',
) {
  const definition = define(`flushed_${++made}`, columns, key)
  await destination.ensureTable(nameOf(definition), definition, { deletes }, never)
  return { definition, row: await claim(destination, definition) }
}

async function apply(
  row: LedgerTable,
  definition: TableDefinition,
  changes: Partial<Batch>,
): Promise<LedgerTable> {
  const result = await destination.flush(batch(row, definition, changes), never)
  if (result.kind !== 'applied') throw new Error(`missing ${JSON.stringify(result.keys)}`)
  return result.ledger
}

async function current(definition: TableDefinition): Promise<LedgerTable> {
  const row = await destination.ledger.readTable(nameOf(definition), never)
  if (!row) throw new Error('no row')
  return row
}

const rowsOf = (definition: TableDefinition, what = '*', order = '1') =>
  query(url, `select ${what} from "${definition.name}" order by ${order}`)

/** A value this long makes a batch too large for parameters, so that it goes by way of a temporary table. */
const LONG = 'l'.repeat(300_000)

describe('batches of a table with a key', () => {
  // Two columns that cannot be compared by an operator, and one with a modifier.
  const columns = ['a integer', 'b text', 'v text', 'j json', 'n numeric(10,2)']
  const key = fc.tuple(fc.constantFrom('1', '2', '3'), fc.constantFrom('', 'x', `it's "\\`))
  const values = fc.tuple(
    fc.oneof(
      {
        weight: 30,
        arbitrary: fc.constantFrom(undefined, null, '', 'v', '\\N', 'tab\tnew\nline\r', '{"a",NULL}', '𝄞'),
      },
      { weight: 1, arbitrary: fc.constant(LONG) },
    ),
    fc.constantFrom(undefined, null, '{"b": 1,  "b": 2}', '[]'),
    fc.constantFrom(undefined, null, '0.00', '-12345678.90', 'NaN'),
  )
  const change = fc.record({
    truncate: fc.integer({ min: 0, max: 15 }).map((n) => n === 0),
    upserts: fc.uniqueArray(fc.tuple(key, values), { selector: ([k]) => k.join('|'), maxLength: 6 }),
    deletes: fc.uniqueArray(key, { selector: (k) => k.join('|'), maxLength: 4 }),
  })
  type Change = typeof change extends fc.Arbitrary<infer T> ? T : never

  interface Stored {
    readonly values: readonly (string | null)[]
    readonly deleted: boolean
  }

  /** The same by the book: one row after another. */
  function model(before: ReadonlyMap<string, Stored>, given: Change, deletes: 'Hard' | 'Soft') {
    const rows = new Map(before)
    const remove = (id: string) => {
      const found = rows.get(id)
      if (deletes === 'Hard') rows.delete(id)
      else if (found) rows.set(id, { ...found, deleted: true })
    }
    if (given.truncate) for (const id of [...rows.keys()]) remove(id)
    for (const id of given.deletes) remove(id.join('|'))
    const missing: string[][] = []
    for (const [id, image] of given.upserts) {
      const found = rows.get(id.join('|'))
      const alive = found && !found.deleted
      if (image.includes(undefined) && !alive) missing.push([...id])
      const filled = image.map((value, index) =>
        value === undefined ? (found?.values[index] ?? null) : value,
      )
      rows.set(id.join('|'), { values: [...id, ...filled].slice(2), deleted: false })
    }
    return { rows: missing.length > 0 ? before : rows, missing }
  }

  it.each(['Hard', 'Soft'] as const)('end like their changes one by one, deletes %s', async (deletes) => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
        const { definition, row } = await fresh(columns, ['b', 'a'], deletes)
        let ledger = row
        let expected: ReadonlyMap<string, Stored> = new Map()
        for (const given of changes) {
          const outcome = model(expected, given, deletes)
          const result = await destination.flush(
            batch(ledger, definition, {
              options: { deletes },
              truncate: given.truncate,
              upserts: given.upserts.map(([id, image]): RowImage => [...id, ...image]),
              deletes: given.deletes.map(([a, b]) => [b, a]),
            }),
            never,
          )
          if (outcome.missing.length > 0) {
            expect(result).toMatchObject({ kind: 'missing' })
            const keys = result.kind === 'missing' ? result.keys : []
            expect([...keys].sort()).toEqual(outcome.missing.map(([a, b]) => [b, a]).sort())
            expect(await destination.ledger.readTable(nameOf(definition), never)).toEqual(ledger)
          } else if (result.kind === 'applied') {
            ledger = result.ledger
          }
          expected = outcome.rows
          const deleted = deletes === 'Soft' ? '__millrace_deleted' : 'false'
          const found = await rowsOf(
            definition,
            `a::text, b, v, j::text, n::text, ${deleted} as deleted`,
            'a, b',
          )
          const wanted = [...expected].map(([id, { values, deleted: gone }]) => {
            const [a, b] = id.split('|')
            return { a, b, v: values[0], j: values[1], n: values[2], deleted: gone }
          })
          const text = (rows: object[]) => rows.map((each) => JSON.stringify(each)).sort()
          expect(text(found)).toEqual(text(wanted))
        }
      }),
      { numRuns: 40 },
    )
  })
})

describe('batches of a table without a key', () => {
  const image = fc.tuple(
    fc.constantFrom(null, '', 'a', 'a\tb', '1'),
    fc.constantFrom(null, '{}', '{"a": 1}'),
    fc.constantFrom(null, '1.50', '0.00'),
  )
  const changes = fc.array(
    fc.uniqueArray(
      fc.tuple(
        image,
        fc.integer({ min: -3, max: 3 }).filter((count) => count !== 0),
      ),
      {
        selector: ([each]) => JSON.stringify(each),
        maxLength: 5,
      },
    ),
    { minLength: 1, maxLength: 6 },
  )

  it.each(['Hard', 'Soft'] as const)('count their rows, deletes %s', async (deletes) => {
    await fc.assert(
      fc.asyncProperty(changes, async (batches) => {
        const { definition, row } = await fresh(['v text', 'j json', 'n numeric(10,2)'], [], deletes)
        let ledger = row
        const expected = new Map<string, number>()
        for (const keyless of batches) {
          ledger = await apply(ledger, definition, {
            options: { deletes },
            keyless: keyless.map(([each, count]) => ({ image: each, count })),
          })
          for (const [each, count] of keyless) {
            const id = JSON.stringify(each)
            expected.set(id, Math.max(0, (expected.get(id) ?? 0) + count))
          }
          const alive = deletes === 'Soft' ? 'where not __millrace_deleted' : ''
          const found = await query<{ image: string[]; count: number }>(
            url,
            `select json_build_array(v, j::text, n::text) as image, count(*)::int as count
             from "${definition.name}" ${alive} group by v, j::text, n`,
          )
          const text = (entries: [string, number][]) => entries.map(([id, count]) => `${id} ${count}`).sort()
          expect(text(found.map(({ image: each, count }) => [JSON.stringify(each), count]))).toEqual(
            text([...expected].filter(([, count]) => count > 0)),
          )
        }
      }),
      { numRuns: 25 },
    )
  })

  it('tell rows apart that differ by trailing blanks alone', async () => {
    const { definition, row } = await fresh(['v bpchar', 'n integer'], [])
    const rows = ['', ' ', '   ', 'a', 'a ', 'a   '].map((v) => [v, '1'])
    const filled = await apply(row, definition, { keyless: rows.map((image) => ({ image, count: 2 })) })
    const removed = [' ', 'a', 'a   '].map((v) => ({ image: [v, '1'], count: -2 }))
    await apply(filled, definition, { keyless: removed })
    expect(
      await query(
        url,
        `select v, count(*)::int as n from (select format('%s', v) as v from "${definition.name}") t
         group by v order by v collate "C"`,
      ),
    ).toEqual(['', '   ', 'a '].map((v) => ({ v, n: 2 })))
  })

  it('have the marks of a source that is a destination itself as values', async () => {
    const { definition, row } = await fresh(['v text', '__millrace_deleted boolean'], [])
    const filled = await apply(row, definition, {
      keyless: ['t', 'f'].map((mark) => ({ image: ['a', mark], count: 2 })),
    })
    await apply(filled, definition, { keyless: [{ image: ['a', 't'], count: -1 }] })
    expect(await rowsOf(definition, '__millrace_deleted as mark', '__millrace_deleted')).toEqual(
      [false, false, true].map((mark) => ({ mark })),
    )
  })

  it('takes away exactly as many as there are, of a partitioned table too', async () => {
    await query(url, `create table parts (v text, n integer) partition by hash (n)`)
    for (const n of [0, 1]) {
      await query(
        url,
        `create table parts_${n} partition of parts for values with (modulus 2, remainder ${n})`,
      )
    }
    const definition = define('parts', ['v text', 'n integer'], [])
    const row = await claim(destination, definition)
    const images = Array.from({ length: 20 }, (_, n) => ({ image: ['same', String(n)], count: 5 }))
    const filled = await apply(row, definition, { keyless: images })
    await apply(filled, definition, { keyless: images.map((each) => ({ ...each, count: -4 })) })
    expect(await query(url, 'select count(*)::int as n, count(distinct n)::int as d from parts')).toEqual([
      { n: 20, d: 20 },
    ])
  })
})

describe('a flush', () => {
  it('has the marks of a source that is a destination itself as values', async () => {
    const { definition, row } = await fresh(['id integer', '__millrace_deleted boolean', 'v text'], ['id'])
    const filled = await apply(row, definition, {
      upserts: [
        ['1', 'f', 'a'],
        ['2', 't', 'b'],
      ],
    })
    await apply(filled, definition, {
      upserts: [
        ['1', 't', undefined],
        ['2', 't', undefined],
      ],
    })
    expect(await rowsOf(definition, 'id, __millrace_deleted as mark, v')).toEqual([
      { id: 1, mark: true, v: 'a' },
      { id: 2, mark: true, v: 'b' },
    ])
  })

  it('finds a row by a composite key with NULLs in it, and takes unchanged values from there', async () => {
    await query(url, 'create type pair as (x int, y text)')
    const { definition, row } = await fresh(['k public.pair', 'v text', 'w text'], ['k'])
    const filled = await apply(row, definition, {
      upserts: [
        ['(1,)', 'a', 'long'],
        ['(,)', 'b', 'long'],
      ],
    })
    const changed = await apply(filled, definition, {
      upserts: [
        ['(1,)', 'c', undefined],
        ['(,)', 'd', undefined],
      ],
    })
    expect(await rowsOf(definition, 'k::text as k, v, w', 'v')).toEqual([
      { k: '(1,)', v: 'c', w: 'long' },
      { k: '(,)', v: 'd', w: 'long' },
    ])
    await apply(changed, definition, { upserts: [['(1,)', 'e', 'new']] })
    expect(await rowsOf(definition, 'k::text as k, v, w', 'v')).toMatchObject([
      { v: 'd' },
      { v: 'e', w: 'new' },
    ])
  })

  it('keeps what is the destination’s own', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const name = `"${definition.name}"`
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    await query(url, `alter table ${name} add note text, add at timestamptz not null default 'epoch'`)
    await query(url, `update ${name} set note = 'mine'`)
    await query(url, `create unique index on ${name} (v)`)
    await apply(filled, definition, {
      upserts: [
        ['1', 'b'],
        ['2', 'a'],
      ],
    })
    expect(await rowsOf(definition, 'id, v, note, at is not null as at')).toEqual([
      { id: 1, v: 'b', note: 'mine', at: true },
      { id: 2, v: 'a', note: null, at: true },
    ])
  })

  it('lets rows exchange what an index of the destination wants to be unique', async () => {
    const { definition, row } = await fresh(['id integer', 'place integer', 'v text'], ['id'], 'Soft')
    const name = `"${definition.name}"`
    await query(url, `alter table ${name} add own text, add serial bigint generated always as identity`)
    await query(url, `create unique index on ${name} (place)`)
    const options = soft
    const filled = await apply(row, definition, {
      options,
      upserts: [
        ['1', '1', 'a'],
        ['2', '2', 'b'],
        ['3', '3', 'c'],
        ['4', '4', 'gone'],
      ],
      deletes: [],
    })
    await query(url, `update ${name} set own = 'own ' || id`)
    const serials = await query<{ id: number; serial: number }>(url, `select id, serial::int from ${name}`)
    const serialOf = (id: number) => serials.find((each) => each.id === id)?.serial
    const deleted = await apply(filled, definition, { options, deletes: [['4']] })
    const swap = [
      ['1', '2', undefined],
      ['2', '3', 'B'],
      ['3', '1', undefined],
      ['5', '5', 'e'],
    ]
    const unfilled = batch(deleted, definition, { options, upserts: [...swap, ['4', '6', undefined]] })
    expect(await destination.flush(unfilled, never)).toEqual({ kind: 'missing', keys: [['4']] })
    await apply(deleted, definition, { options, upserts: swap })
    expect(await rowsOf(definition, 'id, place, v, own, serial::int, __millrace_deleted as gone')).toEqual([
      { id: 1, place: 2, v: 'a', own: 'own 1', serial: serialOf(1), gone: false },
      { id: 2, place: 3, v: 'B', own: 'own 2', serial: serialOf(2), gone: false },
      { id: 3, place: 1, v: 'c', own: 'own 3', serial: serialOf(3), gone: false },
      { id: 4, place: 4, v: 'gone', own: 'own 4', serial: serialOf(4), gone: true },
      { id: 5, place: 5, v: 'e', own: null, serial: expect.any(Number), gone: false },
    ])
    const collision = apply(await current(definition), definition, {
      options,
      upserts: [
        ['1', '5', 'a'],
        ['6', '7', 'f'],
      ],
    })
    await expect(collision).rejects.toMatchObject({
      code: 'ValueRejected',
      message: expect.stringContaining('unique index'),
    })
  })

  it('does not write large values again that did not change', async () => {
    const { definition, row } = await fresh(['id integer', 'n integer', 'big text'], ['id'])
    await query(url, `alter table "${definition.name}" alter big set storage external`)
    const filled = await apply(row, definition, { upserts: [['1', '0', LONG]] })
    const size = () =>
      query(
        url,
        `select pg_relation_size(reltoastrelid) as size from pg_class where oid = '"${definition.name}"'::regclass`,
      )
    const before = await size()
    await apply(filled, definition, { upserts: [['1', '1', undefined]] })
    expect(await size()).toEqual(before)
    expect(await rowsOf(definition, 'n, length(big) as length')).toEqual([{ n: 1, length: LONG.length }])
  })

  it('is a transaction with the ledger', async () => {
    const { definition, row } = await fresh(['id integer', 'v character varying(3)'], ['id'])
    const bad = batch(row, definition, {
      upserts: [
        ['1', 'abc'],
        ['2', 'secret value'],
      ],
    })
    const failure = destination.flush(bad, never)
    await expect(failure).rejects.toMatchObject({
      code: 'ValueRejected',
      retryable: false,
      message: expect.stringMatching(/public\.flushed_\d+: a value of column "v" is too long/),
    })
    await failure.catch((error) =>
      expect(JSON.stringify(error) + String(error.cause)).not.toContain('secret'),
    )
    expect(await rowsOf(definition)).toEqual([])
    expect(await destination.ledger.readTable(nameOf(definition), never)).toEqual(row)
  })

  it('follows a column that lost its NOT NULL in the source', async () => {
    const { definition, row } = await fresh(
      [column('id', 'integer', { notNull: true }), column('v', 'text', { notNull: true })],
      ['id'],
    )
    await apply(row, definition, { upserts: [['1', null]] })
    expect(await rowsOf(definition)).toEqual([{ id: 1, v: null }])
  })

  it('sees what another process did to the table', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    const wider = define(definition.name, ['id bigint', 'v text', 'w integer'], ['id'])
    const second = openOn(url)
    await second.ensureTable(nameOf(wider), wider, soft, never)
    await second.close()
    const full = await apply(filled, wider, { upserts: [['9223372036854775807', 'b', '1']], options: soft })
    await apply(full, wider, { deletes: [['1']], options: soft })
    expect(await rowsOf(definition, 'id::text, v, w, __millrace_deleted as gone')).toEqual([
      { id: '1', v: 'a', w: null, gone: true },
      { id: '9223372036854775807', v: 'b', w: 1, gone: false },
    ])
  })

  it('converts for the type that a column has now', async () => {
    const { definition, row } = await fresh(['id integer', 'v integer'], ['id'])
    const filled = await apply(row, definition, { upserts: [['1', '7']] })
    await query(url, `alter table "${definition.name}" alter v type text`)
    await apply(filled, define(definition.name, ['id integer', 'v text'], ['id']), {
      upserts: [['2', '007']],
    })
    expect(await rowsOf(definition, 'v', 'id')).toEqual([{ v: '7' }, { v: '007' }])
  })

  it('adds the columns that its definition has and the table lacks', async () => {
    const { definition, row } = await fresh(['id integer'], ['id'])
    const filled = await apply(row, definition, { upserts: [['1']] })
    const more = define(
      definition.name,
      ['id integer', column('n', 'integer', { constantDefault: '7' })],
      ['id'],
    )
    await apply(filled, more, { upserts: [['2', null]] })
    expect(await rowsOf(definition)).toEqual([
      { id: 1, n: 7 },
      { id: 2, n: null },
    ])
  })

  it('says so when the table is gone', async () => {
    const { definition, row } = await fresh(['id integer'], ['id'])
    await query(url, `drop table "${definition.name}"`)
    await expect(apply(row, definition, { upserts: [['1']] })).rejects.toMatchObject({
      code: 'DestinationConflict',
      message: expect.stringContaining('destinationTable Drop'),
    })
  })

  it('names the constraint that refuses a row', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    await query(url, `alter table "${definition.name}" add constraint even check (id % 2 = 0)`)
    await expect(apply(row, definition, { upserts: [['1', 'a']] })).rejects.toMatchObject({
      code: 'ValueRejected',
      message: expect.stringContaining('check constraint "even"'),
    })
  })

  it('finds rows by the equality of the key’s type', async () => {
    await query(url, 'create extension citext schema public')
    const citext = column('id', 'public.citext', { notNull: true })
    const { definition, row } = await fresh([citext, column('v', 'text'), column('w', 'text')], ['id'])
    const filled = await apply(row, definition, { upserts: [['Key', 'a', 'b']] })
    await apply(filled, definition, { upserts: [['KEY', 'c', undefined]] })
    expect(await rowsOf(definition)).toEqual([{ id: 'KEY', v: 'c', w: 'b' }])
  })

  it('of a thousand columns passes, as does one of many rows', async () => {
    const wide = Array.from({ length: 1000 }, (_, n) => `c${n} ${n % 2 ? 'text' : 'integer'}`)
    const { definition, row } = await fresh(['id integer', ...wide], ['id'])
    const image = (id: string): RowImage => [id, ...wide.map((_, n) => (n % 2 ? 't' : String(n)))]
    const filled = await apply(row, definition, { upserts: [image('1'), image('2')] })
    const partial = image('1').map((value, n) => (n > 500 ? undefined : n === 2 ? 'new' : value))
    await apply(filled, definition, { upserts: [partial], deletes: [['2']] })
    expect(await rowsOf(definition, 'id, c1, c998, c999')).toEqual([
      { id: 1, c1: 'new', c998: 998, c999: 't' },
    ])

    const many = await fresh(['id integer', 'v text'], ['id'])
    const rows = (text: string) =>
      Array.from({ length: 20_000 }, (_, id): RowImage => [String(id), `${text} ${id}`])
    const first = await apply(many.row, many.definition, { upserts: rows('first') })
    await apply(first, many.definition, {
      upserts: rows('second').slice(5000),
      deletes: Array.from({ length: 2000 }, (_, id) => [String(id)]),
    })
    const counts = await rowsOf(
      many.definition,
      `count(*)::int as n, count(*) filter (where v = 'second ' || id)::int as second`,
    )
    expect(counts).toEqual([{ n: 18_000, second: 15_000 }])
  })

  it('keeps names to the letter', async () => {
    const long = 'ä'.repeat(31)
    const definition = {
      ...define(`select "x".${'y'.repeat(40)}`, ['order integer', `${long} text`, '$1 text'], ['order']),
      schema: 'From "here"',
    }
    await destination.ensureTable(nameOf(definition), definition, hard, never)
    const row = await claim(destination, definition)
    await apply(row, definition, {
      upserts: [['1', 'a', undefined]].map((each) => [...each.slice(0, 2), 'b']),
    })
    await apply(await current(definition), definition, { upserts: [['1', 'c', undefined]] })
    expect(await query(url, `select * from "From ""here"""."select ""x"".${'y'.repeat(40)}"`)).toEqual([
      { order: 1, [long]: 'c', $1: 'b' },
    ])
  })
})
