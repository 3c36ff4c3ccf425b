import { alter, oneOf, type Steps, withLeaf } from './step.ts'

// Statements about whole tables, their identity and their partitions after which a table may be stopped, with a reason.

export const HARMFUL_TO_TABLES: Steps = {
  async 'rename table'({ table: t, random, session, pause }) {
    await session.exec(`alter table ${t} rename to ${t}_away`)
    const stays = random.chance(0.2)
    if (random.chance(0.5)) await pause()
    if (random.chance(0.5)) await session.exec(`update ${t}_away set name = 'away'`)
    if (!stays) await session.exec(`alter table ${t}_away rename to ${t}`)
  },
  async 'replace table'({ table: t, random, session, pause }) {
    await session.exec(`alter table ${t} rename to ${t}_old${random.below(99)}`)
    if (random.chance(0.3)) await pause()
    await session.exec(`create table ${t} (id bigint primary key, name text, n int)`)
    await session.exec(`insert into ${t} select g, 'new' from generate_series(5, 9) g`)
  },
  async 'change schema'({ table: t, random, session, pause }) {
    await session.exec(`create schema if not exists ${t}_s`)
    await session.exec(`alter table ${t} set schema ${t}_s`)
    if (random.chance(0.5)) await pause()
    if (random.chance(0.5)) await session.exec(`update ${t}_s.${t} set name = 'elsewhere'`)
    await session.exec(`alter table ${t}_s.${t} set schema public`)
  },
  async 'drop and create'({ table: t, random, session, pause }) {
    await session.exec(`drop table ${t} cascade`)
    if (random.chance(0.5)) await pause()
    await session.exec(
      `create table ${t} (id bigint primary key, name text, n int, amount numeric(8,2), body text, v varchar(10), at timestamp)`,
    )
    await session.exec(`insert into ${t} (id, name) select g, 'again' from generate_series(5, 9) g`)
  },
  async unlogged({ table, session, write }) {
    await session.exec(`alter table ${table} set unlogged`)
    await write()
    await session.exec(`alter table ${table} set logged`)
  },
  async identity({ table, kind, random, session, write }) {
    const other = random.pick(['default', 'full', 'nothing'])
    await session.exec(`alter table ${table} replica identity ${other}`)
    await write()
    if (random.chance(0.6))
      await session.exec(`alter table ${table} replica identity ${kind === 'loose' ? 'full' : 'default'}`)
  },
  async 'identity index'({ table: t, session }) {
    await session.exec(`create unique index if not exists ${t}_ui on ${t} (id)`)
    await session.exec(`alter table ${t} alter id set not null`)
    await session.exec(`alter table ${t} replica identity using index ${t}_ui`)
  },
  async 'primary key'({ table: t, random, session, write }) {
    await session.exec(`alter table ${t} drop constraint ${t}_pkey`)
    if (random.chance(0.5)) await write()
    if (random.chance(0.7)) await session.exec(`alter table ${t} add constraint ${t}_pkey primary key (id)`)
  },
  async 'first primary key'({ table: t, kind, session }) {
    if (kind !== 'loose') return
    await session.exec(`delete from ${t} a using ${t} b where a.id = b.id and a.ctid < b.ctid`)
    await session.exec(`alter table ${t} add primary key (id)`)
  },
  async publication({ table, random, session, write }) {
    const [found] = await session.rows<{ name: string }>('select pubname as name from pg_publication')
    if (!found) return
    await session.exec(`alter publication "${found.name}" drop table ${table}`)
    await write()
    if (random.chance(0.6)) await session.exec(`alter publication "${found.name}" add table ${table}`)
  },
  'auto vacuum': alter(() => 'set (autovacuum_enabled = false)'),
  async 'insert into child'({ table: t, partitioned, session }) {
    if (partitioned) return
    if (await session.exec(`create table ${t}_kk () inherits (${t})`))
      await session.exec(`insert into ${t}_kk (id, name) values (777, 'kid')`)
  },
}

export const HARMFUL_TO_PARTITIONS: Steps = {
  detach: withLeaf(async ({ random, session }, leaf) => {
    const [found] = await session.rows<{ bounds: string; parent: string }>(
      `select pg_get_expr(c.relpartbound, c.oid) as bounds, i.inhparent::regclass::text as parent
       from pg_class c join pg_inherits i on i.inhrelid = c.oid where c.oid = '${leaf}'::regclass`,
    )
    if (!found) return
    const { bounds, parent } = found
    await session.exec(
      `alter table ${parent} detach partition ${leaf}${random.chance(0.3) ? ' concurrently' : ''}`,
    )
    const changes = [`delete from ${leaf} where true`, `update ${leaf} set name = 'det'`, `truncate ${leaf}`]
    if (random.chance(0.6)) await session.exec(random.pick(changes))
    if (random.chance(0.7)) await session.exec(`alter table ${parent} attach partition ${leaf} ${bounds}`)
  }),
  'drop partition': withLeaf(({ session }, leaf) => session.exec(`drop table ${leaf}`)),
  'truncate partition': withLeaf(async ({ leaves, random, session, write }, leaf) => {
    await session.exec(`truncate ${random.chance(0.2) ? leaves.join(', ') : leaf}`)
    if (random.chance(0.4)) await write()
  }),
  'alter partition': withLeaf(({ random, session }, leaf) =>
    session.exec(
      random.pick([
        `alter table ${leaf} replica identity ${random.pick(['full', 'nothing', 'default'])}`,
        `alter table ${leaf} set unlogged`,
        `alter table ${leaf} set logged`,
        `vacuum full ${leaf}`,
        `cluster ${leaf} using ${leaf}_pkey`,
      ]),
    ),
  ),
  async 'attach filled'({ table: t, kind, partitioned, random, session }) {
    if (!partitioned) return
    const name = `${t}_f${random.below(99)}`
    const id = 5000 + random.below(1000)
    if (random.chance(0.4)) await session.begin()
    await session.exec(`create table ${name} (like ${t} including defaults including generated)`)
    const [row, bounds] =
      kind === 'range'
        ? [`(id, name) values (${-id}, 'filled')`, `from (${-id - 10}) to (${-id + 10})`]
        : [`(id, reg, name) values (${id}, 'k', 'filled')`, `in ('k')`]
    await session.exec(`insert into ${name} ${row}`)
    await session.exec(`alter table ${t} attach partition ${name} for values ${bounds}`)
  },
  'alter only the root': oneOf(({ table }) =>
    ['alter n set default 99', 'alter n drop default', 'drop constraint if exists nocon'].map(
      (action) => `alter table only ${table} ${action}`,
    ),
  ),
  async 'become a partition'({ table: t, partitioned, session }) {
    if (partitioned) return
    const root = `${t}_root`
    await session.begin()
    await session.exec(`create table ${root} (like ${t} including defaults) partition by range (id)`)
    await session.exec(`alter table ${t} rename to ${t}_was`)
    await session.exec(`alter table ${root} add primary key (id)`)
    await session.exec(
      `alter table ${root} attach partition ${t}_was for values from (minvalue) to (maxvalue)`,
    )
    await session.exec(`alter table ${root} rename to ${t}`)
    await session.end()
  },
}
