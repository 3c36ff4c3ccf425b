import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { until } from '../../hack/process/wait.ts'
import { startKafka } from '../../hack/services/kafka.ts'
import { query } from '../../hack/services/postgres.ts'
import type { RowLine } from '../../workers/queue/format.ts'
import { applied, useApplyBeds } from './apply-beds.ts'
import { tempDir } from './services.ts'

const { open } = useApplyBeds()

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
