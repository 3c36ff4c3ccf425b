import { Client } from 'pg'
import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { useCaptureBeds } from './capture-beds.ts'
import { controls, rowsOf } from './queue-events.ts'

const { open } = useCaptureBeds()

describe('what row events do not show', () => {
  it.each<[string, string, RegExp]>([
    ['a renamed column', 'alter table t rename note to remark', /"note" was renamed to "remark"/],
    [
      'a type with other values',
      `alter table t alter note type int using length(note)`,
      /"note" was changed from text to integer/,
    ],
    [
      'a value for every row',
      `alter table t add u uuid default gen_random_uuid()`,
      /"u" was added with a value of its own/,
    ],
    [
      'a table made again',
      `drop table t; create table t (id int primary key, note text, e mood)`,
      /dropped and created again/,
    ],
    [
      'a column dropped and added again',
      `alter table t drop note; alter table t add note text default 'new'`,
      /"note" was added after another one of that name was dropped/,
    ],
    [
      'a column that comes after one that nobody saw',
      `alter table t add brief int; alter table t drop brief; alter table t add later int`,
      /"later" was added after another one, whose name is not known/,
    ],
    ['a renamed value of an enum', `alter type mood rename value 'ok' to 'fine'`, /ok to fine/],
    [
      'other values of the same type',
      `alter table t alter note type text using upper(note)`,
      /"note" was given other values/,
    ],
    [
      'other values of the same type, instead of the one that was kept for older rows',
      'alter table t alter kept type int using kept * 2',
      /"kept" was given other values/,
    ],
    [
      'a composite type with another attribute',
      'alter type pair add attribute c int',
      /type of column "p" was/,
    ],
    [
      'a value of an enum that has its name again',
      `alter type mood rename value 'ok' to 'fine'; alter type mood rename value 'fine' to 'ok'`,
      /was renamed: ok for a time/,
    ],
    ['a renamed value behind a domain', `alter type hue rename value 'red' to 'rot'`, /red to rot/],
    [
      'a renamed value inside a composite type, an array and a domain',
      `alter type shade rename value 'dark' to 'dunkel'`,
      /column "s" was renamed: dark to dunkel/,
    ],
    [
      'a renamed value that bounds a range',
      `alter type grade rename value 'low' to 'tief'`,
      /column "g" was renamed: low to tief/,
    ],
    [
      'another attribute of a composite type inside another',
      'alter type place add attribute y int',
      /type of column "s" was/,
    ],
    ['another key', `alter table t drop constraint t_pkey, add primary key (note)`, /key was changed/],
  ])('%s stops the table with a reason', async (_, ddl, message) => {
    const bed = await open('ddl', {
      source: `create type mood as enum ('ok'); create type pair as (a int, b int);
        create type hue as enum ('red'); create domain tint as hue;
        create type shade as enum ('dark'); create domain tone as shade;
        create type place as (x int); create type spot as (at place, tones tone[]);
        create type grade as enum ('low'); create type grades as range (subtype = grade);
        create table t (id int primary key, note text, e mood, p pair, h tint, s spot, g grades); insert into t values (0, 'old');
        alter table t add kept int default 5`,
      tables: [{ name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql(`insert into t values (1, 'a')`)
    await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    await bed.sql(ddl)
    await bed.sql(`insert into t (id, ${ddl.includes('rename note') ? 'remark' : 'note'}) values (2, '7')`)
    const events = await bed.untilEvents('t', 'changed', (all) => controls(all).includes('changed'))
    const index = events.findIndex((event) => event.control.control === 'changed')
    expect(events[index]?.control.message).toMatch(message)
    // Rows of the new shape, if they are in the queue at all, stand behind the line. (An enum's are written as ever.)
    if (!ddl.includes('alter type'))
      expect(events.slice(0, index).map((event) => event.row.id ?? event.control.control)).toEqual([
        'join',
        '1',
      ])
  })

  it.each<[string, string, boolean]>([
    [
      'the same for all, of leaves that have another file since',
      `alter table p add c timestamptz default now(), add d numeric default 1.5 * 2; truncate p`,
      false,
    ],
    ['set afterwards', `alter table p add c text; alter table p alter c set default current_user`, false],
    ['of a domain', `alter table p add c counted`, false],
    ['of a domain that computes it', `alter table p add c stamped`, true],
    ['of a domain, said to be none', `alter table p add c stamped default null`, false],
    ['computed for each row of leaves', `alter table p add c uuid default gen_random_uuid()`, true],
    [
      'computed for each row, and dropped at once',
      `alter table p add c uuid default gen_random_uuid(); alter table p alter c drop default`,
      true,
    ],
    [
      'exchanged for another one, with leaves that have another file since',
      `begin; alter table p add c int default 5; alter table p alter c set default 7; commit; vacuum full p`,
      true,
    ],
    [
      'kept, with leaves that have another file since',
      `alter table p add c numeric(9,3) default 1.5, add d text; vacuum full p`,
      false,
    ],
  ])('a default %s', async (_, ddl, isChange) => {
    const bed = await open('default', {
      source: `create domain counted as int default 1 check (value > 0);
        create domain stamped as uuid default gen_random_uuid() check (value is null or value::text <> '');
        create table p (id int primary key) partition by range (id);
        create table p0 partition of p for values from (0) to (10); insert into p values (0)`,
      tables: [{ name: 'p' }],
    })
    bed.run()
    await bed.untilJoined('p')
    await bed.sql(`insert into p values (1)`)
    await bed.untilEvents('p', 'the row', (all) => all.length === 2)
    // VACUUM wants to be by itself.
    for (const statements of ddl.split(/; (?=vacuum)/)) await bed.sql(statements)
    await bed.sql(`insert into p values (2)`)
    const events = await bed.untilEvents('p', 'the last row', (all) => all.at(-1)?.row.id === '2')
    expect(controls(events).includes('changed')).toBe(isChange)
  })

  it.each<[string, string, boolean]>([
    ['created in place', `create table p2 partition of p for values from (10) to (20)`, false],
    [
      'attached empty',
      `create table p2 (like p including all); alter table p attach partition p2 for values from (10) to (20)`,
      false,
    ],
    [
      'filled and attached',
      `create table p2 (like p including all); insert into p2 values (11); alter table p attach partition p2 for values from (10) to (20)`,
      true,
    ],
    [
      'filled and attached in one transaction',
      `begin; create table p2 (like p including all); insert into p2 values (11);
       alter table p attach partition p2 for values from (10) to (20); commit`,
      true,
    ],
    ['detached', `alter table p detach partition p1`, true],
    ['dropped', `drop table p1`, true],
  ])('a partition that is %s', async (_, ddl, isChange) => {
    const bed = await open('attach', {
      source: `create table p (id int primary key) partition by range (id);
        create table p0 partition of p for values from (0) to (5); create table p1 partition of p for values from (5) to (10)`,
      tables: [{ name: 'p' }],
    })
    bed.run()
    await bed.untilJoined('p')
    await bed.sql(`insert into p values (1)`)
    await bed.untilEvents('p', 'the row', (all) => all.length === 2)
    await bed.sql(ddl)
    await bed.sql(`insert into p values (2); alter table p add c int; insert into p values (3)`)
    const events = await bed.untilEvents('p', 'the last row', (all) => all.at(-1)?.row.id === '3')
    expect(controls(events).includes('changed')).toBe(isChange)
  })

  it.each([
    ['a plain table', ''],
    ['a partitioned table', ' partition by range (id)'],
  ])(
    'what an added column gave to the rows of %s stands in the header, whatever came later',
    async (_, by) => {
      const bed = await open('given', {
        source: `create domain counted as int default 1 check (value > 0);
        create table t (id int primary key)${by};
        ${by && 'create table t0 partition of t for values from (0) to (10);'} insert into t values (0)`,
        tables: [{ name: 't' }],
      })
      bed.run()
      await bed.untilJoined('t')
      await bed.sql(`insert into t values (1)`)
      await bed.untilEvents('t', 'the row', (all) => all.length === 2)
      await bed.sql(
        `alter table t add status varchar(10) default 'legacy', add n numeric default 1.5 * 2, add later text, add c text[] default '{}';
       alter table t alter status set default 'active', alter later set default 'now', alter c drop default`,
      )
      await bed.sql('insert into t (id) values (2)')
      await bed.untilEvents('t', 'the second row', (all) => all.at(-1)?.row.id === '2')
      await bed.sql('alter table t alter status type varchar(20)')
      await bed.sql('insert into t (id) values (3)')
      // A domain with a check has the table written anew: with that, the other type would stop it.
      await bed.untilEvents('t', 'the third row', (all) => all.at(-1)?.row.id === '3')
      await bed.sql('alter table t add q counted')
      await bed.sql('insert into t (id) values (4)')
      const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '4')
      expect(controls(events)).toEqual(['join'])
      expect(events.at(-1)?.header.columns).toEqual([
        ['id', 'integer', 1],
        ['status', 'character varying(20)', 0, 'legacy'],
        ['n', 'numeric', 0, '3.0'],
        ['later', 'text', 0, null],
        ['c', 'text[]', 0, '{}'],
        ['q', 'public.counted', 0, '1'],
      ])
    },
  )

  it('a dropped column that comes back later, with another capture, stops the table once', async () => {
    const bed = await open('back', {
      source: `create table t (id int primary key, note text); insert into t values (0, 'old')`,
      tables: [{ name: 't' }],
    })
    const first = bed.run()
    await bed.untilJoined('t')
    await bed.sql(`insert into t values (1, 'a'); alter table t drop note`)
    await bed.sql('insert into t values (2)')
    await bed.untilEvents('t', 'the narrow row', (all) => all.at(-1)?.row.id === '2')
    await first.stop()
    bed.run()
    await bed.sql('alter table t add note text')
    await bed.sql(`insert into t values (3, 'b')`)
    await bed.untilEvents('t', 'changed', (all) => controls(all).includes('changed'))
    await bed.sql('alter table t add more text')
    await bed.sql(`insert into t values (4, 'c', 'd')`)
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '4')
    expect(controls(events)).toEqual(['join', 'changed'])
  })

  it('a column that came and went while capture was down, and comes back, stops the table', async () => {
    const bed = await open('brief', {
      source: 'create table t (id int primary key)',
      tables: [{ name: 't' }],
    })
    const first = bed.run()
    await bed.untilJoined('t')
    await first.stop()
    await bed.sql('alter table t add brief text')
    await bed.sql(`insert into t values (1, 'a')`)
    await bed.sql('alter table t drop brief')
    bed.run()
    await bed.untilEvents('t', 'the wide row', (all) => all.at(-1)?.row.brief === 'a')
    await bed.sql('alter table t add brief text')
    await bed.sql(`insert into t values (2, 'b')`)
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.brief === 'b')
    expect(controls(events)).toEqual(['join', 'changed'])
  })

  it.each<[string, string, string, string[]]>([
    ['and changed', 'int', 'text', ['join', 'changed']],
    ['and widened in place', 'varchar(5)', 'varchar(9)', ['join']],
  ])('a column that was added %s before anybody saw it', async (_, first, then, expected) => {
    const bed = await open('typed', {
      source: 'create table t (id int primary key)',
      tables: [{ name: 't' }],
    })
    const stopped = bed.run()
    await bed.untilJoined('t')
    await stopped.stop()
    await bed.sql(`alter table t add made ${first}`)
    // With nothing in the column, so that no value tells.
    await bed.sql(`insert into t (id) values (1)`)
    await bed.sql(`alter table t alter made type ${then}`)
    await bed.sql(`insert into t values (2, 'b')`)
    const second = bed.run()
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.made === 'b')
    expect(controls(events)).toEqual(expected)
    await second.stop()
    bed.run()
    await bed.sql(`insert into t values (3, 'c')`)
    const later = await bed.untilEvents('t', 'the row of the third', (all) => all.at(-1)?.row.made === 'c')
    expect(controls(later)).toEqual(expected)
  })

  it.each<[string, string, string, string, string[]]>([
    ['changed', 'made int', '', 'text', ['join', 'changed']],
    ['added and changed', '', 'add made int', 'text', ['join', 'changed']],
    ['widened in place', 'made varchar(5)', '', 'varchar(9)', ['join']],
    ['added and widened in place', '', 'add made varchar(5)', 'varchar(9)', ['join']],
  ])('a column that was %s, and dropped, while capture was down', async (_, column, add, type, expected) => {
    const bed = await open('gone', {
      source: `create table t (id int primary key${column && `, ${column}`})`,
      tables: [{ name: 't' }],
    })
    const first = bed.run()
    await bed.untilJoined('t')
    await first.stop()
    if (add) await bed.sql(`alter table t ${add}`)
    await bed.sql('insert into t values (1, null)')
    await bed.sql(`alter table t alter made type ${type}`)
    await bed.sql(`insert into t values (2, 'b')`)
    await bed.sql('alter table t drop made')
    await bed.sql('insert into t values (3)')
    const second = bed.run()
    const events = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '3')
    expect(controls(events)).toEqual(expected)
    // Told before the first row that the destination could not take.
    const told = events.findIndex(({ control }) => control?.control === 'changed')
    if (expected.length > 1) expect(told).toBeLessThan(events.findIndex(({ row }) => row.made === 'b'))
    await second.stop()
  })

  it('another type is told before its rows, also while somebody has a partition locked', async () => {
    const bed = await open('locked', {
      source:
        'create table t (id int primary key, made int) partition by range (id); create table t0 partition of t default',
      tables: [{ name: 't' }],
    })
    const first = bed.run()
    await bed.untilJoined('t')
    await first.stop()
    await bed.sql(`alter table t alter made type text; insert into t values (1, 'b')`)
    const client = new Client({ connectionString: bed.source.url })
    await client.connect()
    try {
      await client.query('begin; lock table t0 in access exclusive mode')
      bed.run()
      const events = await bed.untilEvents('t', 'the row', (all) => all.at(-1)?.row.made === 'b')
      expect(controls(events)).toEqual(['join', 'changed'])
    } finally {
      await client.end()
    }
  })

  it.each<[string, string, RegExp]>([
    [
      'of a column, which was written meanwhile',
      `alter table t rename note to remark; update t set remark = 'b'; alter table t rename remark to note`,
      /a column was named "remark" for a time/,
    ],
    [
      'of a column that nobody saw before',
      `alter table t add brief text; update t set brief = 'b'; alter table t rename brief to lasting`,
      /a column was named "brief" for a time/,
    ],
    [
      'of two columns, which were written meanwhile',
      `alter table t rename note to n; alter table t rename more to note; alter table t rename n to more;
       update t set note = 'b';
       alter table t rename note to n; alter table t rename more to note; alter table t rename n to more`,
      /columns had exchanged their names for a time/,
    ],
    [
      'of the table, which was written meanwhile',
      `alter table t rename to u; update u set note = 'b'; alter table u rename to t`,
      /the table was named public.u for a time/,
    ],
    [
      'of its schema, in which it was written',
      `create schema s; alter table t set schema s; update s.t set note = 'b'; alter table s.t set schema public`,
      /the table was named s.t for a time/,
    ],
  ])('another name for a time, %s', async (_, ddl, message) => {
    const bed = await open('names', {
      source: 'create table t (id int primary key, note text, more text)',
      tables: [{ name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql(`insert into t values (1, 'a', 'm')`)
    await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    await bed.sql(ddl)
    const events = await bed.untilEvents('t', 'changed', (all) => controls(all).includes('changed'))
    expect(events.find(({ control }) => control.control === 'changed')?.control.message).toMatch(message)
    await bed.sql(`insert into t (id) values (2)`)
    const later = await bed.untilEvents('t', 'the last row', (all) => all.at(-1)?.row.id === '2')
    expect(controls(later)).toEqual(['join', 'changed'])
  })

  it('partitions that are truncated, unless by a TRUNCATE of their table', async () => {
    const bed = await open('emptied', {
      source: `create table p (id int primary key) partition by range (id);
        create table p0 partition of p for values from (0) to (5); create table p1 partition of p for values from (5) to (10)`,
      tables: [{ name: 'p' }],
    })
    bed.run()
    await bed.untilJoined('p')
    await bed.sql('insert into p values (1), (6); truncate p; insert into p values (2), (7)')
    const files = await bed.sql<{ file: string }>(
      `select pg_relation_filenode(l)::text as file from unnest('{p0,p1}'::regclass[]) l`,
    )
    // Remembered is what was understood.
    await until(
      async () => {
        const text = JSON.stringify(await bed.record())
        return files.every(({ file }) => text.includes(`"filenode":"${file}"`))
      },
      { what: 'the truncated table to be remembered', timeoutMs: 60_000 },
    )
    expect(controls(await bed.events('p'))).toEqual(['join'])
    await bed.sql('truncate p0, p1')
    const events = await bed.untilEvents('p', 'changed', (all) => controls(all).includes('changed'))
    expect(events.at(-1)?.control.message).toMatch('partition p0 was emptied')
  })

  it('plain changes of columns go on, each row under its own header', async () => {
    const bed = await open('plain', {
      source: 'create table t (id int primary key, v varchar(5), gone text)',
      tables: [{ name: 't' }],
    })
    bed.run()
    await bed.untilJoined('t')
    await bed.sql(
      `begin; insert into t values (1, 'a', 'g'); alter table t add n int default 7; insert into t values (2, 'b', 'g'); commit;
      alter table t drop gone; alter table t alter v type varchar(50); insert into t values (3, 'c', 9)`,
    )
    // Looked at together, the wider type and the rewriting by VACUUM would be taken for one change.
    await bed.untilEvents('t', 'the third row', (all) => all.at(-1)?.row.id === '3')
    await bed.sql('vacuum full t')
    await bed.sql(`insert into t values (4, 'd', 9)`)
    const events = await bed.untilEvents('t', 'all', (all) => all.at(-1)?.row.id === '4')
    expect(controls(events)).toEqual(['join'])
    expect(rowsOf(events).map((event) => event.row)).toEqual([
      { id: '1', v: 'a', gone: 'g' },
      { id: '2', v: 'b', gone: 'g', n: '7' },
      { id: '3', v: 'c', n: '9' },
      { id: '4', v: 'd', n: '9' },
    ])
    expect(rowsOf(events)[2]?.header.columns).toEqual([
      ['id', 'integer', 1],
      ['v', 'character varying(50)', 0],
      ['n', 'integer', 0, '7'],
    ])
  })
})
