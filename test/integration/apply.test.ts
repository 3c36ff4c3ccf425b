import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { query } from '../../hack/services/postgres.ts'
import type { RowLine } from '../../workers/queue/format.ts'
import { KVT, KVT_COLUMNS, useApplyBeds } from './apply-beds.ts'
import { type Columns, hold, never } from './apply-fixture.ts'
import { define } from './destination-postgres-fixture.ts'

const { open } = useApplyBeds()

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
