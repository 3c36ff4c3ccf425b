import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import type { ActionResult, Destination } from '../../workers/destination/destination.ts'
import type { DestinationAction, LedgerTableFacts } from '../../workers/destination/ledger.ts'
import { createSessions } from '../../workers/destination/postgres/sessions.ts'
import type { PostgresTarget } from '../../workers/source/connect.ts'
import type { TableDefinition } from '../../workers/source/table.ts'
import {
  batch,
  chunkOf,
  claim,
  column,
  define,
  hard,
  hold,
  nameOf,
  never,
  openOn,
  plan,
  prepare,
  soft,
} from './destination-postgres-fixture.ts'
import { createDatabase, onDatabase } from './services.ts'

let url: string
let one: Destination
let two: Destination

beforeAll(async () => {
  url = (await createDatabase('destination_tables', 'destination')).url
  one = openOn(url)
  two = openOn(url)
  await one.ledger.open(never)
})

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

describe('the first look at a destination', () => {
  async function as(user: string, sql: string, changes?: { schema?: string }) {
    await query(url, `drop role if exists ${user}; create role ${user} login password 'p'`)
    const { url: fresh } = await createDatabase(`destination_${user}`, 'destination')
    await query(fresh, `revoke create on schema public from public; ${sql}`)
    const login = new URL(fresh)
    login.username = user
    login.password = 'p'
    return openOn(login.href, 'pipeline-1', changes)
  }

  it('is content with the right to create', async () => {
    const destination = await as('creator', 'grant create on database destination_creator to creator')
    await destination.check(never)
    await destination.check(never)
    const definition = { ...simple('t'), schema: 'its_own' }
    await destination.ensureTable(nameOf(definition), definition, hard, never)
    await destination.close()
  })

  it('is content with schemas that were made for it', async () => {
    const destination = await as(
      'guest',
      'create schema millrace authorization guest; create schema raw; grant usage, create on schema raw to guest',
      { schema: 'raw' },
    )
    await destination.check(never)
    await destination.close()
  })

  it.each([
    ['no_ledger', '', {}, 'ledgerSchema', /CREATE on the database/],
    [
      'no_temporary',
      'revoke temporary on database destination_no_temporary from public',
      {},
      'database',
      /GRANT TEMPORARY ON DATABASE destination_no_temporary TO "no_temporary"/,
    ],
    ['half_ledger', 'create schema millrace', {}, 'ledgerSchema', /USAGE and CREATE/],
    [
      'no_schema',
      'create schema millrace authorization no_schema',
      { schema: 'raw' },
      'schema',
      /create schema "raw"/,
    ],
    [
      'half_schema',
      'create schema millrace authorization half_schema; create schema raw',
      { schema: 'raw' },
      'schema',
      /GRANT USAGE, CREATE ON SCHEMA "raw" TO "half_schema"/,
    ],
  ])('says what a user lacks: %s', async (user, sql, changes, field, cure) => {
    const destination = await as(user, sql, changes)
    await expect(destination.check(never)).rejects.toMatchObject({
      code: 'PermissionDenied',
      field: `spec.destination.postgres.${field}`,
      message: expect.stringMatching(cure),
    })
    await destination.close()
  })

  it.each([
    ['DatabaseNotFound', (given: URL) => onDatabase(given.href, 'nowhere')],
    ['AuthenticationFailed', (given: URL) => given.href.replace(/:\/\/[^@]*@/, '://postgres:wrong@')],
    ['HostUnreachable', (given: URL) => given.href.replace(/:\d+\//, ':1/')],
  ])('says %s', async (code, change) => {
    const destination = openOn(change(new URL(url)))
    await expect(destination.check(never)).rejects.toMatchObject({
      code,
      retryable: true,
      field: expect.stringContaining('spec.destination.postgres'),
    })
    await destination.close()
  })
})

describe('sessions', () => {
  const sessionsOf = (process: string) =>
    query<{ n: number }>(
      url,
      `select count(*)::int as n from pg_stat_activity where application_name = '${process}'`,
    )

  it('are ended with the destination, also those at work', async () => {
    await query(url, `select pg_sleep(0)`)
    const destination = openOn(url, 'pipeline-1', {})
    await destination.ledger.readTables(never)
    const definition = simple('closing')
    const { fence } = await prepare(destination, definition, { uid: 'closing', action: 'Truncate' })
    const started = Promise.withResolvers<void>()
    const chunk = chunkOf(fence, definition, [], {
      async *read() {
        yield Buffer.from('1\ta\n')
        started.resolve()
        await new Promise(() => {})
      },
    })
    const written = destination.writeChunk(chunk, never)
    await started.promise
    await Promise.all([destination.close(), expect(written).rejects.toThrow('closed')])
    await destination.close()
    await expect(destination.ledger.readTables(never)).rejects.toThrow('closed')
    expect(await query(url, 'select * from closing')).toEqual([])
  })

  function sessions(max: number, idleMilliseconds: number) {
    const { hostname, port, pathname, username, password } = new URL(url)
    const target: PostgresTarget = {
      host: hostname,
      port: Number(port),
      database: pathname.slice(1),
      sslMode: 'Disable',
      field: 'spec.destination.postgres',
      credentials: { mount: 'destination', field: 'f' },
      ca: undefined,
      secrets: { read: async (_mount, file) => (file === 'username' ? username : password) },
      process: 'pooled',
    }
    return createSessions(target, max, idleMilliseconds)
  }
  const settles = (n: number) =>
    until(async () => (await sessionsOf('millrace-pooled'))[0]?.n === n, {
      what: `${n} sessions`,
      timeoutMs: 30_000,
    })

  it('are few, are waited for in turn, and end when nobody needs them', async () => {
    const pool = sessions(2, 200)
    let most = 0
    let working = 0
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        pool.use(never, async (session) => {
          most = Math.max(most, ++working)
          const [row] = await session.query('select pg_sleep(0.005)::text || $1 as n', [String(n)])
          working--
          return Number(row?.n)
        }),
      ),
    )
    expect(results).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(most).toBe(2)
    await settles(0)
    await pool.use(never, (session) => session.query('select 1'))
    await settles(1)
    await settles(0)
    await pool.close()
  })

  it('that are waited for can be given up', async () => {
    const pool = sessions(1, 60_000)
    const busy = Promise.withResolvers<void>()
    const first = pool.use(never, () => busy.promise)
    const stop = new AbortController()
    const second = pool.use(stop.signal, (session) => session.query('select 1'))
    stop.abort(new Error('enough'))
    await expect(second).rejects.toThrow('enough')
    busy.resolve()
    await first
    expect(await pool.use(never, (session) => session.query('select 1 as one'))).toEqual([{ one: '1' }])
    await pool.close()
  })

  it('keep what was committed, whatever the database’s default', async () => {
    const name = new URL(url).pathname.slice(1)
    await query(url, `alter database ${name} set synchronous_commit to off`)
    const pool = sessions(1, 60_000)
    const settings = await pool.use(never, (session) =>
      session.query(
        `select current_setting('synchronous_commit') as sync, current_setting('xmloption') as xml`,
      ),
    )
    expect(settings).toEqual([{ sync: 'on', xml: 'content' }])
    await query(url, `alter database ${name} reset synchronous_commit`)
    await pool.close()
  })

  it('that were killed while idle are replaced', async () => {
    await Promise.all([one.ledger.readTables(never), one.ledger.readTables(never)])
    await query(
      url,
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'millrace-test' and datname = current_database()`,
    )
    await until(async () => (await sessionsOf('millrace-test'))[0]?.n === 0, {
      what: 'the end of the sessions',
      timeoutMs: 30_000,
    })
    await one.ledger.readTables(never)
  })
})
