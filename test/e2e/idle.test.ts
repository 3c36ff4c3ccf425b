import { expect, it } from 'vitest'
import {
  applyPipeline,
  cpuSeconds,
  onSource,
  PIPELINE,
  useStage,
  waitForStreaming,
  workerProcesses,
} from './support.ts'

const stage = useStage('idle')
const MIB = 1024 * 1024
const SETTLE_SECONDS = 10
const MEASURE_SECONDS = 30

async function residentBytes(pid: number): Promise<number> {
  const { readFile } = await import('node:fs/promises')
  return Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
}

it('uses under 120 MB and under 1 % of a core while nothing happens', { timeout: 200_000 }, async () => {
  const { cluster, site } = stage()
  await onSource(
    stage(),
    'CREATE TABLE t (id integer PRIMARY KEY)',
    'INSERT INTO t SELECT generate_series(1, 1000)',
  )
  await applyPipeline(stage(), { tables: [{ name: 't' }] })
  await waitForStreaming(stage(), ['t'])
  await new Promise((resolve) => setTimeout(resolve, SETTLE_SECONDS * 1000))

  const workers = await workerProcesses((await cluster.pipeline(site.namespace, PIPELINE))?.metadata.uid)
  const idle = workers.filter(({ name }) => name === 'capture' || name === 'apply')
  expect(idle).toHaveLength(2)
  const before = await Promise.all(idle.map(({ pid }) => cpuSeconds(pid)))
  await new Promise((resolve) => setTimeout(resolve, MEASURE_SECONDS * 1000))
  for (const [i, { pid, name }] of idle.entries()) {
    const share = ((await cpuSeconds(pid)) - (before[i] ?? 0)) / MEASURE_SECONDS
    const resident = (await residentBytes(pid)) / MIB
    console.log(`${name}: ${(share * 100).toFixed(2)} % of a core, ${resident.toFixed(0)} MiB`)
    expect(share, `${name} share of a core`).toBeLessThan(0.01)
    expect(resident, `${name} MiB`).toBeLessThan(120)
  }
})
