import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import type { RowLine } from '../../workers/queue/format.ts'
import { applied, KVT, KVT_COLUMNS, useApplyBeds } from './apply-beds.ts'
import { type Columns, hold } from './apply-fixture.ts'
import { define } from './destination-postgres-fixture.ts'
import { waitForReplica } from './services.ts'

const { open } = useApplyBeds()

describe('unchanged values', () => {
  it('come from the row in the destination, else from the source (I7)', async () => {
    const bed = await open('toast', { source: KVT })
    await query(bed.source.url, `insert into t values (1, 'new', 'x1'), (2, 'new', 'x2')`)
    await bed.rows(0x200, [['i', 2, ['1', 'old', 'kept']]], { columns: KVT_COLUMNS })
    const worker = bed.run()
    await bed.untilContents(['(1,old,kept)'])
    await bed.rows(0x300, [
      ['u', 2, ['1', 'new', 0]],
      // Not in the destination: read again.
      ['u', 4, ['2', 'new', 0]],
      // Not in the source any more: a delete follows (R18).
      ['u', 6, ['3', 'new', 0]],
    ])
    await bed.untilContents(['(1,new,kept)', '(2,new,x2)'])
    expect(await worker.metrics.getSingleMetricAsString('millrace_apply_reread_rows_total')).toContain('} 2')
  })

  it('are read from the source while the history is unknown (R17), and only then', async () => {
    const bed = await open('suspect', {
      source: KVT,
      destination: `${KVT}; insert into t values (1, 'foreign', 'stale')`,
    })
    await query(bed.source.url, `insert into t values (1, 'new', 'true')`)
    await bed.rows(0x200, [['u', 2, ['1', 'new', 0]]], { columns: KVT_COLUMNS })
    bed.run()
    await bed.untilContents(['(1,new,true)'])
    expect(await bed.ledger()).toMatchObject({ unknownHistory: true })
    const uid = await bed.backfill('b')
    await bed.control(0x300, hold(uid, 'b'))
    await bed.untilQueue('b', 'Held')
    await bed.copy(uid, define('t', ['k integer', 'v text', 'x text'], ['k']), ['1\tnew\ttrue'])
    await bed.control(0x400, { control: 'release', lsn: '0/410', uid })
    await bed.untilQueue('b', 'Drained')
    await query(bed.source.url, `update t set x = 'later'`)
    await bed.rows(0x500, [['u', 2, ['1', 'newer', 0]]])
    await bed.untilContents(['(1,newer,true)'])
  })

  it('are found by a key of an extension’s type, or of a domain over an enum', async () => {
    const tree = `create extension ltree schema public; create domain place as ltree;
      create type kind as enum ('b', 'a'); create domain kept as kind;
      create table t (k ltree, l place, m kept, v text, x text, primary key (k, l, m))`
    const bed = await open('extension', { source: tree })
    await query(
      bed.source.url,
      `insert into t values ('a.b', 'c', 'a', 'new', 'x1'), ('a', 'c', 'a', 'other', 'x2')`,
    )
    const columns: Columns = [
      ['k', 'public.ltree', 1],
      ['l', 'public.place', 2],
      ['m', 'public.kept', 3],
      ['v', 'text', 0],
      ['x', 'text', 0],
    ]
    await bed.rows(0x200, [['u', 2, ['a.b', 'c', 'a', 'new', 0]]], { columns })
    bed.run()
    await bed.untilContents(['(a.b,c,a,new,x1)'])
  })

  it('are read only from a server that is past the change (R18)', async () => {
    const bed = await open('past', { source: KVT })
    const [before] = await query<{ lsn: string }>(bed.source.url, 'select pg_current_wal_lsn()::text as lsn')
    expect(before).toBeDefined()
    const { Client } = await import('pg')
    const writer = new Client({ connectionString: bed.source.url })
    await writer.connect()
    await writer.query('begin')
    await writer.query(`insert into t values (1, 'v', 'toasted')`)
    const { rows } = await writer.query<{ xid: string }>('select pg_current_xact_id()::text as xid')
    const xid = Number(BigInt(rows[0]?.xid ?? 0) & 0xffffffffn)
    // The change is in the queue, and its transaction has not ended in the eyes of others.
    await bed.rows(0x200, [['u', 2, ['1', 'v', 0]]], { columns: KVT_COLUMNS, xid })
    bed.run()
    await bed.untilLedger('claimed', () => true)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(await bed.contents()).toEqual([])
    await writer.query('commit')
    await writer.end()
    await bed.untilContents(['(1,v,toasted)'])
  })

  it('are read from the replica where there is one', async () => {
    const bed = await open('replica', { source: KVT, replica: true })
    await query(bed.source.url, `insert into t values (1, 'v', 'toasted')`)
    const [{ lsn } = { lsn: '' }] = await query<{ lsn: string }>(
      bed.source.url,
      'select pg_current_wal_lsn()::text as lsn',
    )
    await waitForReplica()
    const [high, low] = lsn.split('/').map((part) => BigInt(`0x${part}`))
    const commit = ((high ?? 0n) << 32n) + (low ?? 0n) - 8n
    await query(bed.source.url, 'select pg_stat_reset()')
    await bed.rows(commit, [['u', 2, ['1', 'v', 0]]], { columns: KVT_COLUMNS })
    bed.run()
    await bed.untilContents(['(1,v,toasted)'])
    const reads = `select coalesce(seq_scan, 0) + coalesce(idx_scan, 0) as reads from pg_stat_user_tables where relname = 't'`
    const [primary] = await query<{ reads: string }>(bed.source.url, reads)
    expect(Number(primary?.reads)).toBe(0)
  })

  it('a key change never takes them from the destination (R16)', async () => {
    const bed = await open('moved', { source: KVT })
    await query(bed.source.url, `insert into t values (4, 'moved', 'right')`)
    await bed.rows(0x200, [['i', 2, ['1', 'v', 'of another life']]], { columns: KVT_COLUMNS })
    bed.run()
    await bed.untilContents(['(1,v,"of another life")'])
    await bed.rows(0x300, [['u', 2, ['4', 'moved', 0], ['1']]])
    await bed.untilContents(['(4,moved,right)'])
  })

  it('a row that is gone when it is read again leaves none of before under its key (R18)', async () => {
    const bed = await open('replaced', { source: KVT })
    await query(bed.source.url, `insert into t values (3, 'moved', 'x1')`)
    await bed.rows(
      0x200,
      [
        ['i', 2, ['1', 'first', 'x1']],
        ['i', 3, ['2', 'second', 'x2']],
      ],
      { columns: KVT_COLUMNS },
    )
    bed.run()
    await bed.untilContents(['(1,first,x1)', '(2,second,x2)'])
    // The second row takes the key of the first, and is deleted right after.
    await bed.rows(0x300, [
      ['u', 2, ['3', 'moved', 0], ['1']],
      ['u', 3, ['1', 'moved', 0], ['2']],
    ])
    await bed.untilContents(['(3,moved,x1)'])
  })

  it('of many large rows are read in pieces', async () => {
    const bed = await open('pieces', { source: KVT })
    await query(
      bed.source.url,
      `alter table t alter x set storage external;
       insert into t select k, 'v', repeat(k::text, 400000) from generate_series(1, 60) k`,
    )
    const lines = Array.from({ length: 60 }, (_, at): RowLine => ['u', at + 1, [String(at + 1), 'v', 0]])
    await bed.rows(
      0x200,
      [
        ['i', 1, ['99', 'gone', 'x']],
        ['d', 2, ['99']],
      ],
      { columns: KVT_COLUMNS },
    )
    await bed.rows(0x300, lines)
    bed.run()
    await until(
      async () =>
        (
          await query<{ ok: boolean }>(
            bed.destinationUrl,
            `select count(*) = 60 and bool_and(x = repeat(k::text, 400000)) as ok from t`,
          ).catch(() => [])
        )[0]?.ok,
      { what: '60 rows', timeoutMs: 60_000 },
    )
    await bed.untilLedger('applied', (row) => row.position.lsn === 0x300n)
  })
})

describe('columns', () => {
  it('that are added get the source’s default in the rows that are there (R19)', async () => {
    const bed = await open('added')
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    bed.run()
    await bed.untilContents(['(1,one)'])
    await query(bed.source.url, `alter table t add d integer not null default 7`)
    const columns: Columns = [
      ['k', 'integer', 1],
      ['v', 'text', 0],
      ['d', 'integer', 0],
    ]
    await bed.rows(0x300, [['i', 2, ['2', 'two', '8']]], { columns })
    await bed.untilContents(['(1,one,7)', '(2,two,8)'])
  })

  it('that are added and altered since get what the header says that they gave (R19)', async () => {
    const bed = await open('told')
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    bed.run()
    await bed.untilContents(['(1,one)'])
    await query(bed.source.url, `alter table t add d varchar(20) default 'active', add e text default 'late'`)
    const columns: Columns = [
      ['k', 'integer', 1],
      ['v', 'text', 0],
      ['d', 'character varying(10)', 0, 'legacy'],
      ['e', 'text', 0, null],
    ]
    await bed.rows(0x300, [['i', 2, ['2', 'two', 'x', 'y']]], { columns })
    await bed.untilContents(['(1,one,legacy,)', '(2,two,x,y)'])
  })

  it('that are younger than a change count as unchanged in it (R19)', async () => {
    const bed = await open('younger')
    await query(bed.source.url, `insert into t values (1, 'new'), (2, 'two'), (3, 'moved')`)
    await query(bed.source.url, `alter table t add d integer default 7`)
    await query(bed.source.url, `update t set d = 9 where k = 3`)
    const uid = await bed.backfill('b')
    await bed.control(0x100, hold(uid, 'b'))
    // Written before the column was added, applied after the scan that has it.
    await bed.rows(0x200, [
      ['u', 2, ['1', 'new']],
      ['i', 4, ['2', 'two']],
      ['d', 6, ['5']],
      ['u', 8, ['3', 'moved'], ['4']],
    ])
    bed.run()
    await bed.untilQueue('b', 'Held')
    await bed.copy(uid, define('t', ['k integer', 'v text', 'd integer'], ['k']), ['1\told\t7', '5\tx\t7'])
    await bed.untilContents(['(1,new,7)', '(2,two,7)', '(3,moved,9)'])
  })

  it('of a type that cannot be taken over stop their table alone, until a backfill empties it (R21)', async () => {
    const address: Columns = [
      ['k', 'integer', 1],
      ['v', 'inet', 0],
    ]
    const bed = await open('types', { tables: [{ name: 't' }, { name: 'u' }] })
    await query(bed.source.url, 'create table u (k integer primary key, v text)')
    await bed.rows(0x200, [['i', 2, ['1', '10.0.0.1']]], { columns: address })
    bed.run()
    await bed.untilContents(['(1,10.0.0.1)'])
    const columns: Columns = [
      ['k', 'integer', 1],
      ['v', 'integer', 0],
    ]
    await bed.rows(0x300, [['i', 2, ['2', '20']]], { columns })
    await bed.rows(0x300, [['i', 2, ['1', 'goes on']]], { table: 'u' })
    await bed.untilContents(['(1,"goes on")'], 'u')
    const failed = await until(
      async () => {
        const table = await applied(bed)
        return table?.state === 'Failed' ? table : undefined
      },
      { what: 'status Failed', timeoutMs: 20_000 },
    )
    expect(failed).toMatchObject({
      code: 'SchemaChangeUnsupported',
      message: expect.stringContaining('Truncate or Drop'),
    })
    expect((await bed.pipeline()).status?.apply?.problems).toEqual([
      expect.objectContaining({ component: 'Table', table: { schema: 'public', name: 't' } }),
    ])
    // Nothing is left out as long as somebody may mend the destination.
    expect(await bed.ledger()).toMatchObject({ state: 'active', position: { lsn: 0x200n } })
    const uid = await bed.backfill('b', { destinationTable: 'Drop' })
    await bed.setPhase('b', 'Preparing')
    await bed.untilLedger('stopped', (row) => row.state === 'stopped')
    await bed.control(0x400, hold(uid, 'b', 'Drop'), { columns })
    await bed.untilQueue('b', 'Held')
    await bed.copy(uid, define('t', ['k integer', 'v integer'], ['k']), ['2\t22'])
    await bed.control(0x500, { control: 'release', lsn: '0/510', uid }, { columns })
    await bed.untilQueue('b', 'Drained')
    await bed.rows(0x600, [['i', 2, ['3', '33']]], { columns })
    await bed.untilContents(['(2,22)', '(3,33)'])
    await until(async () => (await applied(bed))?.state === 'Streaming', {
      what: 'status Streaming',
      timeoutMs: 20_000,
    })
  })

  it('that are excluded now are left out of the changes that are queued with them', async () => {
    const columns: Columns = [
      ['k', 'integer', 1],
      ['__millrace_deleted', 'boolean', 0],
      ['v', 'text', 0],
    ]
    const bed = await open('excluded', {
      source: 'create table t (k integer primary key, __millrace_deleted boolean, v text)',
      spec: { apply: { deletes: 'Soft' } },
    })
    await bed.rows(0x200, [['i', 2, ['1', 't', 'one']]], { columns })
    bed.run()
    await until(async () => (await applied(bed))?.state === 'Failed', { what: 'Failed', timeoutMs: 20_000 })
    expect(await applied(bed)).toMatchObject({ message: expect.stringContaining('columns.exclude') })
    await bed.patchPipeline({
      tables: [{ schema: 'public', name: 't', columns: { exclude: ['__millrace_deleted'] } }],
    })
    await bed.untilContents(['(1,one,f)'])
    await bed.rows(0x300, [['u', 2, ['2', 't', 'two'], ['1']]])
    await bed.untilContents(['(1,one,t)', '(2,two,f)'])
  })

  it('that somebody mends in the destination let the table go on without loss', async () => {
    const bed = await open('mended', { destination: 'create table t (k integer primary key, v inet)' })
    await bed.rows(0x200, [['i', 2, ['1', 'no address']]])
    bed.run()
    await until(async () => (await applied(bed))?.state === 'Failed', { what: 'Failed', timeoutMs: 20_000 })
    await query(bed.destinationUrl, 'alter table t alter v type text')
    await bed.untilContents(['(1,"no address")'])
  })
})
