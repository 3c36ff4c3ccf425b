import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openWarehouse, useS3, type Warehouse } from './emulator-setup.ts'

useS3()
let house: Warehouse
beforeAll(async () => {
  house = await openWarehouse('emulator_sql', { restrictedUsers: ['emulator_reader'] })
})
afterAll(() => house.close())

/** Runs and fails unless all went well. */
async function done(...sqls: string[]) {
  const { Status, Error: message } = await house.run(...sqls)
  if (Status !== 'FINISHED') throw new Error(message)
}

describe('text', () => {
  it('is measured in bytes and compared without trailing blanks', async () => {
    await done(
      'create table texts (k varchar(10), v varchar(4))',
      `insert into texts values ('a', 'x'), ('a ', 'y'), ('a  ', 'z'), (' a', 'w'), ('b', '€')`,
    )
    expect(await house.rows(`select count(*) from texts where k = 'a'`)).toEqual([[3]])
    expect(await house.rows(`select k, count(*) from texts group by k having count(*) > 1`)).toEqual([
      ['a', 3],
    ])
    expect(await house.rows(`select count(distinct k) from texts`)).toEqual([[3]])
    expect(await house.rows(`select len(k) from texts order by len(k), v`)).toEqual([[1], [1], [2], [2], [3]])
    expect(await house.rows(`select v from texts where k like 'a' `)).toEqual([['x']])
    expect(await house.rows(`select count(*) from texts a join texts b on a.k = b.k`)).toEqual([[11]])
    expect(await house.rows(`select k || '|' from texts where v = 'y'`)).toEqual([['a |']])
    expect(await house.rows(`select octet_length(v), len(v), upper(k) from texts where k = 'b'`)).toEqual([
      [3, 1, 'B'],
    ])
    expect(await house.error(`insert into texts values ('c', '€€')`)).toBe(
      'ERROR: value too long for type character varying(4)',
    )
    expect(await house.error(`insert into texts values ('c', 'a\\0b')`)).toContain('0x00')
  })

  it('is cut by a cast, at the end of a character', async () => {
    expect(
      await house.rows(`select '€€'::varchar(4), cast('abc' as varchar(2)), 'a'::char(3), 12345::varchar(9)`),
    ).toEqual([['€', 'ab', 'a  ', '12345']])
    expect(await house.error('select 12345::varchar(2)')).toContain(
      'value too long for type character varying(2)',
    )
    expect(await house.error(`select 'ü'::char(3)`)).toContain('invalid ASCII character')
  })

  it('in CHAR is ASCII', async () => {
    await done('create table chars (a char(3))', `insert into chars values ('a')`)
    expect(await house.rows(`select a, a = 'a' from chars`)).toEqual([['a  ', true]])
    expect(await house.error(`insert into chars values ('ü')`)).toContain(
      'CHAR string contains invalid ASCII character',
    )
    expect(await house.error(`insert into chars values ('abcd')`)).toContain('too long')
  })

  it('functions keep the blanks', async () => {
    expect(
      await house.rows(`select len('a ' || 'b '), len(lower('A ')), len(replace('a b ', 'b', 'c')), split_part('a,b ', ',', 2) || '|',
        nvl(null, 'x '), coalesce('a ', 'b') || '|', len(rtrim('a  ')), md5('a ') = md5('a')`),
    ).toEqual([[4, 2, 4, 'b |', 'x ', 'a |', 1, false]])
  })
})

describe('numbers, dates and bytes', () => {
  it.each([
    ['numeric(4,2)', `'NaN'`, 'Numeric data overflow'],
    ['numeric(4,2)', '100', 'numeric field overflow'],
    ['numeric(19,0)', '9223372036854775808', 'Numeric data overflow: the value does not fit numeric(19,0)'],
    ['numeric(19,18)', '9.223372036854775808', 'Numeric data overflow'],
    ['double precision', '5e-324', 'underflow of double precision'],
    ['real', '1e-40', 'out of range'],
    ['date', `'infinity'`, 'date out of range'],
    ['timestamp', `'-infinity'`, 'timestamp out of range'],
    ['timestamptz', `'infinity'`, 'timestamptz out of range'],
    ['time', `'24:00:00'`, 'out of range: 24:00:00'],
    ['varbyte(2)', `from_hex('000102')`, 'value too long for type binary varying(2)'],
    ['varbyte(2)', `'00'`, 'does not know a string for a VARBYTE column'],
    ['smallint', '32768', 'out of range'],
    ['super', `json_parse('{"a":')`, 'JSON_PARSE() error'],
    ['super', `json_parse('"\\\\u0000"')`, 'JSON_PARSE() error'],
  ])('%s does not take %s', async (type, value, message) => {
    await done('drop table if exists strict', `create table strict (a ${type})`)
    expect(await house.error(`insert into strict values (${value})`)).toContain(message)
  })

  it('INSERT rounds', async () => {
    await done(
      'create table rounded (a numeric(8,2))',
      'insert into rounded values (20.255), (-20.255), (1e2)',
    )
    expect(await house.rows('select a from rounded order by a')).toEqual([['-20.26'], ['20.26'], ['100.00']])
    expect(await house.error('select 20.259::numeric(8,2)')).toContain('whether a cast rounds or cuts')
    expect(await house.rows('select 20.25::numeric(8,2)')).toEqual([['20.25']])
  })

  it('casts to and from VARBYTE', async () => {
    expect(
      await house.rows(
        `select 'abc'::varbyte, to_varbyte('616263', 'hex')::varchar, from_varbyte(from_hex('00ff'), 'hex'), len(from_hex('00ff'))`,
      ),
    ).toEqual([['616263', 'abc', '00ff', 2]])
  })

  it('reads the parts of dates', async () => {
    expect(
      await house.rows(`select dateadd(day, 1, '2024-02-28'::date), datediff(hour, '2024-01-01', '2024-01-02 01:30:00'),
        date_trunc('month', '2024-02-28'::timestamp), extract(year from date '2024-02-28'), date_part(epoch, timestamp '1970-01-02')`),
    ).toEqual([['2024-02-29 00:00:00', 25, '2024-02-01 00:00:00', 2024, 86400]])
  })
})

describe('SUPER', () => {
  it('takes a string as a string and JSON by JSON_PARSE', async () => {
    await done(
      'create table supers (n int, v super)',
      `insert into supers values (1, '{"a": 1}'), (2, json_parse('{"a": 1}')), (3, 5), (4, true), (5, null)`,
      `insert into supers select 6, '[1]'`,
      `insert into supers select 7, v from supers where n = 2`,
      `update supers set v = '[2]' where n = 3`,
    )
    expect(await house.rows('select v, json_typeof(v), json_serialize(v) from supers order by n')).toEqual([
      ['"{\\"a\\": 1}"', 'string', '"{\\"a\\": 1}"'],
      ['{"a":1}', 'object', '{"a":1}'],
      ['"[2]"', 'string', '"[2]"'],
      ['true', 'boolean', 'true'],
      // Documented: never NULL.
      [null, null, 'null'],
      ['"[1]"', 'string', '"[1]"'],
      ['{"a":1}', 'object', '{"a":1}'],
    ])
  })

  it('has limits inside', async () => {
    await done('create table big (v super)')
    expect((await house.run(`insert into big values (json_parse('"${'x'.repeat(65_535)}"'))`)).Status).toBe(
      'FINISHED',
    )
    expect(await house.error(`insert into big values (json_parse('["${'x'.repeat(65_536)}"]'))`)).toContain(
      'String value exceeds the max size of 65535 bytes',
    )
  })

  it('is neither a sort nor a distribution key', async () => {
    expect(await house.error('create table t1 (a super distkey)')).toContain('cannot be a distribution key')
    expect(await house.error('create table t2 (a int, b super) sortkey (b)')).toContain(
      'cannot be a sort key',
    )
  })
})

describe('constraints', () => {
  it('of keys inform, those of NOT NULL hold', async () => {
    await done(
      'create table keyed (a int primary key, b int unique)',
      'insert into keyed values (1, 1), (1, 1)',
    )
    expect(await house.rows('select count(*) from keyed')).toEqual([[2]])
    expect(await house.error('insert into keyed values (null, 1)')).toContain('violates not-null constraint')
    expect(
      await house.rows(
        `select constraint_name, constraint_type from information_schema.table_constraints where table_name = 'keyed' order by 1`,
      ),
    ).toEqual([
      ['keyed_b_key', 'UNIQUE'],
      ['keyed_pkey', 'PRIMARY KEY'],
    ])
    expect(await house.error('alter table keyed add primary key (b)')).toContain('nullable column')
  })
})

describe('tables', () => {
  it('are described by the system views with the types of Redshift', async () => {
    await done(
      'create schema meta',
      `create table meta.facts (id bigint not null distkey, name varchar(40) default 'x' encode zstd, amount numeric(20,3), doc super,
        bytes varbyte, at timestamptz, primary key (id)) diststyle key compound sortkey (at, id)`,
      `comment on table meta.facts is 'about'`,
      'insert into meta.facts (id) values (1)',
    )
    expect(
      await house.rows(`select column_name, data_type, character_maximum_length, numeric_precision, numeric_scale, is_nullable, column_default
        from svv_columns where table_schema = 'meta' and table_name = 'facts' order by ordinal_position`),
    ).toEqual([
      ['id', 'bigint', null, 64, 0, 'NO', null],
      ['name', 'character varying', 40, null, null, 'YES', "'x'::character varying"],
      ['amount', 'numeric', null, 20, 3, 'YES', null],
      ['doc', 'super', null, null, null, 'YES', null],
      ['bytes', 'binary varying', 64_000, null, null, 'YES', null],
      ['at', 'timestamp with time zone', null, null, null, 'YES', null],
    ])
    expect(
      await house.rows(
        `select data_type, encoding, distkey, sortkey from svv_redshift_columns where table_name = 'facts' order by ordinal_position`,
      ),
    ).toEqual([
      ['bigint', 'none', true, 2],
      ['character varying(40)', 'zstd', false, 0],
      ['numeric(20,3)', 'none', false, 0],
      ['super', 'none', false, 0],
      ['binary varying(64000)', 'none', false, 0],
      ['timestamp with time zone', 'none', false, 1],
    ])
    expect(await house.rows(`select table_type, remarks from svv_tables where table_name = 'facts'`)).toEqual(
      [['BASE TABLE', 'about']],
    )
    expect(
      await house.rows(`select diststyle, sortkey1, tbl_rows from svv_table_info where "table" = 'facts'`),
    ).toEqual([['KEY(id)', 'at', '1']])
    expect(await house.rows(`select count(*) from pg_table_def where tablename = 'facts'`)).toEqual([[0]])
    expect(
      await house.rows(`select nspname from pg_namespace where nspname in ('meta', 'redshift_emulator')`),
    ).toEqual([['meta']])
  })

  it('LIKE takes columns and keys of the parent, not its constraints', async () => {
    await done('create table meta.copy (like meta.facts)', 'insert into meta.copy (id) values (1)')
    expect(
      await house.rows(
        `select is_nullable, column_default from svv_columns where table_name = 'copy' and ordinal_position < 3 order by ordinal_position`,
      ),
    ).toEqual([
      ['NO', null],
      ['YES', null],
    ])
    expect(await house.rows(`select diststyle from svv_table_info where "table" = 'copy'`)).toEqual([
      ['KEY(id)'],
    ])
    expect(await house.error('create table meta.other (like meta.facts) diststyle even')).toContain(
      'from the parent table',
    )
  })

  it('AS SELECT take the types of columns', async () => {
    await done('create table meta.made as select id, name from meta.facts')
    expect(
      await house.rows(
        `select column_name, character_maximum_length from svv_columns where table_name = 'made' order by ordinal_position`,
      ),
    ).toEqual([
      ['id', null],
      ['name', 40],
    ])
    expect(
      await house.error(`create table meta.unknown as select name || 'x' as longer from meta.facts`),
    ).toContain('the length of the column longer')
  })

  it('that are temporary hide others', async () => {
    await done('create table hidden (a int)', 'insert into hidden values (1)')
    const described = await house.run(
      'create temp table hidden (a int, b int)',
      'insert into hidden values (2, 3)',
      'select b from hidden',
      'select a from public.hidden',
    )
    expect(described.Status).toBe('FINISHED')
    expect(await house.rows('select a from hidden')).toEqual([[1]])
    expect(await house.error('create temp table public.x (a int)')).toContain(
      'temporary relation in non-temporary schema',
    )
  })

  it('have limits', async () => {
    const columns = (count: number) => Array.from({ length: count }, (_, n) => `c${n} int`).join(', ')
    expect((await house.run(`create table wide (${columns(1600)})`)).Status).toBe('FINISHED')
    expect(await house.error(`create table wider (${columns(1601)})`)).toContain('at most 1600 columns')
    expect(await house.error('create table t (a int, a int)')).toContain('specified more than once')
    expect(await house.error('create table t ("oid" int)')).toContain('conflicts with a system column name')
    expect(await house.error('create table t (a int) distkey (b)')).toContain(
      '"b" named in key does not exist',
    )
    expect(await house.error('create table t (a int distkey) diststyle all')).toContain(
      'DISTKEY is not allowed with DISTSTYLE ALL',
    )
    expect(await house.error('create schema pg_mine')).toContain('unacceptable schema name')
    expect(await house.error('create table meta.facts (a int)')).toContain('relation "facts" already exists')
    expect((await house.run('create table if not exists meta.facts (a int)')).Status).toBe('FINISHED')
  })
})

describe('ALTER TABLE', () => {
  it('adds columns, and gives the rows there the default', async () => {
    await done('create table altered (a int)', 'insert into altered values (1)')
    await done(`alter table altered add column b varchar(3) default 'x'`)
    await done('alter table altered add column c int not null default 7')
    await done('insert into altered (a) values (2)')
    expect(await house.rows('select * from altered order by a')).toEqual([
      [1, 'x', 7],
      [2, 'x', 7],
    ])
    expect(await house.error('alter table altered add column d int not null')).toContain(
      'must have a non-null default',
    )
    expect(await house.error('alter table altered add column b int')).toContain('already exists')
    expect(await house.error(`insert into altered values (1, 'long')`)).toContain('character varying(3)')
  })

  it('drops and renames', async () => {
    await done('create table changing (a int distkey, b int sortkey, c int, d varchar(3))')
    expect(await house.error('alter table changing drop column a')).toContain('cannot drop distkey column')
    expect(await house.error('alter table changing drop column b')).toContain('cannot drop sortkey column')
    await done('alter table changing drop column c')
    await done('alter table changing rename column d to e')
    await done('alter table changing rename to changed')
    expect(
      await house.rows(
        `select column_name, ordinal_position from svv_columns where table_name = 'changed' order by 2`,
      ),
    ).toEqual([
      ['a', 1],
      ['b', 2],
      ['e', 3],
    ])
    expect(await house.error(`insert into changed (e) values ('long')`)).toContain('character varying(3)')
  })

  it('widens a VARCHAR, alone and outside of transactions', async () => {
    await done(
      `create table widened (a varchar(3), b int, c varchar(3) default 'x', d varchar(3) primary key, e varchar(3) encode text255)`,
    )
    await done('create view over_b as select b from widened')
    await done('alter table widened alter column a type varchar(10)')
    await done(`insert into widened (a, d) values ('1234567890', 'x')`)
    expect(await house.error(`insert into widened (a, d) values ('12345678901', 'x')`)).toContain(
      'character varying(10)',
    )
    expect(await house.error('alter table widened alter column a type varchar(10)')).toContain(
      'target column size should be different',
    )
    expect(await house.error('alter table widened alter column a type varchar(5)')).toContain(
      'it holds longer values',
    )
    expect(await house.error('alter table widened alter column a type int')).toContain(
      'only the size of a VARCHAR',
    )
    expect(await house.error('alter table widened alter column b type bigint')).toContain(
      'only the size of a VARCHAR',
    )
    expect(await house.error('alter table widened alter column c type varchar(10)')).toContain(
      'default value',
    )
    expect(await house.error('alter table widened alter column d type varchar(10)')).toContain(
      'primary, unique or foreign key',
    )
    expect(await house.error('alter table widened alter column e type varchar(10)')).toContain(
      'encoding is TEXT255',
    )
    expect(await house.error('select 1', 'alter table widened alter column a type varchar(20)')).toContain(
      'Query #2 failed with ERROR: ALTER TABLE ALTER COLUMN cannot run inside a transaction block',
    )
    expect(
      await house.rows(
        `select character_maximum_length from svv_columns where table_name = 'widened' and column_name = 'a'`,
      ),
    ).toEqual([[10]])
  })
})

describe('views', () => {
  it('stand in the way of DROP, and say which they are', async () => {
    await done(
      'create table based (a int, b varchar(7))',
      'create view above as select b, a from based',
      'create view higher as select b from above',
    )
    expect(
      await house.rows(
        `select table_name, column_name, data_type, character_maximum_length from svv_columns where table_name in ('above', 'higher') order by 1, ordinal_position`,
      ),
    ).toEqual([
      ['above', 'b', 'character varying', 7],
      ['above', 'a', 'integer', null],
      ['higher', 'b', 'character varying', 7],
    ])
    expect(await house.error('drop table based')).toContain('because other objects depend on it')
    expect(await house.error('alter table based drop column b')).toContain(
      'because other objects depend on it',
    )
    expect(
      await house.rows(`select distinct n.nspname, v.relname from pg_class t join pg_depend d on d.refobjid = t.oid
        join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class join pg_namespace n on n.oid = v.relnamespace
        where t.relname = 'based' and v.relkind = 'v'`),
    ).toEqual([['public', 'above']])
    await done('drop table based cascade')
    expect(await house.error('select * from higher')).toContain('does not exist')
    expect(
      await house.rows(`select count(*) from svv_tables where table_name in ('based', 'above', 'higher')`),
    ).toEqual([[0]])
  })
})

describe('changing rows', () => {
  it('UPDATE and DELETE join by equality', async () => {
    await done(
      'create table target (id int, v varchar(9))',
      'create table source (id int, v varchar(9))',
      `insert into target values (1, 'a'), (2, 'b'), (3, 'c')`,
      `insert into source values (1, 'x'), (2, 'y')`,
      'update target set v = source.v from source where target.id = source.id',
      'delete from target using source where target.id = source.id and source.id = 2',
      'update target as t set v = upper(t.v) where t.id = 3',
      'with gone as (select 1 as id) delete from target using gone where target.id = gone.id',
    )
    expect(await house.rows('select * from target order by id')).toEqual([[3, 'C']])
    expect(await house.error('delete from target using source where target.id > source.id')).toContain(
      'equijoin predicate',
    )
    expect(await house.error('update target set v = s.v from source s')).toContain('equijoin predicate')
    await done(`insert into source values (3, 'p'), (3, 'q')`)
    expect(
      await house.error('update target set v = source.v from source where target.id = source.id'),
    ).toContain('which row an UPDATE takes')
  })

  it('MERGE updates and inserts, and refuses what it must', async () => {
    await done(
      'create table merged (id int, v varchar(9))',
      'create table staged (id int, v varchar(9))',
      `insert into merged values (1, 'a'), (2, 'b')`,
      `insert into staged values (2, 'x'), (3, 'y')`,
    )
    const merge = (how = 'update set v = staged.v') =>
      `merge into merged using staged on merged.id = staged.id when matched then ${how} when not matched then insert values (staged.id, staged.v)`
    await done(merge())
    expect(await house.rows('select * from merged order by id')).toEqual([
      [1, 'a'],
      [2, 'x'],
      [3, 'y'],
    ])
    await done(merge('delete'))
    expect(await house.rows('select * from merged order by id')).toEqual([[1, 'a']])
    await done(`insert into staged values (1, 'p'), (1, 'q')`)
    expect(await house.error(merge())).toBe('ERROR: Found multiple matches to update the same tuple')
    await done('truncate staged')
    await done(`insert into staged values (1, 'p')`, `insert into merged values (1, 'again')`)
    expect(await house.error(merge())).toContain(
      'does not know what MERGE does when several rows of the target match',
    )
    await done('create view staged_view as select * from staged')
    expect(await house.error(merge().replaceAll('staged', 'staged_view'))).toContain(
      'a view is not supported',
    )
    expect(
      await house.error(
        'merge into merged using merged m on merged.id = m.id when matched then delete when not matched then insert values (1)',
      ),
    ).toContain('cannot be the same table')
  })

  it('NULL never matches', async () => {
    await done(
      'create table nully (k int, v int)',
      'insert into nully values (null, 1)',
      'delete from nully where k in (1, null)',
    )
    expect(await house.rows('select v from nully where k is null')).toEqual([[1]])
  })
})

describe('names', () => {
  const long = (end: string) => 'x'.repeat(126) + end
  it('of 127 bytes are kept apart', async () => {
    await done(
      `create table "${long('a')}" ("${long('b')}" int, "${long('c')}" int)`,
      `create table "${long('d')}" ("${long('b')}" int)`,
      `insert into "${long('a')}" values (1, 2)`,
    )
    const { client } = house
    expect(client).toBeDefined()
    expect(await house.rows(`select "${long('c')}" from "${long('a')}"`)).toEqual([[2]])
    expect(
      await house.rows(
        `select column_name from svv_columns where table_name = '${long('a')}' order by ordinal_position`,
      ),
    ).toEqual([[long('b')], [long('c')]])
    expect(await house.error(`select * from "${long('e')}"`)).toContain(long('e'))
  })

  it('fold to lower case, in quotes too', async () => {
    await done(
      'create table "Mixed Case" ("Select" int, "Ünïcode €" int)',
      'insert into "MIXED CASE" values (1, 2)',
    )
    expect(await house.rows('select "SELECT", "Ünïcode €" from "mixed case"')).toEqual([[1, 2]])
    expect(
      await house.rows(
        `select column_name from svv_columns where table_name = 'mixed case' order by ordinal_position`,
      ),
    ).toEqual([['select'], ['Ünïcode €']])
  })

  it('keep their case where the session asks for it', async () => {
    await done(
      'set enable_case_sensitive_identifier to true',
      'create table "Cased" ("A" int, "a" int)',
      'insert into "Cased" values (1, 2)',
    )
    expect(await house.error('select * from "Cased"')).toContain('relation "cased" does not exist')
    expect(
      (await house.run('set enable_case_sensitive_identifier to on', 'select "A" from "Cased"')).Status,
    ).toBe('FINISHED')
  })
})

describe('statements', () => {
  it('do not mix what only the leader node knows with user tables', async () => {
    await done('create table mine (a int)')
    expect(await house.error('select version(), a from mine')).toContain('not supported on Redshift tables')
    expect(await house.error('select * from mine, pg_class')).toContain('not supported on Redshift tables')
    expect(await house.error('insert into mine select count(*) from svv_tables')).toContain(
      'does not know a statement that uses svv_tables together',
    )
    expect(await house.error('select * from svl_qlog')).toContain('does not know the system view svl_qlog')
    expect(await house.error('select * from pg_locks')).toContain('does not know the system view pg_locks')
    expect((await house.rows('select version()'))[0]?.[0]).toContain('Redshift')
    expect(await house.rows('select count(*) from stv_slices')).toEqual([[2]])
  })

  it('stay in their database', async () => {
    await done('create table here (a int)')
    expect(await house.rows('select count(*) from dev.public.here')).toEqual([[0]])
    expect(await house.error('select * from other.public.here')).toContain('cross-database reference')
  })

  it('do not see what is inside', async () => {
    expect(await house.error('select ctid from mine')).toContain('column "ctid" does not exist')
    expect(await house.error('select * from redshift_emulator.relations')).toContain('does not exist')
    expect(await house.error('drop schema redshift_emulator cascade')).toContain('does not exist')
  })

  it('are recorded', async () => {
    await house.run("select 'recorded' as q")
    const rows = await house.rows(
      `select status, query_type, returned_rows from sys_query_history where query_text like '%recorded%' and query_text not like '%sys_query%'`,
    )
    expect(rows).toEqual([['success', 'SELECT', 1]])
  })
})

describe('users', () => {
  it('that are no superusers need privileges', async () => {
    const { ExecuteStatementCommand } = await import('@aws-sdk/client-redshift-data')
    const { finish, TARGET } = await import('./emulator-setup.ts')
    const asReader = async (sql: string) => {
      const request = { ...TARGET, DbUser: 'emulator_reader', Sql: sql }
      return finish(
        house.client,
        (await house.client.send(new ExecuteStatementCommand(request))).Id as string,
      )
    }
    await done('create schema private', 'create table private.t (a int)')
    expect((await asReader('select * from private.t')).Error).toContain(
      'permission denied for schema private',
    )
    expect((await asReader('create table private.u (a int)')).Error).toContain(
      'permission denied for schema private',
    )
    await done(
      'grant usage on schema private to emulator_reader',
      'grant select on private.t to emulator_reader',
    )
    expect((await asReader('select * from private.t')).Status).toBe('FINISHED')
    expect((await asReader('insert into private.t values (1)')).Error).toContain('permission denied')
    expect(
      await house.rows(
        `select has_table_privilege('emulator_reader', 'private.t', 'select'), has_schema_privilege('emulator_reader', 'private', 'create')`,
      ),
    ).toEqual([[true, false]])
    expect(await house.error('grant select on private.t to nobody_known')).toContain('does not exist')
  })
})
