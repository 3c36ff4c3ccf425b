import { alter, oneOf, type StepContext, type Steps, withColumn } from './step.ts'
import { hasFullIdentity } from './tables.ts'

// Statements after which every row is still what it was, or that are followed: they should stop no table.

/** What a column may be added as, with a default that is the same for every row. */
const ADDED = ({ table: t }: StepContext): readonly string[] => [
  'int',
  'text',
  'int default 7',
  `text default 'd''q'`,
  `text not null default 'nn'`,
  'bigint not null default 0',
  'timestamptz default now()',
  'timestamptz not null default current_timestamp',
  `${t}_d`,
  `${t}_d default 3`,
  `${t}_dd`,
  `${t}_e`,
  `${t}_e default 'b'`,
  `${t}_c`,
  `${t}_c default '(1,b)'`,
  `int[] default '{1,2}'`,
  'text[]',
  `text default repeat('L', 1500)`,
  `text default repeat('S', 600)`,
  `jsonb not null default '{}'`,
  'boolean default false',
  'boolean not null default true',
  'numeric(10,3) default 1.5',
  'numeric default 1.50',
  `varchar(20) default 'vv'`,
  `char(5) default 'cc'`,
  `bytea default '\\xdeadbeef'`,
  `interval default '1 day 02:00'`,
  `date default '2020-02-02'`,
  'date default current_date',
  'uuid',
  'float8 default 0.1',
  'real default 0.1',
  `text default 'a' || 'b'`,
  'int default 2 + 3',
  'int default -1',
  'text default current_user',
  `timestamp default '2020-01-01 00:00'`,
  `timestamptz default '2020-01-01 00:00+02'`,
  'text default null',
  'int default null',
  `text default E'back\\\\sl\\n'`,
  `text default ''`,
  `json default '{"b": 1,  "a": 2}'`,
]

const NOTHING = 'select 1'

export const HARMLESS: Steps = {
  async add(context) {
    const { table, fresh, random, session } = context
    const unless = random.chance(0.2) ? 'if not exists ' : ''
    const added = await session.exec(
      `alter table ${table} add column ${unless}${fresh} ${random.pick(ADDED(context))}`,
    )
    if (!added || !random.chance(0.35)) return
    const change = random.pick(['drop default', 'drop default', 'drop not null', 'set default null'])
    await session.exec(`alter table ${table} alter ${fresh} ${change}`)
  },
  'add three': alter(
    ({ fresh }) =>
      `add column ${fresh} int default 4, add column ${fresh}b text, add column ${fresh}c timestamptz default now()`,
  ),
  async 'add generated'({ table, kind, random, session }) {
    // The source refuses updates of a table that has such a column in its replica identity.
    if (hasFullIdentity(kind)) return
    await session.exec(
      `alter table ${table} add column g${random.below(3)} bigint generated always as (id * 2) stored`,
    )
  },
  'no default': withColumn(({ table, random, session }, name) =>
    session.exec(`alter table ${table} alter ${name} ${random.pick(['drop default', 'set default null'])}`),
  ),
  'set default': alter(({ random }) => `alter n set default ${random.below(50)}`),
  'not null': withColumn(({ table, random, session }, name) =>
    session.exec(`alter table ${table} alter ${name} ${random.pick(['set', 'drop'])} not null`),
  ),
  drop: withColumn(async ({ table, spare, session }, name) => {
    if (spare > 3) await session.exec(`alter table ${table} drop column ${name}`)
  }),
  widen: alter(({ random }) =>
    random.pick([
      `alter v type varchar(${20 + random.below(40)})`,
      'alter v type text',
      'alter amount type numeric(12,2)',
    ]),
  ),
  'add label': ({ table, random, session }) =>
    session.exec(
      `alter type ${table}_e add value if not exists 'z${random.below(5)}' ${random.pick(['', `before 'b'`])}`,
    ),
  domain: oneOf(({ table: t, random }) => [
    `alter domain ${t}_d drop constraint if exists ${t}_d_check`,
    `alter domain ${t}_d add constraint k${random.below(9)} check (value > -5)`,
    `alter domain ${t}_dd set default 'other${random.below(9)}'`,
    `alter domain ${t}_dd drop default`,
  ]),
  truncate: oneOf(({ table }) =>
    ['', ' restart identity', ' cascade', ', pingpong'].map((rest) => `truncate ${table}${rest}`),
  ),
  analyze: oneOf(({ table }) => [`analyze ${table}`, `reindex table ${table}`, `vacuum ${table}`]),
  'vacuum full': oneOf(({ table, leaves, partitioned }) => [
    `vacuum full ${table}`,
    `vacuum full ${leaves[0] ?? table}`,
    partitioned ? NOTHING : `cluster ${table} using ${table}_pkey`,
  ]),
  storage: oneOf(({ table, random, partitioned }) => [
    `alter table ${table} alter body set storage ${random.pick(['main', 'extended', 'external'])}`,
    `alter table ${table} alter body set compression pglz`,
    `alter table ${table} alter n set statistics 50`,
    partitioned ? NOTHING : `alter table ${table} set (fillfactor = ${70 + random.below(20)})`,
  ]),
  surroundings: oneOf(({ table, random }) => [
    `alter table ${table} add check (n is null or n > -1000)`,
    `create index on ${table} (name)`,
    `alter table ${table} add constraint u${random.below(99)} unique (id, n)`,
    `comment on table ${table} is 'x${random.below(9)}'`,
    `grant select on ${table} to public`,
  ]),
  async trigger({ table: t, session }) {
    await session.exec(
      `create or replace function ${t}_f() returns trigger language plpgsql as $$ begin new.name := coalesce(new.name, '') || '!'; return new; end $$`,
    )
    await session.exec(
      `create or replace trigger tr before update on ${t} for each row execute function ${t}_f()`,
    )
  },
  async 'new partition'({ table: t, kind, random, session }) {
    const name = `${t}_q${random.below(99)}`
    if (kind === 'range')
      await session.exec(
        `create table ${name} partition of ${t} for values from (${2000 + 100 * random.below(50)}) to (7100)`,
      )
    if (kind === 'list')
      await session.exec(
        `create table ${name} partition of ${t} for values in ('${random.pick(['e', 'f', 'g'])}')`,
      )
  },
  async 'attach empty'({ table: t, kind, partitioned, random, session }) {
    if (!partitioned) return
    const name = `${t}_r${random.below(99)}`
    await session.exec(`create table ${name} (like ${t} including defaults including generated)`)
    const bounds =
      kind === 'range'
        ? `from (-${100 * (2 + random.below(50))}) to (-1)`
        : `in ('${random.pick(['h', 'i'])}')`
    await session.exec(`alter table ${t} attach partition ${name} for values ${bounds}`)
  },
  async inherit({ table: t, partitioned, random, session }) {
    if (!partitioned) await session.exec(`create table ${t}_kid${random.below(99)} () inherits (${t})`)
  },
}
