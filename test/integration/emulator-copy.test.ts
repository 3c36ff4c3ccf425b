import { gzipSync, zstdCompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BUCKET, openWarehouse, putObject, ROLE, useS3, type Warehouse } from './emulator-setup.ts'

useS3()
let house: Warehouse
beforeAll(async () => {
  house = await openWarehouse('emulator_copy')
})
afterAll(() => house.close())

let files = 0
/** Puts data into the bucket and returns its url. */
async function put(body: string | Buffer, suffix = ''): Promise<string> {
  const key = `data/${++files}${suffix}`
  await putObject(key, body)
  return `s3://${BUCKET}/${key}`
}

async function manifest(...entries: readonly { url: string; mandatory?: boolean }[]): Promise<string> {
  return put(JSON.stringify({ entries }), '.manifest')
}

const copy = (table: string, url: string, options: string) =>
  `copy ${table} from '${url}' iam_role '${ROLE}' ${options}`

describe('files', () => {
  it('loads every file of a manifest, compressed as said', async () => {
    await house.run('create table loaded (a int, b varchar(20))')
    const parts = [await put(zstdCompressSync('1,x\n2,"y, z"\n')), await put(zstdCompressSync('3,\n'))]
    const url = await manifest(...parts.map((each) => ({ url: each, mandatory: true })))
    const described = await house.run(copy('loaded', url, 'manifest csv zstd'))
    expect(described).toMatchObject({ Status: 'FINISHED', ResultRows: 3 })
    expect(await house.rows('select * from loaded order by a')).toEqual([
      [1, 'x'],
      [2, 'y, z'],
      [3, ''],
    ])
  })

  it('reads gzip, frames one after the other, and a prefix', async () => {
    await house.run('create table zipped (a int)')
    await putObject('prefix/part-1', Buffer.concat([gzipSync('1\n'), gzipSync('2\n')]))
    await putObject('prefix/part-2', gzipSync('3\n'))
    expect(await house.run(copy('zipped', `s3://${BUCKET}/prefix/part`, 'csv gzip'))).toMatchObject({
      ResultRows: 3,
    })
    const frames = await put(Buffer.concat([zstdCompressSync('4\n'), zstdCompressSync('5\n')]))
    expect(await house.run(copy('zipped', frames, 'csv zstd'))).toMatchObject({ ResultRows: 2 })
    expect(
      await house.rows(
        'select listagg(a) within group (order by a) from (select a::varchar(9) from zipped) x',
      ),
    ).toEqual([['12345']])
  })

  it('misses what is mandatory, skips what is not, and wants at least one', async () => {
    await house.run('create table missing (a int)')
    const there = await put('1\n')
    const gone = `s3://${BUCKET}/data/gone`
    expect(
      await house.error(
        copy('missing', await manifest({ url: there }, { url: gone, mandatory: true }), 'manifest csv'),
      ),
    ).toContain('Mandatory url is not present in manifest file.')
    expect(await house.rows('select count(*) from missing')).toEqual([[0]])
    expect(
      await house.run(copy('missing', await manifest({ url: gone }, { url: there }), 'manifest csv')),
    ).toMatchObject({
      ResultRows: 1,
    })
    expect(await house.error(copy('missing', await manifest({ url: gone }), 'manifest csv'))).toContain(
      'No files were found',
    )
    expect(await house.error(copy('missing', gone, 'manifest csv'))).toContain('Status 404,Error NoSuchKey')
    expect(await house.error(copy('missing', gone, 'csv'))).toContain(
      "The specified S3 prefix 'data/gone' does not exist",
    )
    expect(await house.error(copy('missing', 's3://no-such-bucket/x', 'csv'))).toContain('NoSuchBucket')
    expect(await house.error(copy('missing', await put('{'), 'manifest csv'))).toContain(
      'Problem reading manifest file',
    )
  })

  it('says so when a file is not compressed as said', async () => {
    await house.run('create table uncompressed (a int)')
    expect(await house.error(copy('uncompressed', await put('1\n'), 'csv zstd'))).toContain(
      'Failed to decompress',
    )
    const whole = gzipSync('1\n'.repeat(10_000))
    expect(
      await house.error(copy('uncompressed', await put(whole.subarray(0, whole.length - 20)), 'csv gzip')),
    ).toContain('Failed to decompress')
    expect(await house.rows('select count(*) from uncompressed')).toEqual([[0]])
  })

  it('needs REGION for buckets elsewhere, and a role it may take', async () => {
    const abroad = await openWarehouse('emulator_copy_abroad', {
      bucketRegion: 'eu-west-1',
      iamRoles: [ROLE],
    })
    await abroad.run('create table t (a int)')
    const url = await put('1\n')
    expect(await abroad.error(copy('t', url, 'csv'))).toContain('PermanentRedirect')
    expect(await abroad.run(copy('t', url, "csv region 'eu-west-1'"))).toMatchObject({ ResultRows: 1 })
    expect(
      await abroad.error(
        `copy t from '${url}' iam_role 'arn:aws:iam::123456789012:role/other' csv region 'eu-west-1'`,
      ),
    ).toContain('not authorized to assume IAM Role')
    await abroad.close()
  })
})

describe('values', () => {
  it('come out as they went in', async () => {
    await house.run(`create table every (a smallint, b bigint, c real, d double precision, e numeric(38,10), f boolean, g char(3),
      h varchar(65535), i date, j time, k timetz, l timestamp, m timestamptz, n super, o varbyte(10))`)
    const text = 'quote " backslash \\ tab \t newline \n return \r\n emoji 🙂 ü \\N x'
    const fields = [
      '-32768',
      '9223372036854775807',
      '1.5',
      '-1e300',
      '1234567890123456789012345678.0123456789',
      't',
      'ab',
      `"${text.replaceAll('"', '""')}"`,
      '2024-02-29',
      '23:59:59.999999',
      '01:02:03.5+05:30',
      '2024-02-29 12:34:56.789012',
      '2024-02-29 12:34:56.789012+02',
      '"{""b"": 1, ""a"": [true, null, ""\\u00e4 \\"" ""]}"',
      '00ff10',
    ]
    expect(await house.run(copy('every', await put(`${fields.join(',')}\n`), 'csv'))).toMatchObject({
      ResultRows: 1,
    })
    expect((await house.rows('select * from every'))[0]?.map(String)).toEqual([
      '-32768',
      '9223372036854776000',
      '1.5',
      '-1e+300',
      '1234567890123456789012345678.0123456789',
      'true',
      'ab ',
      text,
      '2024-02-29',
      '23:59:59.999999',
      '19:32:03.5+00',
      '2024-02-29 12:34:56.789012',
      '2024-02-29 10:34:56.789012+00',
      '{"a":[true,null,"ä \\" "],"b":1}',
      '00ff10',
    ])
    expect(await house.rows('select b::varchar(20) from every')).toEqual([['9223372036854775807']])
  })

  it('NULL, empty and blank', async () => {
    await house.run('create table nulled (n int, a varchar(9), b int, c super, d date)')
    const url = await put(
      '1,,,,\n2,"","","",""\n3,\\N,\\N,\\N,\\N\n4,"\\N",5,null,2020-01-01\n5,  ,  ,  ,  \n',
    )
    await house.run(copy('nulled', url, 'csv'))
    expect(await house.rows('select a, b, c, d from nulled order by n')).toEqual([
      ['', null, null, null],
      ['', null, null, null],
      [null, null, null, null],
      // A quoted marker is the marker, too.
      [null, 5, 'null', '2020-01-01'],
      ['  ', null, null, null],
    ])
    await house.run('truncate nulled')
    await house.run(copy('nulled', url, 'csv emptyasnull blanksasnull'))
    expect(await house.rows('select count(a) from nulled')).toEqual([[0]])
    await house.run('truncate nulled')
    await house.run(copy('nulled', await put('1,@@,7,@@,@@\n2,\\N,7,,\n'), "csv null as '@@'"))
    expect(await house.rows('select a, b from nulled order by n')).toEqual([
      [null, 7],
      ['\\N', 7],
    ])
  })

  it('decimals are cut off by COPY, rounded by INSERT and by ROUNDEC', async () => {
    await house.run('create table decimals (a numeric(8,2))')
    const url = await put('20.259\n-20.259\n')
    await house.run(copy('decimals', url, 'csv'))
    await house.run(copy('decimals', url, 'csv roundec'))
    await house.run('insert into decimals values (20.259), (-20.259)')
    expect(await house.rows('select a from decimals order by a')).toEqual([
      ['-20.26'],
      ['-20.26'],
      ['-20.25'],
      ['20.25'],
      ['20.26'],
      ['20.26'],
    ])
  })

  it('columns that the list leaves out get their defaults', async () => {
    await house.run(
      `create table defaults (a int, b varchar(9) default 'none', c int not null default 7, d int)`,
    )
    await house.run(copy('defaults (d, a)', await put('1,2\n'), 'csv'))
    expect(await house.rows('select * from defaults')).toEqual([[2, 'none', 7, 1]])
  })

  it('other delimiters, quotes, escapes and headers', async () => {
    await house.run('create table formats (a varchar(20), b varchar(20))')
    await house.run(
      copy('formats', await put("h1\th2\nx\t'it''s'\n"), "csv delimiter '\\t' quote '\\'' ignoreheader 1"),
    )
    await house.run(copy('formats', await put('a\\|b|c\\\\d\n'), 'escape'))
    await house.run(copy('formats', await put('"q"|plain\n\nonly\n'), 'ignoreblanklines fillrecord'))
    expect(await house.rows('select * from formats order by a')).toEqual([
      ['"q"', 'plain'],
      ['a|b', 'c\\d'],
      ['only', ''],
      ['x', "it's"],
    ])
  })
})

describe('rows that cannot be loaded', () => {
  it('fail the load and are told of in the system tables, by file and line', async () => {
    await house.run('create table strict (a int not null, b varchar(3))')
    const url = await put('1,ok\n2,"x\ny"\n3,four\n')
    const error = await house.error(copy('strict', url, 'csv'))
    expect(error).toContain(
      "Load into table 'strict' failed.  Check 'stl_load_errors' system table for details.",
    )
    expect(await house.rows('select count(*) from strict')).toEqual([[0]])
    expect(
      await house.rows(`select filename, line_number, colname, type, col_length, raw_line, raw_field_value, err_code, err_reason
        from stl_load_errors order by starttime desc limit 1`),
    ).toEqual([
      [url, 4, 'b', 'character varying', '3', '3,four', 'four', 1204, 'String length exceeds DDL length'],
    ])
    expect(
      await house.rows(
        'select file_name, line_number, column_name, error_code from sys_load_error_detail order by start_time desc limit 1',
      ),
    ).toEqual([[url, 4, 'b', 1204]])
  })

  it.each([
    ['x,b\n', 1207, 'Invalid digit'],
    [',b\n', 1213, 'Missing data for not-null field'],
    ['1\n', 1201, 'Delimiter not found'],
    ['1,b,c\n', 1202, 'Extra column(s) found'],
    ['1,"b\n', 1214, 'Invalid quote formatting for CSV'],
    ['1,b\0\n', 1216, 'Unexpected character 0x0'],
    [Buffer.from([0x31, 0x2c, 0xff, 0x0a]), 1220, 'Bad UTF8 hex sequence: ff'],
  ])('%j', async (data, code, reason) => {
    await house.run('drop table if exists refused', 'create table refused (a int not null, b varchar(3))')
    await house.error(copy('refused', await put(data), 'csv'))
    const [row] = await house.rows(
      'select err_code, err_reason from stl_load_errors order by starttime desc, line_number desc limit 1',
    )
    expect(row?.[0]).toBe(code)
    expect(row?.[1]).toContain(reason)
  })

  it('are skipped up to MAXERROR, and counted', async () => {
    await house.run('create table lenient (a int)')
    const url = await put('1\nx\n2\ny\n3\n')
    await house.error(copy('lenient', url, 'csv maxerror 1'))
    expect(await house.run(copy('lenient', url, 'csv maxerror 2'))).toMatchObject({
      Status: 'FINISHED',
      ResultRows: 3,
    })
    expect(
      await house.rows(
        `select status, loaded_rows, error_count from sys_load_history where table_name = 'lenient' order by query_id`,
      ),
    ).toEqual([
      ['failed', 0, 2],
      ['completed', 3, 2],
    ])
  })

  it('can be made to fit', async () => {
    await house.run('create table fitting (a varchar(4))')
    await house.run(copy('fitting', await put('€€€\n'), 'csv truncatecolumns'))
    await house.run(
      copy('fitting', await put(Buffer.from([0x61, 0xff, 0x62, 0x0a])), "csv acceptinvchars '^'"),
    )
    expect(await house.rows('select a from fitting order by a')).toEqual([['a^b'], ['€']])
  })

  it('NOLOAD loads nothing but finds them', async () => {
    await house.run('create table checked (a int)')
    expect(await house.run(copy('checked', await put('1\n'), 'csv noload'))).toMatchObject({
      Status: 'FINISHED',
    })
    expect(await house.rows('select count(*) from checked')).toEqual([[0]])
    expect(await house.error(copy('checked', await put('x\n'), 'csv noload'))).toContain('Load into table')
  })
})

describe('in a transaction', () => {
  it('is rolled back with it, and counts in its session', async () => {
    await house.run('create table copied (a int)')
    const url = await put('1\n2\n')
    const described = await house.run(
      copy('copied', url, 'csv'),
      'select pg_last_copy_count(), pg_last_copy_id()',
      'select 1/0',
    )
    expect(described.Status).toBe('FAILED')
    expect(await house.rows('select count(*) from copied')).toEqual([[0]])
    const done = await house.run(
      copy('copied', url, 'csv'),
      `insert into copied select loaded_rows::int from (select 9 as loaded_rows) x`,
      'select loaded_rows from sys_load_history where query_id = pg_last_copy_id()',
      'select pg_last_copy_count()',
    )
    expect(done.Status).toBe('FINISHED')
    expect(done.SubStatements?.map(({ ResultRows }) => ResultRows)).toEqual([2, 1, 1, 1])
    expect(await house.rows('select count(*) from copied')).toEqual([[3]])
  })
})

it('loads a million fields at a decent rate', async () => {
  await house.run('create table bulk (id bigint, a varchar(100), b numeric(12,2), c timestamptz, d boolean)')
  const rows = Array.from(
    { length: 200_000 },
    (_, n) => `${n},row number ${n} of many,${n}.25,2024-01-01 00:00:00+00,t`,
  )
  const url = await put(zstdCompressSync(Buffer.from(`${rows.join('\n')}\n`)))
  const start = performance.now()
  expect(await house.run(copy('bulk', url, 'csv zstd'))).toMatchObject({ ResultRows: 200_000 })
  const seconds = (performance.now() - start) / 1000
  expect(await house.rows('select count(*), sum(b), max(a) from bulk')).toEqual([
    [200_000, '19999950000.00', 'row number 99999 of many'],
  ])
  console.log(`COPY of 200,000 rows took ${seconds.toFixed(1)} s`)
  expect(seconds).toBeLessThan(60)
})
