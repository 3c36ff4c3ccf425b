import { describe, expect, it } from 'vitest'
import { query } from '../../hack/services/postgres.ts'
import { expectEqual, useBackfillBeds } from './backfill-beds.ts'

const withBed = useBackfillBeds()

/** Tables whose keys are unlike numbers; each as SQL of the columns, the key, and 3,000 rows. */
const KEYS: readonly (readonly [name: string, columns: string, key: string, rows: string])[] = [
  ['composite', 'a int, b text, note text', 'a, b', `i % 7, 'b' || i, 'x'`],
  [
    'composite_3',
    `"A b" smallint, c date, d uuid, note text`,
    '"A b", c, d',
    `i % 3, date '2020-01-01' + i % 50, md5(i::text)::uuid, 'x'`,
  ],
  ['text', 'k text, note text', 'k', `chr(64 + i % 26) || ' ö''\\' || i, null`],
  [
    'text_icu',
    `k text collate "en-x-icu", note text`,
    'k',
    `case when i % 2 = 0 then 'a' else 'B' end || i, ''`,
  ],
  ['uuid', 'k uuid, note text', 'k', `md5(i::text)::uuid, 'x'`],
  ['negative', 'k bigint, note text', 'k', `i - 1500, 'x'`],
  ['numeric', 'k numeric, note text', 'k', `case when i = 7 then 'NaN' else (i - 1500) / 7.0 end, 'x'`],
  [
    'timestamp',
    'k timestamptz, note text',
    'k',
    `case when i = 1 then '-infinity' else timestamptz '0044-03-15 12:00 BC' + i * interval '1 year 3.000001 seconds' end, 'x'`,
  ],
  ['char', 'k char(9), note text', 'k', `'k' || i, 'x'`],
  ['bytea', 'k bytea, note text', 'k', `decode(md5(i::text), 'hex'), 'x'`],
  ['boolean', 'k boolean, l inet, note text', 'k, l', `i % 2 = 0, '10.0.0.0'::inet + i, 'x'`],
  ['k1', 'k2 text, k1 text, note text', 'k2, k1', `(i % 10)::text, i::text, 'x'`],
]

describe('the key of a table may be', () => {
  it.each(KEYS)('%s', async (name, columns, key, rows) => {
    const source = `create table t (${columns}, primary key (${key}));
      insert into t select ${rows} from generate_series(1, 3000) i; analyze t`
    const options = { source, backfill: { chunkRows: 250, scan: 'Key' } }
    await withBed(`key_${name}`, options, async (bed) => {
      await bed.complete()
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ scan: 'Key', rows: 3_000n, append: true })
      const { chunksTotal } = await bed.copyStatus()
      expect(chunksTotal).toBe(12)
    })
  })

  it('an enum or a domain, also one over an enum', async () => {
    const source = `create type mood as enum ('sad', 'ok', 'happy'); create domain positive as int check (value > 0);
      create domain feeling as mood; create table t (m mood, f feeling, p positive, note text, primary key (m, f, p));
      insert into t select (array['happy', 'sad', 'ok']::mood[])[1 + i % 3], 'ok', i, 'x' from generate_series(1, 3000) i; analyze t`
    await withBed('key_enum', { source, backfill: { chunkRows: 250, scan: 'Key' } }, async (bed) => {
      await bed.complete()
      await expectEqual(bed)
      expect((await bed.copyStatus()).chunksTotal).toBe(12)
    })
  })

  it('one that PostgreSQL itself does not compare, then blocks are read', async () => {
    const source = `create extension citext; create table t (k citext primary key, note text);
      insert into t select case when i % 2 = 0 then 'a' else 'B' end || i, 'x' from generate_series(1, 3000) i; analyze t`
    await withBed('key_citext', { source, backfill: { chunkRows: 250 } }, async (bed) => {
      await bed.complete()
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ scan: 'Ctid', rows: 3_000n })
    })
    await withBed('key_citext2', { source, backfill: { scan: 'Key' } }, async (bed) => {
      const running = bed.run()
      await expect(running.done).rejects.toMatchObject({ code: 'InvalidSpec', retryable: false })
      expect((await bed.copyStatus()).failed?.message).toMatch(
        /^spec\.backfill\.scan: the key's columns k are not compared by PostgreSQL's own operators for their types; use Ctid or Auto$/,
      )
    })
  })
})

describe('a table may be', () => {
  it.each(['Key', 'Ctid'])('partitioned, %s', async (scan) => {
    const source = `create table t (id bigint, day date, note text, primary key (day, id)) partition by range (day);
      create table t1 (note text, day date not null, id bigint not null);
      alter table t attach partition t1 for values from ('2020-01-01') to ('2020-02-01');
      create table t2 partition of t for values from ('2020-02-01') to ('2021-01-01') partition by hash (id);
      create table "t2 a" partition of t2 for values with (modulus 2, remainder 0);
      create table "t2 b" partition of t2 for values with (modulus 2, remainder 1);
      create table t3 partition of t default;
      insert into t select i, date '2020-01-01' + i % 300, 'note ' || i from generate_series(1, 5000) i; analyze t`
    await withBed(
      `part_${scan.toLowerCase()}`,
      { source, backfill: { scan, chunkRows: 500 } },
      async (bed) => {
        await bed.complete()
        await expectEqual(bed)
        expect(await bed.ledgerRow()).toMatchObject({ scan, rows: 5_000n, append: true })
      },
    )
  })

  it('partitioned without partitions', async () => {
    const source = 'create table t (id bigint primary key) partition by range (id)'
    await withBed('part_none', { source, backfill: { scan: 'Ctid' } }, async (bed) => {
      await bed.complete()
      expect(await bed.ledgerRow()).toMatchObject({ state: 'copied', rows: 0n })
    })
  })

  it.each(['Key', 'Ctid'])('inherited from, by tables that are none of its rows, %s', async (scan) => {
    const source = `create table t (id bigint primary key, note text); create table child () inherits (t);
      insert into t select i, 'x' from generate_series(1, 100) i; insert into child values (1000, 'not mine')`
    await withBed(`inherit_${scan.toLowerCase()}`, { source, backfill: { scan } }, async (bed) => {
      await bed.complete()
      expect(await query(bed.destinationUrl, 'select count(*)::int as n from t')).toEqual([{ n: 100 }])
    })
  })

  it('named with reserved words, quotes and odd letters', async () => {
    const table = { schema: 'Select "from"', name: `or'der` }
    const [s, t] = [`"Select ""from"""`, `"or'der"`]
    const source = `create schema ${s}; create table ${s}.${t} ("user" bigint, "Group ""x""" text, "$1" text, primary key ("user", "Group ""x"""));
      insert into ${s}.${t} select i, 'g' || i, '\\' from generate_series(1, 3000) i; analyze`
    for (const scan of ['Key', 'Ctid']) {
      await withBed(
        `odd_${scan.toLowerCase()}`,
        { source, table, backfill: { scan, chunkRows: 300 } },
        async (bed) => {
          await bed.complete()
          const rows = await query(
            bed.destinationUrl,
            `select count(*)::int as n, min("Group ""x""") as g from ${s}.${t}`,
          )
          expect(rows).toEqual([{ n: 3_000, g: 'g1' }])
        },
      )
    }
  })

  it('without some of its columns, and with generated ones', async () => {
    const source = `create table t (id bigint primary key, a text, secret text, b int generated always as (id * 2) stored);
      insert into t (id, a, secret) select i, 'a', 'hidden' from generate_series(1, 10) i`
    await withBed('columns', { source, entry: { columns: { exclude: ['secret'] } } }, async (bed) => {
      await bed.complete()
      expect(await query(bed.destinationUrl, 'select * from t order by id limit 1')).toEqual([
        { id: '1', a: 'a' },
      ])
    })
  })

  it('there already with other rows: they stay, and its own are overwritten', async () => {
    const source = `create table t (id bigint primary key, note text); insert into t select i, 'new' from generate_series(1, 1000) i`
    const destination = `create table t (id bigint primary key, note text);
      insert into t select i, 'old' from generate_series(500, 1500) i`
    await withBed('upsert', { source, destination, backfill: { chunkRows: 100 } }, async (bed) => {
      await bed.complete()
      expect(
        await query(bed.destinationUrl, 'select note, count(*)::int as n from t group by 1 order by 1'),
      ).toEqual([
        { note: 'new', n: 1000 },
        { note: 'old', n: 500 },
      ])
      expect(await bed.ledgerRow()).toMatchObject({ append: false })
    })
  })

  it.each(['Truncate', 'Drop'] as const)('emptied before: %s', async (action) => {
    const source = `create table t (id bigint primary key, note text); insert into t select i, 'new' from generate_series(1, 1000) i`
    const destination = `create table t (id bigint primary key, note text);
      create view seen as select note from t;
      insert into t select i, 'old' from generate_series(500, 1500) i`
    await withBed(`act_${action.toLowerCase()}`, { source, destination, action }, async (bed) => {
      await bed.complete()
      await expectEqual(bed)
      expect(await bed.ledgerRow()).toMatchObject({ append: true, actionDone: true })
      const { warnings } = await bed.copyStatus()
      expect(warnings).toEqual(
        action === 'Truncate'
          ? undefined
          : ['view public.seen depended on destination table public.t and was dropped with it'],
      )
    })
  })
})

describe('a table without a key', () => {
  const source = `create table t (a int, note text); alter table t replica identity full;
    insert into t select i % 10, 'x' from generate_series(1, 3000) i; analyze t`

  it('is refused unless the destination table is emptied', async () => {
    await withBed('keyless_no', { source }, async (bed) => {
      await expect(bed.run().done).rejects.toMatchObject({ code: 'NoUsableKey', retryable: false })
      const { failed } = await bed.copyStatus()
      expect(failed?.message).toContain('spec.destinationTable: table public.t has no key')
      expect((await bed.messages()).map(({ kind }) => kind)).toEqual(['join'])
    })
  })

  it('is copied from the primary under one snapshot, which the ledger describes', async () => {
    await withBed('keyless', { source, action: 'Truncate', backfill: { chunkRows: 300 } }, async (bed) => {
      await bed.complete()
      await expectEqual(bed)
      const row = await bed.ledgerRow()
      expect(row).toMatchObject({ scan: 'Ctid', rows: 3_000n, append: true })
      expect(row?.visibility).toMatch(/^\d+:\d+:[\d,]*$/)
      expect((await bed.copyStatus()).server).toBe(`127.0.0.1:${new URL(bed.source.url).port}`)
    })
  })
})
