import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import { createDatabase, type TestDatabase, withClient } from './services.ts'
import {
  anyChanges,
  openVerifySite,
  postgresDestination,
  underLoad,
  type VerifySite,
} from './verify-fixture.ts'

const RUNS = Number(process.env.VERIFY_RUNS ?? 10)
const ROWS = Number(process.env.VERIFY_ROWS ?? 100_000)
const PLANTED_ROWS = Number(process.env.VERIFY_PLANTED_ROWS ?? 300_000)

const TABLES = `
  create type mood as enum ('well', 'ill');
  create domain amount as numeric(12,2);
  create sequence ids start 10000000;
  create table big (id bigint primary key, name text, n int not null, at timestamptz not null default now(), body jsonb);
  insert into big select g, 'name ' || g, g % 1000, '2026-01-01'::timestamptz + g * interval '1 second', jsonb_build_object('g', g)
    from generate_series(1, ${ROWS}) g;
  create table planted (id bigint primary key, name text, n int not null, padding text);
  insert into planted select g, 'name ' || g, g % 1000, repeat(md5(g::text), 4) from generate_series(1, ${PLANTED_ROWS}) g;
  create table odd (code text, "Select" char(6), at timestamp(3), f real, d double precision, b bool, m mood,
    a amount, list text[], bytes bytea, empty text, nothing int, span interval, primary key (code, "Select"));
  insert into odd select 'Käse ' || g, g, '2026-01-01'::timestamp + g * interval '1 ms', g / 3.0, g / 7.0, g % 2 = 0,
    case when g % 3 = 0 then 'ill' else 'well' end::mood, g / 9.0, array['x', null, 'a,"b'], decode(md5(g::text), 'hex'), '', null, g * interval '1 hour'
    from generate_series(1, 25000) g;
  create table parts (region text, id int, amount numeric(12,2), primary key (region, id)) partition by list (region);
  create table parts_a partition of parts for values in ('a');
  create table parts_b partition of parts default;
  insert into parts select case g % 2 when 0 then 'a' else 'z' end, g, g / 3.0 from generate_series(1, 20000) g;
  analyze`
const NAMES = ['big', 'planted', 'odd', 'parts']

let site: VerifySite
let target: TestDatabase

beforeAll(async () => {
  target = await createDatabase('verified', 'destination')
  site = await openVerifySite({
    name: 'verified',
    tables: TABLES,
    names: NAMES,
    ...postgresDestination(target),
  })
}, 600_000)

afterAll(() => site?.close())

describe('verify', () => {
  it('finds nothing where nothing is, whatever the types, and reads the replica only', async () => {
    const found = await site.verify('odd')
    expect(found).toMatchObject({
      result: 'Equal',
      rowsCompared: 25_000,
      rowsDifferent: 0,
      rangesDifferent: 0,
    })
    expect(found.rangesDone).toBe(found.rangesTotal)
    expect(await site.verify('odd', { backfill: { readFrom: 'Primary' } })).toMatchObject({ result: 'Equal' })
  })

  it('compares a partitioned table with a key of several columns', async () => {
    expect(await site.verify('parts')).toMatchObject({ result: 'Equal', rowsCompared: 20_000 })
    await query(target.url, `update parts set amount = 0 where (region, id) = ('a', 4)`)
    expect(await site.verify('parts')).toMatchObject({
      result: 'Different',
      rowsDifferent: 1,
      examples: [{ key: '["a","4"]', kind: 'Changed' }],
    })
  })

  it('finds one changed, one missing and one extra row, and in less time than a copy takes', async () => {
    await query(
      target.url,
      `update planted set name = 'other' where id = 17;
       delete from planted where id = ${PLANTED_ROWS - 5};
       insert into planted values (-4, 'extra', 0, '')`,
    )
    const found = await site.verify('planted')
    console.log(`verify of ${PLANTED_ROWS} rows: ${found.seconds.toFixed(1)} s`)
    // Of a small table the marks in the log take longer than the reading.
    if (PLANTED_ROWS >= 1_000_000) expect(found.seconds).toBeLessThan(site.copied.get('planted') ?? 0)
    expect(found).toMatchObject({ result: 'Different', rowsChanged: 1, rowsMissing: 1, rowsExtra: 1 })
    expect(found.examples?.toSorted((a, b) => a.key.localeCompare(b.key))).toEqual([
      { key: '-4', kind: 'Extra' },
      { key: '17', kind: 'Changed' },
      { key: String(PLANTED_ROWS - 5), kind: 'Missing' },
    ])
    // What is found is mended by a backfill over what is there, but for the row that the source does not have.
    await site.copy('mend', 'planted')
    expect(await site.verify('planted')).toMatchObject({
      result: 'Different',
      rowsDifferent: 1,
      rowsExtra: 1,
    })
  }, 300_000)

  it(`gives no false alarm under a write load, in ${RUNS} runs`, async () => {
    const { result, rounds, seconds } = await underLoad(
      site.source,
      anyChanges('big', ROWS),
      30,
      async () => {
        const results = []
        for (let run = 0; run < RUNS; run += 1) {
          const found = await site.verify('big', run % 5 === 4 ? { backfill: { readFrom: 'Primary' } } : {})
          results.push(found)
          console.log(
            `run ${run}: ${found.result} ${found.rowsCompared} rows, undecided ${found.rowsUndecided ?? 0}, ${found.seconds.toFixed(1)} s`,
          )
        }
        return results
      },
    )
    console.log(`${Math.round((65 * rounds) / seconds)} changes a second`)
    for (const found of result) expect(found).toMatchObject({ result: 'Equal', rowsDifferent: 0 })
  }, 900_000)

  it('finds a difference under a write load too', async () => {
    const changes = 'update big set n = n + 1 where id % 500 = floor(random() * 500)::int'
    await underLoad(
      site.source,
      () => changes,
      100,
      async () => {
        const [row] = await query<{ id: string }>(
          site.source.url,
          'select min(id) as id from big where id > 1000',
        )
        await query(target.url, `update big set at = at + interval '1 microsecond' where id = ${row?.id}`)
        const found = await site.verify('big')
        expect(found.examples?.filter(({ kind }) => kind === 'Changed').map(({ key }) => key)).toEqual([
          row?.id,
        ])
        expect(found.rowsDifferent).toBe(1)
      },
    )
  }, 120_000)

  it('goes on where it was after its pod was replaced', async () => {
    await query(
      target.url,
      `delete from planted where id = -4; update planted set name = 'other' where id = ${PLANTED_ROWS - 3}`,
    )
    const job = await site.make('restarted', 'planted', { verify: 'Only', backfill: { parallelism: 1 } })
    const stop = new AbortController()
    let first: Promise<unknown> = Promise.resolve()
    await withClient(target.url, async (client) => {
      first = site.run(job, stop.signal).catch(() => {})
      const reads = new Set<string>()
      await until(
        async () => {
          const { rows } = await client.query<{ began: string }>(
            `select query_start::text as began from pg_stat_activity where query like 'SELECT 0 AS b%' and pid <> pg_backend_pid()`,
          )
          for (const { began } of rows) reads.add(began)
          return reads.size > 3
        },
        { what: 'reads of some ranges', timeoutMs: 60_000, intervalMs: 1 },
      )
      await client.query('begin; lock table planted in access exclusive mode')
      await until(
        async () => {
          const { ranges = 0 } = JSON.parse((await site.status('restarted')).verify?.cursor ?? '{}')
          return ranges > 0
        },
        { what: 'a status that says so', timeoutMs: 60_000 },
      )
      stop.abort(new Error('its node is drained'))
      await first
      await client.query('rollback')
    })
    // In a range that is done: not looked at again.
    await query(target.url, `update planted set name = 'other' where id = 1`)
    await site.run(job)
    expect((await site.status('restarted')).verify).toMatchObject({
      result: 'Different',
      rowsDifferent: 1,
      examples: [{ key: String(PLANTED_ROWS - 3), kind: 'Changed' }],
      rowsCompared: PLANTED_ROWS,
    })
    expect(await site.verify('planted')).toMatchObject({ rowsDifferent: 2 })
  }, 120_000)

  it('is refused for a table without its history, and says why', async () => {
    await query(
      target.url,
      `update millrace.tables set history_complete = false, version = version + 1 where source_table = 'odd'`,
    )
    const job = await site.make('refused', 'odd', { verify: 'Only' })
    await expect(site.run(job)).rejects.toMatchObject({ code: 'ActionRefused' })
    expect((await site.status('refused')).copy?.failed?.message).toMatch(
      /history in the destination is not complete/,
    )
  })
})
