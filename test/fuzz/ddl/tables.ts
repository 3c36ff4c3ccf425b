/** What a table is like before its script begins. */
export type TableKind = 'plain' | 'composite' | 'loose' | 'index' | 'range' | 'list' | 'fullkey'

/** By how often each is chosen. */
export const TABLE_KINDS: readonly TableKind[] = [
  'plain',
  'plain',
  'plain',
  'composite',
  'loose',
  'index',
  'range',
  'range',
  'list',
  'fullkey',
]

export const isPartitioned = (kind: TableKind): boolean => kind === 'range' || kind === 'list'

/** Whether it begins with REPLICA IDENTITY FULL. */
export const hasFullIdentity = (kind: TableKind): boolean => kind === 'loose' || kind === 'fullkey'

/** What all tables share: keys that never come twice, and a table that is truncated with others. */
export const SHARED_DDL = 'create sequence ids start 1000000; create table pingpong (id int primary key);'

/** Makes and fills a table, with types of its own, which its script alters. */
export function tableDdl(table: string, kind: TableKind): string {
  const types = `create type ${table}_e as enum ('a','b','c');
    create domain ${table}_d as int check (value < 100000000);
    create domain ${table}_dd as text default 'dom';
    create type ${table}_c as (x int, y text);`
  return `${types} ${definition(table, kind)}`
}

function definition(t: string, kind: TableKind): string {
  const columns = `name text, n int default 5, amount numeric(8,2), body text, e ${t}_e, v varchar(10), at timestamp`
  const fill = (ids = 'g') => `insert into ${t} (id, name, n, amount, body, e, v, at)
    select ${ids}, 'n' || g, g, g / 3.0, repeat(md5(g::text), 90), 'a', 'v' || g, '2020-01-01'::timestamp + g * interval '1 hour'
    from generate_series(1, 40) g;`
  const external = `alter table ${t} alter body set storage external;`
  const full = `alter table ${t} replica identity full;`
  switch (kind) {
    case 'plain':
      return `create table ${t} (id bigint primary key, ${columns}); ${external} ${fill()}`
    case 'composite':
      return `create table ${t} (id bigint, k2 text default 'k', ${columns}, primary key (k2, id)); ${external} ${fill()}`
    case 'loose':
      return `create table ${t} (id bigint, ${columns}); ${external} ${full} ${fill('g % 10')}`
    case 'fullkey':
      return `create table ${t} (id bigint primary key, ${columns}); ${external} ${full} ${fill()}`
    case 'index':
      return `create table ${t} (id bigint not null, k2 bigint not null default nextval('ids'), ${columns}, primary key (id));
        ${external} create unique index ${t}_u on ${t} (k2); alter table ${t} replica identity using index ${t}_u; ${fill()}`
    case 'range':
      return `create table ${t} (id bigint primary key, ${columns}) partition by range (id);
        create table ${t}_p0 partition of ${t} for values from (0) to (20);
        create table ${t}_p1 (at timestamp, junk int, id bigint not null, name text, v varchar(10), n int default 5,
          amount numeric(8,2), body text, e ${t}_e);
        alter table ${t}_p1 drop column junk;
        alter table ${t} attach partition ${t}_p1 for values from (20) to (1000);
        create table ${t}_pd partition of ${t} default; ${fill()}`
    case 'list':
      return `create table ${t} (id bigint, reg text default 'a', ${columns}, primary key (reg, id)) partition by list (reg);
        create table ${t}_a partition of ${t} for values in ('a');
        create table ${t}_s partition of ${t} for values in ('b','c','d') partition by range (id);
        create table ${t}_s1 partition of ${t}_s for values from (0) to (20);
        create table ${t}_s2 partition of ${t}_s for values from (20) to (100000000);
        ${fill()} update ${t} set reg = 'b' where id % 3 = 0;`
  }
}
