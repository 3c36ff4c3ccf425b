import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { type CaptureBed, type CaptureOptions, openCaptureBed, type Spawned } from './capture-fixture.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { assemble } from './queue-events.ts'

let transport: Transport
const beds: CaptureBed[] = []
const signal = AbortSignal.timeout(600_000)
const LIMIT = 200 * 1024

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})
afterEach(async () => {
  for (const bed of beds.splice(0)) await bed.close()
})
afterAll(() => transport?.close())

async function open(name: string, options: CaptureOptions): Promise<{ bed: CaptureBed; capture: Spawned }> {
  const bed = await openCaptureBed(transport, name, options)
  beds.push(bed)
  const capture = bed.spawn()
  await bed.untilJoined('t')
  return { bed, capture }
}

/** Kilobytes of memory of a process: now, and the most it ever had. */
function memory(capture: Spawned): { now: number; peak: number } {
  const status = readFileSync(`/proc/${capture.child.pid}/status`, 'utf8')
  const read = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1])
  return { now: read('VmRSS'), peak: read('VmHWM') }
}

/** Seconds of processor time of a process. */
function cpu(capture: Spawned): number {
  const fields = readFileSync(`/proc/${capture.child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

const offsets = (bed: CaptureBed) => bed.queue.offsets(bed.topic('t'), signal)

describe('capture stays below 200 MB', () => {
  it.each([
    ['text', 'repeat(md5(i::text), 1000000)', 'default'],
    ['text that has to be escaped', `repeat(E'\\n"\\t\\\\aé', 4000000)`, 'default'],
    ['bytes, with the old row', `decode(repeat(md5(i::text), 400000), 'hex')`, 'full'],
  ])('with a row of 30 MB of %s', async (_, expression, identity) => {
    const type = expression.startsWith('decode') ? 'bytea' : 'text'
    const { bed, capture } = await open('huge', {
      source: `create table t (id int primary key, big ${type}, note text); alter table t replica identity ${identity}`,
      tables: [{ name: 't' }],
    })
    const idle = memory(capture).now
    await bed.sql(`insert into t select i, ${expression}, 'n' from generate_series(1, 3) i`)
    await bed.sql(
      `update t set note = 'm'; update t set id = 9 where id = 3; delete from t where id = 2; insert into t values (0)`,
    )
    await until(
      async () => {
        const end = (await offsets(bed))?.end ?? 0n
        await new Promise((resolve) => setTimeout(resolve, 1000))
        return (
          end > 10n &&
          (await offsets(bed))?.end === end &&
          (await bed.slotLSN()) > 0n &&
          (await caughtUp(bed))
        )
      },
      { what: 'everything in the queue', timeoutMs: 90_000 },
    )
    const { peak } = memory(capture)
    console.log(`row of 30 MB: ${Math.round(idle / 1024)} MB before, ${Math.round(peak / 1024)} MB at most`)
    expect(peak).toBeLessThan(LIMIT)
    const runs = assemble(await bed.queue.readAll(bed.topic('t'), signal))
    const rows = runs.flatMap((run) =>
      run
        .toString()
        .trimEnd()
        .split('\n')
        .filter((line) => line.startsWith('["')),
    )
    const parsed = rows.map((row) => JSON.parse(row) as [string, number, (string | null | 0)[], string[]?])
    expect(parsed.map(([op]) => op).join('')).toBe('iiiuuuudi')
    const wanted = await bed.sql<{ id: number; md5: string }>(
      `select id, md5(big::text) from t where big is not null order by id`,
    )
    const { createHash } = await import('node:crypto')
    const md5 = (text: string) => createHash('md5').update(text).digest('hex')
    for (const [op, , values] of parsed.filter(([op]) => op === 'i').slice(0, 3)) {
      const row = wanted.find((one) => one.id === (values[0] === '3' ? 9 : Number(values[0])))
      if (row) expect(md5(String(values[1]))).toBe(row.md5)
      expect(op).toBe('i')
    }
    for (const [, , values] of parsed.slice(3, 6)) {
      if (identity === 'full') expect(String(values[1]).length).toBeGreaterThan(10_000_000)
      else expect(values[1]).toBe(0)
    }
    expect(parsed[6]?.[3]).toEqual(['3'])
    expect(parsed[7]?.[2]).toEqual(['2'])
  })

  it('with a transaction of two million changes', async () => {
    const { bed, capture } = await open('million', {
      source: 'create table t (id int primary key, a int, b text, at timestamptz default now())',
      tables: [{ name: 't' }],
    })
    await bed.sql(`insert into t select g, g, 'row number ' || g from generate_series(1, 1000000) g`)
    await until(() => caughtUp(bed), { what: 'the first million', timeoutMs: 120_000 })
    const before = cpu(capture)
    const started = performance.now()
    await bed.sql('begin; update t set a = a + 1; delete from t; commit')
    const committed = performance.now()
    await until(() => caughtUp(bed), { what: 'everything in the queue', timeoutMs: 240_000, intervalMs: 100 })
    const seconds = (performance.now() - committed) / 1000
    const { peak } = memory(capture)
    console.log(
      `2,000,000 changes: written in ${((committed - started) / 1000).toFixed(1)} s, captured in ${seconds.toFixed(1)} s after commit ` +
        `(${Math.round(2_000_000 / seconds)}/s, ${(cpu(capture) - before).toFixed(1)} s of CPU), ${Math.round(peak / 1024)} MB at most`,
    )
    expect(peak).toBeLessThan(LIMIT)
    const records = await bed.queue.readAll(bed.topic('t'), signal)
    let rows = 0
    for (const { value } of records) for (const byte of value) if (byte === 10) rows += 1
    // Lines of rows, plus two lines of header and transaction for each run, plus the control line.
    expect(rows).toBeGreaterThanOrEqual(3_000_000)
    expect(rows).toBeLessThan(3_000_000 + records.length * 3 + 3)
  }, 400_000)
})

describe('an idle capture', () => {
  it('uses less than 120 MB and less than 1 % of a core', async () => {
    const { bed, capture } = await open('idle', {
      source: 'create table t (id int primary key)',
      tables: [{ name: 't' }],
      postgres: { heartbeatSeconds: 10 },
    })
    await bed.sql('insert into t values (1)')
    await bed.untilEvents('t', 'the row', (all) => all.length === 2)
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    const before = cpu(capture)
    await new Promise((resolve) => setTimeout(resolve, 30_000))
    const share = (cpu(capture) - before) / 30
    const { now } = memory(capture)
    console.log(`idle capture: ${(share * 100).toFixed(2)} % of a core, ${Math.round(now / 1024)} MB`)
    expect(share).toBeLessThan(0.01)
    expect(now).toBeLessThan(120 * 1024)
  })
})

/** Everything the source has committed is recorded. */
async function caughtUp(bed: CaptureBed): Promise<boolean> {
  const [row] = await bed.sql<{ ok: boolean }>(
    `select s.confirmed_flush_lsn >= (select max(l) from (select pg_current_wal_lsn() - 200::numeric as l) x) as ok
     from pg_replication_slots s where slot_name = '${bed.slot}'`,
  )
  return row?.ok === true
}
