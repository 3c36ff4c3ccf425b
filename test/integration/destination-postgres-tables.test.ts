import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import type { ActionResult } from '../../workers/destination/destination.ts'
import type { DestinationAction, LedgerTableFacts } from '../../workers/destination/ledger.ts'
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
  openOn,
  prepare,
  soft,
} from './destination-postgres-fixture.ts'
import { createDatabase } from './services.ts'

const { url } = await createDatabase('destination_tables', 'destination')
const one = openOn(url)
const two = openOn(url)

beforeAll(() => one.ledger.open(never))
afterAll(() => Promise.all([one.close(), two.close()]))

const simple = (name: string) => define(name, ['id integer', 'v text'], ['id'])
const ensure = (definition: TableDefinition, options: { deletes: 'Hard' | 'Soft' } = hard) =>
  one.ensureTable(nameOf(definition), definition, options, never)

/** Columns as `name type [not null] [default …]`, and the table's keys. */
async function describeTable(name: string) {
  const columns = await query<{ text: string }>(
    url,
    `select concat_ws(' ', attname, format_type(atttypid, atttypmod), case when attnotnull then 'not null' end,
       'default ' || pg_get_expr(adbin, adrelid)) as text
     from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
     where attrelid = '"${name}"'::regclass and attnum > 0 and not attisdropped order by attnum`,
  )
  const keys = await query<{ text: string }>(
    url,
    `select pg_get_constraintdef(oid) as text from pg_constraint
     where conrelid = '"${name}"'::regclass and contype in ('p', 'u')`,
  )
  return [...columns, ...keys].map(({ text }) => text)
}

describe('a destination table', () => {
  it('is made from its definition, once, by however many want it', async () => {
    const definition = {
      ...define('made', ['id bigint', 'v character varying(10)'], ['id']),
      schema: 'new_one',
    }
    const all = [one, two, one, two, one, two].map((each) =>
      each.ensureTable(nameOf(definition), definition, soft, never),
    )
    await Promise.all(all)
    expect(await one.inspectTable(nameOf(definition), never)).toEqual({ exists: true, empty: true })
    await query(url, `insert into new_one.made values (1, 'a')`)
    expect(await one.inspectTable(nameOf(definition), never)).toEqual({ exists: true, empty: false })
    expect(await one.inspectTable({ schema: 'no', name: 'where' }, never)).toEqual({
      exists: false,
      empty: true,
    })
  })

  it('that was emptied by hand can be told from one that was rewritten', async () => {
    const target = nameOf(simple('rewritten'))
    await ensure(simple('rewritten'))
    await query(url, `insert into rewritten values (1, 'a')`)
    const emptied = (reshaped: boolean) => one.wasEmptied?.(target, reshaped, never)
    const facts = async () => (await one.describeTables?.([target], never))?.get('public.rewritten')
    const before = await facts()
    expect(before).toMatchObject({ empty: false })
    await query(url, 'vacuum full rewritten')
    const vacuumed = await facts()
    expect(vacuumed).toMatchObject({ shape: before?.shape })
    expect(vacuumed?.file).not.toBe(before?.file)
    expect(await emptied(false)).toBe(false)
    await query(url, 'alter table rewritten add column loaded timestamptz default clock_timestamp()')
    expect((await facts())?.shape).not.toBe(before?.shape)
    expect([await emptied(false), await emptied(true)]).toEqual([true, false])
    await query(url, 'truncate rewritten')
    expect(await facts()).toMatchObject({ empty: true })
    await query(url, `insert into rewritten values (2, 'b')`)
    expect([await emptied(false), await emptied(true)]).toEqual([true, true])
  })

  it('grows with its source, and what was there keeps its values', async () => {
    await ensure(
      define(
        'grown',
        [
          column('id', 'integer', { notNull: true }),
          column('v', 'character varying(5)', { notNull: true }),
          column('n', 'numeric(6,2)'),
          column('old', 'text', { notNull: true }),
        ],
        ['id'],
      ),
    )
    await query(url, `insert into grown values (1, 'a', 1.50, 'kept')`)
    const later = define(
      'grown',
      [
        column('id', 'bigint', { notNull: true }),
        column('v', 'text', { notNull: true }),
        column('n', 'numeric(8,3)'),
        column('added', 'text', { notNull: true, constantDefault: `it's \\ "new"` }),
        column('empty', 'integer[]', { notNull: true }),
      ],
      ['id'],
    )
    await Promise.all([ensure(later), two.ensureTable(nameOf(later), later, hard, never), ensure(later)])
    expect(await describeTable('grown')).toEqual([
      'id bigint not null',
      'v text not null',
      'n numeric(8,3)',
      'old text',
      'added text not null',
      'empty integer[]',
      'PRIMARY KEY (id)',
    ])
    expect(await query(url, 'select id::int, v, n, old, added, empty from grown')).toEqual([
      { id: 1, v: 'a', n: '1.500', old: 'kept', added: `it's \\ "new"`, empty: null },
    ])
  })

  it('is left alone when its type would lose something', async () => {
    await ensure(define('kept', ['id integer', 'v uuid'], ['id']))
    const before = await describeTable('kept')
    await expect(
      ensure(define('kept', ['id integer', 'v integer', 'more text'], ['id'])),
    ).rejects.toMatchObject({
      code: 'SchemaChangeUnsupported',
      message: expect.stringMatching(/"v".*public\.kept.*uuid.*integer/),
    })
    expect(await describeTable('kept')).toEqual(before)
  })

  it('cannot be widened under a view, which is named', async () => {
    await ensure(define('viewed', ['id integer', 'v integer'], ['id']))
    await query(url, 'create view on_viewed as select v from viewed')
    await expect(ensure(define('viewed', ['id integer', 'v bigint'], ['id']))).rejects.toMatchObject({
      code: 'SchemaChangeUnsupported',
      message: expect.stringContaining('view'),
    })
  })

  it('gets the new key of its source', async () => {
    await ensure(define('rekeyed', ['a integer', 'b integer'], ['a']))
    await query(url, 'insert into rekeyed values (1, 1), (2, 1)')
    await ensure(define('rekeyed', ['a integer', 'b integer'], ['b', 'a']))
    expect(await describeTable('rekeyed')).toContain('PRIMARY KEY (b, a)')
    await query(url, 'insert into rekeyed values (1, 2)')
    await expect(ensure(define('rekeyed', ['a integer', 'b integer'], ['a']))).rejects.toMatchObject({
      code: 'DestinationConflict',
      message: expect.stringContaining('several rows with the same key'),
    })
  })

  it('may be one that somebody else made', async () => {
    await query(
      url,
      `create domain positive as integer check (value > 0); create domain larger as positive check (value > 1);
       create table foreign_made (v text, n positive, m larger, id bigint, serial bigserial primary key, at timestamptz default now())`,
    )
    const definition = define(
      'foreign_made',
      ['id integer', 'v character varying(10)', 'n integer', 'm integer'],
      ['id'],
    )
    const row = await claim(one, definition)
    await ensure(definition)
    const result = await one.flush(batch(row, definition, { upserts: [['1', 'a', '2', '3']] }), never)
    expect(result.kind).toBe('applied')
    expect(await query(url, 'select id::int, v, n, m, serial::int from foreign_made')).toEqual([
      { id: 1, v: 'a', n: 2, m: 3, serial: 1 },
    ])
  })

  it('cannot be a view', async () => {
    await query(url, 'create view a_view as select 1 as id')
    await expect(ensure(define('a_view', ['id integer'], ['id']))).rejects.toMatchObject({
      code: 'DestinationConflict',
    })
  })

  it('of more columns than PostgreSQL has is refused with the cure', async () => {
    const columns = Array.from({ length: 1601 }, (_, n) => `c${n} integer`)
    await expect(ensure(define('too_wide', columns, ['c0']))).rejects.toMatchObject({
      code: 'SchemaChangeUnsupported',
      message: expect.stringContaining('columns.exclude'),
    })
  })
})

describe('a destination action', () => {
  async function act(
    definition: TableDefinition,
    action: DestinationAction,
    facts: Partial<LedgerTableFacts> = {},
  ): Promise<ActionResult> {
    const claimed = await claim(one, definition)
    const row = await one.ledger.updateTable(claimed, facts, never)
    const uid = `${definition.name}-${action}`
    await one.ledger.recordHeld(row, hold(uid, action), never)
    const backfill = await one.ledger.beginAttempt(uid, never)
    const fence = { uid, attempt: backfill.attempt }
    return one.runAction({ fence, backfill, target: nameOf(definition), definition, options: hard }, never)
  }
  const factsOf = async (definition: TableDefinition) => {
    const row = await one.ledger.readTable(nameOf(definition), never)
    return row && [row.unknownHistory, row.needsEmptying, row.historyComplete]
  }
  const dirty = { unknownHistory: true, needsEmptying: true, historyComplete: true }

  it.each(['DoNothing', 'Truncate', 'Drop'] as const)(
    '%s makes the table when it is missing',
    async (action) => {
      const definition = simple(`missing_${action}`)
      expect(await act(definition, action, { unknownHistory: true })).toMatchObject({
        backfill: { actionDone: true, append: true },
        warnings: [],
      })
      expect(await describeTable(definition.name)).toEqual([
        'id integer not null',
        'v text',
        'PRIMARY KEY (id)',
      ])
      expect(await factsOf(definition)).toEqual([false, false, false])
    },
  )

  it('Truncate keeps what belongs to the table, and forgets what was unknown', async () => {
    const definition = simple('truncated')
    await ensure(definition)
    await query(
      url,
      `insert into truncated values (1, 'a'); create index by_v on truncated (v); create view on_truncated as select * from truncated;
       grant select on truncated to public`,
    )
    expect(await act(definition, 'Truncate', dirty)).toMatchObject({
      backfill: { append: true },
      warnings: [],
    })
    expect(await query(url, 'select * from on_truncated')).toEqual([])
    expect(
      await query(url, `select indexname from pg_indexes where tablename = 'truncated' order by 1`),
    ).toEqual([{ indexname: 'by_v' }, { indexname: 'truncated_pkey' }])
    expect(await query(url, `select has_table_privilege('public', 'truncated', 'select') as may`)).toEqual([
      { may: true },
    ])
    expect(await factsOf(definition)).toEqual([false, false, false])
  })

  it('Truncate takes over any type that the source has now', async () => {
    await ensure(define('retyped', ['id integer', 'v uuid'], ['id']))
    await query(url, `insert into retyped values (1, gen_random_uuid())`)
    await act(define('retyped', ['id bigint', 'v integer', 'w text'], ['id']), 'Truncate')
    expect(await describeTable('retyped')).toEqual([
      'id bigint not null',
      'v integer',
      'w text',
      'PRIMARY KEY (id)',
    ])
  })

  it('Drop makes the table anew and names what went with it', async () => {
    await ensure(define('dropped', ['id integer', 'old text'], ['id']))
    await query(
      url,
      `insert into dropped values (1, 'a');
       create view "View 1" as select * from dropped;
       create materialized view second as select * from "View 1";
       create view unrelated as select 1 as one;
       create table child (id integer references dropped (id))`,
    )
    const { backfill, warnings } = await act(simple('dropped'), 'Drop', dirty)
    expect(backfill).toMatchObject({ actionDone: true, append: true })
    expect(warnings).toEqual([
      'view public."View 1" depended on destination table public.dropped and was dropped with it',
      'materialized view public.second depended on destination table public.dropped and was dropped with it',
      'foreign key child_id_fkey of table public.child referenced destination table public.dropped and was dropped with it',
    ])
    expect(await describeTable('dropped')).toEqual(['id integer not null', 'v text', 'PRIMARY KEY (id)'])
    expect(await query(url, 'select * from dropped')).toEqual([])
    expect(await query(url, 'select * from unrelated')).toHaveLength(1)
    expect(await factsOf(simple('dropped'))).toEqual([false, false, false])
  })

  it('DoNothing keeps the rows, and chunks go on top', async () => {
    const definition = simple('kept_rows')
    await ensure(definition)
    await query(url, `insert into kept_rows values (1, 'a')`)
    expect(await act(definition, 'DoNothing', { unknownHistory: true, historyComplete: true })).toMatchObject(
      {
        backfill: { actionDone: true, append: false },
      },
    )
    expect(await query(url, 'select * from kept_rows')).toHaveLength(1)
    expect(await factsOf(definition)).toEqual([true, false, true])
  })

  it('DoNothing on an empty table is as good as Truncate', async () => {
    const definition = simple('was_empty')
    await ensure(definition)
    expect(await act(definition, 'DoNothing', { unknownHistory: true, historyComplete: true })).toMatchObject(
      {
        backfill: { append: true },
      },
    )
    expect(await factsOf(definition)).toEqual([false, false, true])
  })

  it('DoNothing is refused where rows may be that the source has deleted (rule R22)', async () => {
    const definition = simple('after_gap')
    await ensure(definition)
    await expect(act(definition, 'DoNothing', { needsEmptying: true })).rejects.toMatchObject({
      code: 'ActionRefused',
      field: 'spec.destinationTable',
    })
    expect(await one.ledger.readBackfill('after_gap-DoNothing', never)).toMatchObject({ actionDone: false })
  })

  it('DoNothing is refused for a table without a key, unless it is empty', async () => {
    const definition = define('no_key', ['v text'], [])
    await ensure(definition)
    await query(url, `insert into no_key values ('a')`)
    await expect(act(definition, 'DoNothing')).rejects.toMatchObject({ code: 'ActionRefused' })
    const fence = { uid: 'no_key-DoNothing', attempt: 1 }
    await query(url, 'truncate no_key')
    const again = await one.ledger.readBackfill(fence.uid, never)
    if (!again) throw new Error('no backfill')
    const request = { fence, backfill: again, target: nameOf(definition), definition, options: hard }
    expect(await one.runAction(request, never)).toMatchObject({ backfill: { append: true } })
  })

  it('is for the table that the backfill holds', async () => {
    const definition = simple('elsewhere')
    const { fence } = await prepare(one, definition, { uid: 'elsewhere' })
    const backfill = await one.ledger.readBackfill('elsewhere', never)
    if (!backfill) throw new Error('no backfill')
    await query(url, `update millrace.backfills set action_done = false where uid = 'elsewhere'`)
    const wrong = { fence, backfill, target: { schema: 'public', name: 'other' }, definition, options: hard }
    await expect(one.runAction(wrong, never)).rejects.toMatchObject({ code: 'NotHeld' })
  })
})
