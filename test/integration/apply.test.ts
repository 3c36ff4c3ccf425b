import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { startKafka } from '../../hack/services/kafka.ts'
import { query } from '../../hack/services/postgres.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import type { RowLine } from '../../workers/queue/format.ts'
import { type ApplyBed, type ApplyOptions, type Columns, hold, never, openBed } from './apply-fixture.ts'
import { define } from './destination-postgres-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { tempDir, waitForReplica } from './services.ts'

let transport: Transport
const beds: ApplyBed[] = []

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})

afterAll(async () => {
  for (const bed of beds) await bed.close()
  transport.close()
})

const KV = 'create table t (k integer primary key, v text)'
const KVT = 'create table t (k integer primary key, v text, x text)'
const KVT_COLUMNS: Columns = [
  ['k', 'integer', 1],
  ['v', 'text', 0],
  ['x', 'text', 0],
]

async function open(name: string, options: Partial<ApplyOptions> = {}): Promise<ApplyBed> {
  const bed = await openBed(transport, name, { source: KV, ...options })
  beds.push(bed)
  return bed
}

/** State of a table as the Pipeline's status tells it. */
const applied = async (bed: ApplyBed, name = 't') =>
  (await bed.pipeline()).status?.apply?.tables?.find((table) => table.name === name)

describe('streaming', () => {
  it('applies what is in the queue, then what comes', async () => {
    const bed = await open('stream')
    await bed.control(0x100, { control: 'join', lsn: '0/110' })
    await bed.rows(0x200, [
      ['i', 2, ['1', 'one']],
      ['i', 4, ['2', 'two']],
      ['i', 6, ['3', null]],
    ])
    bed.run()
    await bed.untilContents(['(1,one)', '(2,two)', '(3,)'])
    await bed.rows(0x300, [
      ['u', 2, ['1', 'uno']],
      ['d', 4, ['2']],
      ['u', 6, ['9', 'drei'], ['3']],
    ])
    await bed.untilContents(['(1,uno)', '(9,drei)'])
    await bed.rows(0x400, [
      ['t', 2],
      ['i', 4, ['5', 'five']],
    ])
    await bed.untilContents(['(5,five)'])
    expect(await bed.untilLedger('applied', (row) => row.nextOffset === 4n)).toMatchObject({
      position: { epoch: 1, lsn: 0x400n, sequence: 4 },
      historyComplete: false,
      unknownHistory: false,
      state: 'active',
    })
  })

  it('skips what it has applied, however often it is written (R15)', async () => {
    const bed = await open('skip')
    const first: RowLine[] = [
      ['i', 2, ['1', 'one']],
      ['i', 4, ['2', 'two']],
    ]
    await bed.rows(0x200, first)
    await bed.rows(0x300, [['u', 2, ['1', 'uno']]])
    const worker = bed.run()
    await bed.untilContents(['(1,uno)', '(2,two)'])
    // A capture that was restarted writes again from what it had recorded, and goes on.
    await bed.rows(0x200, first)
    await bed.rows(0x300, [
      ['u', 2, ['1', 'uno']],
      ['d', 4, ['2']],
    ])
    await bed.untilContents(['(1,uno)'])
    await worker.stop()
    bed.run()
    await bed.rows(0x200, first)
    await bed.rows(0x400, [['i', 2, ['3', 'three']]])
    await bed.untilContents(['(1,uno)', '(3,three)'])
  })

  it('exchanges keys', async () => {
    const bed = await open('swap', { source: KVT })
    await query(bed.source.url, `insert into t values (1, 'b', 'bx'), (2, 'a', 'ax')`)
    const columns = { columns: KVT_COLUMNS }
    await bed.rows(
      0x200,
      [
        ['i', 2, ['1', 'a', 'ax']],
        ['i', 4, ['2', 'b', 'bx']],
      ],
      columns,
    )
    bed.run()
    await bed.untilContents(['(1,a,ax)', '(2,b,bx)'])
    await bed.rows(0x300, [
      ['u', 2, ['9', 'a', 0], ['1']],
      ['u', 4, ['1', 'b', 0], ['2']],
      ['u', 6, ['2', 'a', 0], ['9']],
    ])
    await bed.untilContents(['(1,b,bx)', '(2,a,ax)'])
  })

  it('softly deletes', async () => {
    const bed = await open('soft', { spec: { apply: { deletes: 'Soft' } } })
    await bed.rows(0x200, [
      ['i', 2, ['1', 'one']],
      ['i', 4, ['2', 'two']],
    ])
    bed.run()
    await bed.untilContents(['(1,one,f)', '(2,two,f)'])
    await bed.rows(0x300, [['d', 2, ['1']]])
    await bed.untilContents(['(1,one,t)', '(2,two,f)'])
    await bed.rows(0x400, [['i', 2, ['1', 'again']]])
    await bed.untilContents(['(1,again,f)', '(2,two,f)'])
  })

  it('deletes records that were applied, after their time (R24)', async () => {
    const bed = await open('retention')
    await bed.patchPipeline({ queue: { kafka: { retentionSeconds: 0 } } })
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    await bed.rows(0x300, [['i', 2, ['2', 'two']]])
    bed.run()
    await bed.untilContents(['(1,one)', '(2,two)'])
    await until(async () => (await bed.queue.offsets(bed.topic(), never))?.earliest === 2n, {
      what: 'records deleted',
      timeoutMs: 30_000,
    })
    await bed.rows(0x400, [['i', 2, ['3', 'three']]])
    await bed.untilContents(['(1,one)', '(2,two)', '(3,three)'])
  })
})

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

describe('tables without a key (R14)', () => {
  const columns: Columns = [
    ['a', 'integer', 0],
    ['b', 'text', 0],
  ]
  const definition = define('t', ['a integer', 'b text'], [])

  it('hold each row as often as the source does, and leave out what the scan has seen', async () => {
    const bed = await open('keyless', {
      source: 'create table t (a integer, b text); alter table t replica identity full',
    })
    const uid = await bed.backfill('b', { destinationTable: 'Truncate' })
    await bed.control(0x100, { control: 'join', lsn: '0/110' }, { columns })
    await bed.control(0x200, hold(uid, 'b', 'Truncate'), { columns })
    // 700 and 702 had ended when the snapshot was taken, 701 was running.
    await bed.rows(0x300, [['i', 2, ['1', 'seen']]], { columns, xid: 700 })
    await bed.rows(
      0x400,
      [
        ['i', 2, ['1', 'running']],
        ['d', 4, ['5', 'old']],
      ],
      { columns, xid: 701 },
    )
    await bed.rows(
      0x500,
      [
        ['t', 2],
        ['i', 4, ['2', 'seen']],
      ],
      { columns, xid: 702 },
    )
    await bed.rows(0x600, [['i', 2, ['1', 'seen']]], { columns, xid: 703 })
    const worker = bed.run()
    await bed.untilQueue('b', 'Held')
    await bed.copy(uid, definition, ['1\tseen', '2\tseen', '5\told', '5\told'], '701:703:701')
    await bed.untilContents(['(1,running)', '(1,seen)', '(1,seen)', '(2,seen)', '(5,old)'])
    await worker.stop()
    bed.run()
    await bed.control(0x700, { control: 'release', lsn: '0/710', uid }, { columns })
    await bed.untilQueue('b', 'Drained')
    await bed.rows(0x800, [['u', 2, ['1', 'changed'], ['1', 'seen']]], { columns, xid: 704 })
    await bed.untilContents(['(1,changed)', '(1,running)', '(1,seen)', '(2,seen)', '(5,old)'])
  })
})

describe('large rows', () => {
  it('of 30 MB pass in little memory', async () => {
    const bed = await open('large')
    const text = randomBytes(15_000_000).toString('hex')
    await bed.rows(0x200, [['i', 2, ['1', 'small']]])
    for (const [at, key] of ['2', '3', '4'].entries()) await bed.rows(0x300 + at, [['i', 2, [key, text]]])
    await bed.rows(0x400, [['i', 2, ['5', `ü${text.slice(1)}`]]])
    await bed.rows(0x500, [['i', 2, ['6', 'after']]])
    const worker = bed.spawn()
    await until(
      async () => {
        const rows = await query<{ n: number }>(bed.destinationUrl, `select count(*)::int as n from t`).catch(
          () => [],
        )
        return rows[0]?.n === 6
      },
      { what: 'six rows', timeoutMs: 90_000 },
    )
    const [found] = await query<{ ok: boolean }>(
      bed.destinationUrl,
      `select bool_and(length(v) = 30000000) filter (where k between 2 and 5) as ok from t`,
    )
    expect(found?.ok).toBe(true)
    const status = readFileSync(`/proc/${worker.child.pid}/status`, 'utf8')
    const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024
    console.log(`peak of apply with rows of 30 MB: ${peak.toFixed(0)} MB`)
    expect(peak).toBeLessThan(400)
    worker.child.kill('SIGTERM')
    expect(await worker.exit).not.toBeNull()
  })
})

/** Source of changes: random ones on few keys, and what they must end in. */
function createLoad(keys: number) {
  const rows = new Map<number, string>()
  let lsn = 0x1000
  let state = 12345
  const random = (below: number) => {
    state = (state * 1103515245 + 12345) % 2 ** 31
    return state % below
  }
  return {
    /** Lines of the next transaction. */
    next(count: number): [lsn: number, lines: RowLine[]] {
      const lines: RowLine[] = []
      lsn += 16
      for (let number = 1; number <= count; number += 1) {
        const [key, to, value] = [random(keys), random(keys), `v${lsn}-${number}`]
        if (!rows.has(key)) {
          rows.set(key, value)
          lines.push(['i', number, [String(key), value]])
        } else if (random(4) === 0) {
          rows.delete(key)
          lines.push(['d', number, [String(key)]])
        } else if (random(3) === 0 && !rows.has(to)) {
          rows.delete(key)
          rows.set(to, value)
          lines.push(['u', number, [String(to), value], [String(key)]])
        } else {
          rows.set(key, value)
          lines.push(['u', number, [String(key), value]])
        }
      }
      return [lsn, lines]
    },
    expected: () => [...rows].map(([key, value]) => `(${key},${value})`).sort((a, b) => (a < b ? -1 : 1)),
  }
}

describe('disturbances', () => {
  it('two apply processes at once end in the same rows (I4)', async () => {
    const bed = await open('two')
    const load = createLoad(30)
    bed.run()
    bed.run()
    for (let round = 0; round < 60; round += 1) {
      await bed.rows(...load.next(20))
      if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 150))
    }
    await bed.untilContents(load.expected())
  })

  it('processes that are killed at any time lose and double nothing', async () => {
    const bed = await open('killed', { spec: { apply: { flushRows: 50 } } })
    const load = createLoad(40)
    let worker = bed.spawn()
    for (let round = 0; round < 6; round += 1) {
      for (let number = 0; number < 40; number += 1) await bed.rows(...load.next(10))
      await new Promise((resolve) => setTimeout(resolve, 700 + 150 * round))
      worker.child.kill('SIGKILL')
      await worker.exit
      worker = bed.spawn()
    }
    await bed.untilContents(load.expected())
  })

  it('a broker that is killed in the middle', async () => {
    const broker = await startKafka({ dir: `${tempDir()}/kafka` })
    const bed = await open('broker', { broker: broker.bootstrap })
    const load = createLoad(30)
    bed.run()
    for (let round = 0; round < 60; round += 1) {
      const sending = bed.rows(...load.next(20))
      if (round === 20 || round === 40) {
        await broker.kill9()
        await broker.start()
      }
      await sending
    }
    await bed.untilContents(load.expected())
    await until(async () => (await applied(bed))?.state === 'Streaming', {
      what: 'Streaming',
      timeoutMs: 20_000,
    })
    await bed.close()
    await broker.kill9()
  })

  it('a destination whose sessions break in the middle', async () => {
    const bed = await open('sessions')
    const load = createLoad(30)
    bed.run()
    for (let round = 0; round < 60; round += 1) {
      await bed.rows(...load.next(20))
      if (round % 6 === 0) {
        await query(
          bed.destinationUrl,
          `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'millrace-apply' and datname = current_database()`,
        )
      }
    }
    await bed.untilContents(load.expected())
  })
})

describe('an idle apply', () => {
  it('looks at the destination now and then, and uses hardly any processor time', async () => {
    const bed = await open('idle')
    await bed.rows(0x200, [['i', 2, ['1', 'one']]])
    const worker = bed.spawn()
    await bed.untilContents(['(1,one)'])
    await until(async () => (await applied(bed))?.lagSeconds === 0, { what: 'no lag', timeoutMs: 20_000 })
    const cpu = () => {
      const fields = readFileSync(`/proc/${worker.child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return (Number(fields[11]) + Number(fields[12])) / 100
    }
    const statements = async () => {
      const rows = await query<{ at: string }>(
        bed.destinationUrl,
        `select query_start || ' ' || query as at from pg_stat_activity
         where application_name = 'millrace-apply' and datname = current_database() order by query_start desc limit 1`,
      )
      return rows[0]?.at
    }
    await new Promise((resolve) => setTimeout(resolve, 3_000))
    const seen = new Set([await statements()])
    const cpuBefore = cpu()
    for (let second = 0; second < 15; second += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1_000))
      seen.add(await statements())
    }
    const share = (cpu() - cpuBefore) / 15
    console.log(`idle apply: ${(share * 100).toFixed(2)} % of a core`)
    expect(share).toBeLessThan(0.01)
    // It looks for what was done by hand every 40 s.
    expect(seen.size, [...seen].join('\n')).toBeLessThanOrEqual(2)
    const rss = Number(
      /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${worker.child.pid}/status`, 'utf8'))?.[1],
    )
    console.log(`idle apply: ${(rss / 1024).toFixed(0)} MB`)
    expect(rss / 1024).toBeLessThan(120)
  })
})
