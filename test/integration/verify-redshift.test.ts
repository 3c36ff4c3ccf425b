import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BUCKET, openWarehouse, s3Server, useS3, type Warehouse } from './emulator-setup.ts'
import { anyChanges, openVerifySite, underLoad, type VerifySite } from './verify-fixture.ts'

// The same as verify.test.ts, into the Redshift emulator.

const RUNS = Number(process.env.VERIFY_REDSHIFT_RUNS ?? 3)
const ROWS = Number(process.env.VERIFY_REDSHIFT_ROWS ?? 50_000)

const TABLES = `
  create sequence ids start 10000000;
  create table big (id bigint primary key, name text, n int not null, at timestamptz not null default now(), body jsonb, f double precision default random());
  insert into big select g, 'name ' || g, g % 1000, '2026-01-01'::timestamptz + g * interval '1 second',
    jsonb_build_object('g', g, 'share', g / 7.0), g / 3.0 from generate_series(1, ${ROWS}) g;
  create table texts (code text, region char(3), long text, bytes bytea, at time, amount numeric, primary key (code, region));
  insert into texts select 'Käse ' || g, 'x', case when g % 1000 = 0 then repeat('ä', 40000) else 'y' end, decode(md5(g::text), 'hex'),
    '12:00'::time + g * interval '1 us', case when g % 500 = 0 then 'NaN' else g / 3.0 end from generate_series(1, 15000) g;
  create table pairs (day date, id uuid, b bool, tags text[], primary key (day, id));
  insert into pairs select '2026-01-01'::date + g % 300, md5(g::text)::uuid, g % 2 = 0, array['a', g::text] from generate_series(1, 15000) g;
  insert into pairs values ('2026-02-01', '00000000-0000-0000-0000-000000000001', true, array['a', 'a b', ', "c": \\ "d']),
    ('2026-02-02', '00000000-0000-0000-0000-000000000002', true, array['a', 'a b']);
  analyze`
const BLANKS = '["2026-02-02","00000000-0000-0000-0000-000000000002"]'
const NAMES = ['big', 'texts', 'pairs']

useS3()
let site: VerifySite
let warehouse: Warehouse

beforeAll(async () => {
  warehouse = await openWarehouse('verified_warehouse', { statementLog: 'out/redshift-statements.jsonl' })
  site = await openVerifySite({
    name: 'verified_redshift',
    tables: TABLES,
    names: NAMES,
    destination: {
      redshift: {
        region: 'us-east-1',
        clusterIdentifier: 'c1',
        database: 'dev',
        dbUser: 'awsuser',
        s3: { bucket: BUCKET, prefix: 'verify/' },
        endpoints: { redshiftData: warehouse.emulator.url, s3: s3Server().endpoint },
        credentialsSecretRef: { name: 'aws' },
      },
    },
    credentials: { username: s3Server().accessKeyId, password: s3Server().secretAccessKey },
  })
}, 400_000)

afterAll(async () => {
  await site?.close()
  await warehouse?.close()
})

const change = async (...sqls: string[]) => {
  const { Status, Error: message } = await warehouse.run(...sqls)
  expect([Status, message]).toEqual(['FINISHED', undefined])
}

describe('verify of a table in Redshift', () => {
  it('finds nothing where nothing is, in few statements, also of values that onUnfit has changed', async () => {
    const before = warehouse.emulator.requests()
    for (const table of NAMES) {
      const found = await site.verify(table)
      console.log(`${table}: ${JSON.stringify(found)}`)
      expect(found).toMatchObject({ result: 'Equal', rowsDifferent: 0 })
      expect(found.rangesDone).toBe(found.rangesTotal)
    }
    const after = warehouse.emulator.requests()
    console.log('statements:', after.ExecuteStatement - before.ExecuteStatement)
  }, 300_000)

  it('finds one changed, one missing and one extra row', async () => {
    await change(
      `UPDATE public.big SET name = 'other' WHERE id = 17`,
      `DELETE FROM public.big WHERE id = ${ROWS - 5}`,
      `INSERT INTO public.big (id, name, n, at) VALUES (-4, 'extra', 0, '2026-01-01 00:00:00+00'::TIMESTAMPTZ)`,
    )
    const found = await site.verify('big')
    expect(found).toMatchObject({ result: 'Different', rowsChanged: 1, rowsMissing: 1, rowsExtra: 1 })
    expect(found.examples?.toSorted((a, b) => a.key.localeCompare(b.key))).toEqual([
      { key: '-4', kind: 'Extra' },
      { key: '17', kind: 'Changed' },
      { key: String(ROWS - 5), kind: 'Missing' },
    ])
    await change(`DELETE FROM public.big WHERE id = -4`)
    await site.copy('mend', 'big')
    await change(`INSERT INTO public.big SELECT * FROM public.big WHERE id = 41`)
    // Redshift enforces no key: a row that is there twice.
    expect(await site.verify('big')).toMatchObject({
      rowsDifferent: 1,
      examples: [{ key: '41', kind: 'Changed' }],
    })
    await site.copy('mend-again', 'big')
    expect(await site.verify('big')).toMatchObject({ result: 'Equal' })
  }, 300_000)

  it.each([
    ['texts', `UPDATE public.texts SET bytes = FROM_HEX('00ff') WHERE code = 'Käse 77'`, '["Käse 77","x  "]'],
    ['texts', `UPDATE public.texts SET amount = 0.5 WHERE code = 'Käse 500'`, '["Käse 500","x  "]'],
    [
      'pairs',
      `UPDATE public.pairs SET tags = JSON_PARSE('["a","b"]') WHERE id = 'c4ca4238-a0b9-2382-0dcc-509a6f75849b'`,
      '["2026-01-02","c4ca4238-a0b9-2382-0dcc-509a6f75849b"]',
    ],
    [
      'pairs',
      `UPDATE public.pairs SET tags = JSON_PARSE('["a","ab"]') WHERE id = '00000000-0000-0000-0000-000000000002'`,
      BLANKS,
    ],
  ])(
    'finds a changed value in %s',
    async (table, sql, key) => {
      await change(sql)
      expect((await site.verify(table)).examples).toContainEqual({ key, kind: 'Changed' })
    },
    120_000,
  )

  it(`gives no false alarm under a write load, in ${RUNS} runs`, async () => {
    const { result } = await underLoad(site.source, anyChanges('big', ROWS), 60, async () => {
      const results = []
      for (let run = 0; run < RUNS; run += 1) {
        const found = await site.verify('big')
        console.log(
          `run ${run}: ${found.result} ${found.rowsCompared} rows, undecided ${found.rowsUndecided ?? 0}, ${found.seconds.toFixed(1)} s`,
        )
        results.push(found)
      }
      return results
    })
    for (const found of result) expect(found).toMatchObject({ result: 'Equal', rowsDifferent: 0 })
  }, 600_000)
})
