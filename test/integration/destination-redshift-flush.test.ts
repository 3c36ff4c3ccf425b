import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Batch, Destination, RowImage } from '../../workers/destination/destination.ts'
import type { LedgerTable } from '../../workers/destination/ledger.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import {
  batch,
  claim,
  column,
  define,
  hard,
  hold,
  nameOf,
  never,
  soft,
} from './destination-postgres-fixture.ts'
import { openTestWarehouse, type TestWarehouse, useS3 } from './destination-redshift-fixture.ts'

useS3()
let warehouse: TestWarehouse
let destination: Destination

beforeAll(async () => {
  warehouse = await openTestWarehouse('redshift_flush')
  destination = warehouse.open()
  await destination.ledger.open(never)
})

afterAll(async () => {
  await destination?.close()
  await warehouse?.close()
})

/** A document as text; of NULL, JSON_SERIALIZE makes the document null. */
const document = (name: string) => `case when ${name} is not null then json_serialize(${name}) end`

let made = 0
async function fresh(
  columns: Parameters<typeof define>[1],
  key: string[],
  deletes: 'Hard' | 'Soft' = 'Hard',
  name = `flushed_${++made}`,
) {
  const definition = define(name, columns, key)
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

const rowsOf = (definition: TableDefinition, what = '*', order = '1') =>
  warehouse.rows(`select ${what} from "${definition.name}" order by ${order}`)

/** A value this long makes a batch too large for statements, so that it goes by way of a file. */
const LONG = 'l'.repeat(60_000)

describe('batches of a table with a key', () => {
  const columns = ['a integer', 'b text', 'v text', 'j jsonb', 'n numeric(10,2)']
  // Trailing blanks make two keys of one that Redshift would call equal.
  const key = fc.tuple(fc.constantFrom('1', '2', '3'), fc.constantFrom('', 'x', 'x ', `it's "\\`))
  const values = fc.tuple(
    fc.oneof(
      {
        weight: 30,
        arbitrary: fc.constantFrom(undefined, null, '', 'v', '\\N', 'tab\tnew\nline\r', '{"a",NULL}', '𝄞'),
      },
      { weight: 1, arbitrary: fc.constant(LONG) },
    ),
    fc.constantFrom(undefined, null, '{"b":1}', '[]'),
    fc.constantFrom(undefined, null, '0.00', '-12345678.90'),
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

  it.each(['Hard', 'Soft'] as const)(
    'end like their changes one by one, deletes %s',
    async (deletes) => {
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
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
              `a::varchar(20), b, v, ${document('j')}, n::varchar(20), ${deleted}`,
              'a, b',
            )
            const wanted = [...expected].map(([id, { values, deleted: gone }]) => [
              ...id.split('|'),
              ...values,
              gone,
            ])
            const text = (rows: readonly unknown[][]) => rows.map((each) => JSON.stringify(each)).sort()
            expect(text(found)).toEqual(text(wanted))
          }
        }),
        { numRuns: 20 },
      )
    },
    600_000,
  )
})

describe('batches of a table without a key', () => {
  const image = fc.tuple(
    fc.constantFrom(null, '', 'a', 'a ', 'a\tb', '1'),
    fc.constantFrom(null, '{}', '{"a":1}'),
    fc.constantFrom(null, '1.50', '0.00'),
    fc.constantFrom(null, 't', 'f'),
    fc.constantFrom(null, '00ff'),
    fc.constantFrom(null, '2024-01-01', '1900-01-01'),
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
    { minLength: 1, maxLength: 5 },
  )

  it.each(['Hard', 'Soft'] as const)(
    'count their rows, deletes %s',
    async (deletes) => {
      await fc.assert(
        fc.asyncProperty(changes, async (batches) => {
          const { definition, row } = await fresh(
            ['v text', 'j jsonb', 'n numeric(10,2)', 'f boolean', 'x bytea', 'd date'],
            [],
            deletes,
          )
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
            const found = await warehouse.rows(
              `select v, ${document('j')}, n::varchar(20), f, to_hex(x), d from "${definition.name}" ${alive}`,
            )
            const counted = new Map<string, number>()
            for (const [v, j, n, f, x, d] of found) {
              const id = JSON.stringify([v, j, n, f === null ? null : f ? 't' : 'f', x, d])
              counted.set(id, (counted.get(id) ?? 0) + 1)
            }
            const text = (entries: [string, number][]) =>
              entries.map(([id, count]) => `${id} ${count}`).sort()
            expect(text([...counted])).toEqual(text([...expected].filter(([, count]) => count > 0)))
          }
        }),
        { numRuns: 12 },
      )
    },
    600_000,
  )

  it.each(['Hard', 'Soft'] as const)(
    'that are equal only in Redshift are removed as often as all of them, deletes %s',
    async (deletes) => {
      const columns = [
        'v numeric',
        'f double precision',
        't text',
        'd date',
        'j json',
        's timestamp with time zone',
      ]
      const { definition, row } = await fresh(columns, [], deletes)
      const long = 'x'.repeat(65_535)
      // Three groups of what is one row in Redshift, and a row that nothing is like.
      const groups = [
        [
          ['1.0', '0', 'a', null, '{"a": 1}', null],
          ['1.00', '-0', 'a', null, '{"a":1}', null],
          ['1.000', '0', 'a', null, '{ "a" : 1 }', null],
        ],
        [
          ['2', 'NaN', `${long}y`, '9999-12-31', null, '2024-01-01 00:00:00+00'],
          ['2', null, `${long}z`, 'infinity', null, '2024-01-01 00:00:00+00'],
        ],
        [['1.0', '0', 'a ', null, '{"a": 1}', null]],
      ]
      const change = (counts: readonly number[]) => ({
        options: { deletes },
        keyless: groups.flatMap((images, group) =>
          images.map((image) => ({
            image: image.map((value, index) => {
              const its = definition.columns[index]
              return value === null || !its ? null : destination.convertValue(its, value, definition)
            }),
            count: counts[group] ?? 0,
          })),
        ),
      })
      const alive = deletes === 'Soft' ? 'where not __millrace_deleted' : ''
      const left = () =>
        warehouse.rows(
          `select v::integer, len(t), count(*) from "${definition.name}" ${alive} group by 1, 2 order by 1, 2`,
        )
      const filled = await apply(row, definition, change([2, 2, 2]))
      expect(await left()).toEqual([
        [1, 1, 6],
        [1, 2, 2],
        [2, 65_535, 4],
      ])
      const fewer = await apply(filled, definition, change([-1, -1, -1]))
      expect(await left()).toEqual([
        [1, 1, 3],
        [1, 2, 1],
        [2, 65_535, 2],
      ])
      await apply(fewer, definition, change([-1, -1, -1]))
      expect(await left()).toEqual([])
    },
  )

  it('with large documents are told from others, and refused where they are what is to be found', async () => {
    const { definition, row } = await fresh(['v text', 'j jsonb'], [])
    const large = JSON.stringify(Array.from({ length: 7000 }, (_, n) => `${n} of many`))
    const filled = await apply(row, definition, {
      keyless: [
        { image: ['a', large], count: 2 },
        { image: ['a', '[1]'], count: 2 },
      ],
    })
    const left = await apply(filled, definition, { keyless: [{ image: ['a', '[1]'], count: -1 }] })
    const counted = async () => (await rowsOf(definition, 'json_size(j) > 65535')).flat()
    expect(await counted()).toEqual([false, true, true])
    await expect(
      apply(left, definition, { keyless: [{ image: ['a', large], count: -1 }] }),
    ).rejects.toMatchObject({ code: 'ValueRejected', message: expect.stringContaining('column "j"') })
    expect(await counted()).toEqual([false, true, true])
  })
})

describe('a flush', () => {
  it('keeps what is the destination’s own', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const name = `"${definition.name}"`
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    await warehouse.run(`alter table ${name} add column note varchar(20)`)
    await warehouse.run(`alter table ${name} add column at date not null default '2020-01-01'`)
    await warehouse.run(`update ${name} set note = 'mine', at = '2021-01-01'`)
    // Another pod, which sees the table as it is now.
    const other = warehouse.open()
    const result = await other.flush(
      batch(filled, definition, {
        upserts: [
          ['1', 'b'],
          ['2', 'a'],
        ],
      }),
      never,
    )
    expect(result.kind).toBe('applied')
    await other.close()
    expect(await rowsOf(definition, 'id, v, note, at')).toEqual([
      [1, 'b', 'mine', '2021-01-01'],
      [2, 'a', null, '2020-01-01'],
    ])
  })

  it('keeps what was added while its process was at work', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const name = `"${definition.name}"`
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    await warehouse.run(`alter table ${name} add column note varchar(20)`)
    await warehouse.run(`update ${name} set note = 'mine'`)
    await apply(filled, definition, {
      upserts: [
        ['1', 'b'],
        ['2', LONG],
      ],
    })
    expect(await rowsOf(definition, 'id, len(v), note')).toEqual([
      [1, 1, 'mine'],
      [2, LONG.length, null],
    ])
  })

  it('fills unchanged columns in many patterns', async () => {
    const names = Array.from({ length: 15 }, (_, n) => `c${n} text`)
    const { definition, row } = await fresh(['id integer', ...names], ['id'])
    const full = (id: number) => [String(id), ...names.map((_, n) => `${id}-${n}`)]
    const filled = await apply(row, definition, {
      upserts: Array.from({ length: 14 }, (_, id) => full(id)),
    })
    await apply(filled, definition, {
      upserts: Array.from({ length: 14 }, (_, id) =>
        full(id).map((value, index) => (index === id + 1 ? undefined : index === 0 ? value : `new ${value}`)),
      ),
    })
    const found = await rowsOf(definition)
    for (const [id, values] of found.entries()) {
      expect(values.slice(1)).toEqual(names.map((_, n) => (n === id ? `${id}-${n}` : `new ${id}-${n}`)))
    }
  })

  it('tells which of many rows with long keys are missing', async () => {
    const { definition, row } = await fresh(['id text', 'v text'], ['id'])
    const key = (n: number) => `${n} ${'k'.repeat(250)}`
    const filled = await apply(row, definition, {
      upserts: Array.from({ length: 400 }, (_, n) => [key(n), 'v']),
    })
    const result = await destination.flush(
      batch(filled, definition, { upserts: Array.from({ length: 410 }, (_, n) => [key(n), undefined]) }),
      never,
    )
    const missing = result.kind === 'missing' ? result.keys.map(([id]) => id).sort() : []
    expect(missing).toEqual(Array.from({ length: 10 }, (_, n) => key(400 + n)))
  })

  it('is refused with an old version, and writes nothing', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const moved = await apply(row, definition, { upserts: [['1', 'a']] })
    const other = warehouse.open()
    await expect(
      other.flush(batch(row, definition, { upserts: [['1', 'stale']] }), never),
    ).rejects.toMatchObject({
      code: 'LedgerConflict',
    })
    await other.close()
    expect(await rowsOf(definition)).toEqual([[1, 'a']])
    expect(await destination.ledger.readTable(nameOf(definition), never)).toEqual(moved)
  })

  it('that comes at once from two pods is applied once', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const other = warehouse.open()
    const results = await Promise.allSettled([
      destination.flush(batch(row, definition, { upserts: [['1', 'one']] }), never),
      other.flush(batch(row, definition, { upserts: [['1', 'two']] }), never),
    ])
    await other.close()
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const [found] = await rowsOf(definition)
    expect(found?.[1]).toBe(results[0]?.status === 'fulfilled' ? 'one' : 'two')
    expect((await destination.ledger.readTable(nameOf(definition), never))?.version).toBe(row.version + 1n)
  })

  it('names the column of a value that the destination refuses, and not the value', async () => {
    const { definition, row } = await fresh(['id integer', 'v integer'], ['id'])
    for (const padding of [0, 3000]) {
      const more = Array.from({ length: padding }, (_, n) => [String(100 + n), '1'])
      const failure = destination.flush(
        batch(row, definition, { upserts: [['1', 'secret value'], ...more] }),
        never,
      )
      await expect(failure).rejects.toMatchObject({ code: 'ValueRejected', retryable: false })
      await failure.catch((error) =>
        expect(JSON.stringify(error) + String(error.message) + String(error.cause)).not.toContain('secret'),
      )
      if (padding > 0) await expect(failure).rejects.toThrow(/column "v"/)
    }
    expect(await rowsOf(definition)).toEqual([])
    expect(await destination.ledger.readTable(nameOf(definition), never)).toEqual(row)
  })

  it('of a truncate alone truncates, and one with rows after it keeps those', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const filled = await apply(row, definition, {
      upserts: [
        ['1', 'a'],
        ['2', 'b'],
      ],
    })
    const emptied = await apply(filled, definition, { truncate: true })
    expect(await rowsOf(definition)).toEqual([])
    const again = await apply(emptied, definition, { upserts: [['3', 'c']] })
    await apply(again, definition, { truncate: true, upserts: [['4', 'd']] })
    expect(await rowsOf(definition)).toEqual([[4, 'd']])
  })

  it('takes columns of every shape and number', async () => {
    const names = Array.from({ length: 400 }, (_, n) => column(`Säule "${n}`.replace('"', '´'), 'text'))
    const { definition, row } = await fresh(
      [
        'id integer',
        ...names,
        ...['select', 'table', 'user', 'encode', 'tag'].map((name) => column(name, 'integer')),
      ],
      ['id'],
    )
    const image = (id: string) => [id, ...names.map((_, n) => `v${n}`), '1', '2', '3', '4', '5']
    const filled = await apply(row, definition, { upserts: [image('1')] })
    await apply(filled, definition, {
      upserts: [image('1').map((value, index) => (index === 7 ? undefined : value)), image('2')],
    })
    expect(await rowsOf(definition, 'id, "select", "encode", "säule ´399"')).toEqual([
      [1, 1, 4, 'v399'],
      [2, 1, 4, 'v399'],
    ])
  })

  it('passes a hold on to its backfill and nothing else', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const held = await destination.ledger.recordHeld(row, hold(`f-${definition.name}`), never)
    for (const ledger of [row, held]) {
      await expect(
        destination.flush(batch(ledger, definition, { upserts: [['1', 'x']] }), never),
      ).rejects.toMatchObject({ code: 'LedgerConflict' })
    }
    expect(await rowsOf(definition)).toEqual([])
  })

  it('takes a table that has the name of an alias', async () => {
    const keyed = await fresh(['id integer', 'v text', 'w text'], ['id'], 'Hard', 's')
    const filled = await apply(keyed.row, keyed.definition, { upserts: [['1', 'a', 'b']] })
    const upserts = [
      ['1', undefined, 'c'],
      ['2', undefined, 'c'],
    ]
    const missing = await destination.flush(batch(filled, keyed.definition, { upserts }), never)
    expect(missing).toEqual({ kind: 'missing', keys: [['2']] })
    await warehouse.run('drop table s')
    const bare = define('s', ['v text'], [])
    await destination.ensureTable(nameOf(bare), bare, soft, never)
    const removing = { options: soft, keyless: [{ image: ['a'], count: -1 }] }
    const twice = await apply(filled, bare, { options: soft, keyless: [{ image: ['a'], count: 2 }] })
    await apply(twice, bare, removing)
    expect(await rowsOf(bare, 'v, __millrace_deleted', '2')).toEqual([
      ['a', false],
      ['a', true],
    ])
  })

  it('moves the ledger alone without any row', async () => {
    const { definition, row } = await fresh(['id integer'], ['id'])
    const moved = await apply(row, definition, { nextOffset: 77n, facts: { incarnation: 'i2' } })
    expect(moved).toMatchObject({ nextOffset: 77n, incarnation: 'i2', version: row.version + 1n })
    expect(await destination.ledger.readTable(nameOf(definition), never)).toEqual(moved)
  })

  it('finds that its table was dropped and made again, and writes nothing into the new one', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    for (const columns of ['id integer, v varchar(65535)', 'id integer']) {
      const { id } = await destination.ensureTable(nameOf(definition), definition, hard, never)
      await warehouse.run(`drop table "${definition.name}"`)
      await warehouse.run(`create table "${definition.name}" (${columns})`)
      await expect(
        destination.flush(batch(filled, definition, { upserts: [['2', 'b']] }), never),
      ).rejects.toMatchObject({ code: 'DestinationChanged', message: expect.stringContaining('made again') })
      expect(await rowsOf(definition)).toEqual([])
      expect(await destination.ledger.readTable(nameOf(definition), never)).toEqual(filled)
      const { facts } = await destination.inspectTable(nameOf(definition), never)
      expect(facts?.id).not.toBe(id)
    }
    // Whoever makes it fit has had a look at it.
    await destination.ensureTable(nameOf(definition), definition, hard, never)
    await apply(filled, definition, { upserts: [['2', 'b']] })
    expect(await rowsOf(definition, 'id, v')).toEqual([[2, 'b']])
  })

  it('finds that a column is gone, and does not add it again without a word', async () => {
    const { definition, row } = await fresh(['id integer', column('Value', 'text')], ['id'])
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    const { id } = await destination.ensureTable(nameOf(definition), definition, hard, never)
    await warehouse.run(`alter table "${definition.name}" drop column value`)
    await expect(
      destination.flush(batch(filled, definition, { upserts: [['2', 'b']] }), never),
    ).rejects.toMatchObject({ code: 'DestinationChanged', message: expect.stringContaining('"Value"') })
    expect(await rowsOf(definition)).toEqual([[1]])
    const { facts } = await destination.inspectTable(nameOf(definition), never)
    expect([facts?.id, facts?.has('id'), facts?.has('Value')]).toEqual([id, true, false])
    await destination.ensureTable(nameOf(definition), definition, hard, never)
    await apply(filled, definition, { upserts: [['2', 'b']] })
    expect(await rowsOf(definition)).toEqual([
      [1, null],
      [2, 'b'],
    ])
  })

  it('goes on when a column that is the destination’s own is dropped, or the table altered otherwise', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const name = `"${definition.name}"`
    await warehouse.run(`alter table ${name} add column note varchar(20)`)
    await destination.ensureTable(nameOf(definition), definition, hard, never)
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    await warehouse.run(`alter table ${name} drop column note`)
    await warehouse.run(`alter table ${name} alter diststyle all`)
    await warehouse.run(`alter table ${name} add column more integer`)
    await apply(filled, definition, { upserts: [['1', 'b']] })
    expect(await rowsOf(definition, 'id, v')).toEqual([[1, 'b']])
  })

  it('finds a table that was dropped, and one that was made anew', async () => {
    const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
    const filled = await apply(row, definition, { upserts: [['1', 'a']] })
    await warehouse.run(`drop table "${definition.name}"`)
    await expect(
      destination.flush(batch(filled, definition, { upserts: [['2', 'b']] }), never),
    ).rejects.toMatchObject({ code: 'TableNotFound' })
    await warehouse.run(`create table "${definition.name}" (id integer)`)
    await apply(filled, definition, { upserts: [['2', 'b']] })
    expect(await rowsOf(definition, 'id, v')).toEqual([[2, 'b']])
  })
})

it('sends one file with its manifest and one batch for a flush', async () => {
  const calls: string[] = []
  const counted = warehouse.open('pipeline-1', { onCall: (operation) => calls.push(operation) })
  const { definition, row } = await fresh(['id integer', 'v text'], ['id'])
  const first = await counted.flush(batch(row, definition, { upserts: [['0', 'warm']] }), never)
  if (first.kind !== 'applied') throw new Error('missing')
  calls.length = 0
  const upserts = Array.from({ length: 5000 }, (_, n) => [String(n), `value ${n}`])
  await counted.flush(batch(first.ledger, definition, { upserts, options: hard }), never)
  expect(calls.filter((call) => call !== 'describe')).toEqual(['batch'])
  await counted.close()
  expect(await warehouse.rows(`select count(*) from "${definition.name}"`)).toEqual([[5000]])
})

it('adds, lengthens and replaces columns', async () => {
  const { definition, row } = await fresh(
    ['id integer', 'v character varying(5)', 'n integer', 'p numeric(6,2)'],
    ['id'],
  )
  const filled = await apply(row, definition, { upserts: [['1', 'abcde', '7', '1.50']] })
  const wider = define(
    definition.name,
    [
      'id integer',
      'v character varying(50)',
      'n bigint',
      'p numeric(12,4)',
      column('added', 'text', { constantDefault: `it's \\ new` }),
      column('plain', 'jsonb'),
    ],
    ['id'],
  )
  expect(await destination.ensureTable(nameOf(wider), wider, soft, never)).toEqual({
    id: expect.any(String),
    columns: expect.arrayContaining(['id', 'v', 'added', 'plain', 'n', 'p', '__millrace_deleted']),
  })
  await apply(filled, wider, {
    options: soft,
    upserts: [['2', 'a much longer text', '9223372036854775807', '12345678.1234', null, '{"a":[1]}']],
  })
  expect(
    await rowsOf(
      wider,
      `id, v, n::varchar(20), p::varchar(20), added, ${document('plain')}, __millrace_deleted`,
    ),
  ).toEqual([
    [1, 'abcde', '7', '1.5000', `it's \\ new`, null, false],
    [2, 'a much longer text', '9223372036854775807', '12345678.1234', null, '{"a":[1]}', false],
  ])
  const other = define(definition.name, ['id integer', 'v date'], ['id'])
  await expect(destination.ensureTable(nameOf(other), other, hard, never)).resolves.toBeDefined()
  const narrower = define(definition.name, ['id text', 'n integer'], ['id'])
  await expect(destination.ensureTable(nameOf(narrower), narrower, hard, never)).rejects.toMatchObject({
    code: 'SchemaChangeUnsupported',
    message: expect.stringContaining('"id"'),
  })
})

it('refuses names that are one in Redshift', async () => {
  const twice = define('names', ['id integer', 'Name text', 'name text'], ['id'])
  await expect(destination.ensureTable(nameOf(twice), twice, hard, never)).rejects.toMatchObject({
    code: 'InvalidSpec',
    message: expect.stringMatching(/"Name" and "name" of table public.names/),
  })
  const system = define('names', ['id integer', 'oid text'], ['id'])
  await expect(destination.ensureTable(nameOf(system), system, hard, never)).rejects.toMatchObject({
    code: 'InvalidSpec',
  })
})
