import { runNode } from '../../hack/process/run-node.ts'
import { modelSettings } from './settings.ts'

/**
 * `node test/model/main.ts [SCHEDULES]`: the real workers against a simulated source, queue, destination and API server,
 * in random order. SEED=s begins with another one; with SEED and no number that one alone is run. VERBOSE=1 prints what
 * happened in a schedule that failed. Many are shared out among JOBS=2 processes.
 */

/** A killed worker waits for ever for an answer, and with it all that it holds: some 0.4 MB stay of each schedule. */
const BATCH = 1_000
const SUMMARY = /^model: schedules=(\d+) steps=(\d+) failures=(\d+) .*\n/m

const settings = modelSettings()
if (settings.count <= BATCH) await import('./run.ts')
else await runBatches()

async function runBatches(): Promise<void> {
  const { first, count, most } = settings
  const began = performance.now()
  const total = { schedules: 0, steps: 0, failures: 0 }
  let next = first
  const work = async () => {
    while (next < first + count && total.failures < most) {
      const from = next
      next = Math.min(from + BATCH, first + count)
      const { output } = await runNode([import.meta.filename, String(next - from)], {
        env: { SEED: String(from) },
      })
      const [, schedules, steps, failures] = SUMMARY.exec(output) ?? []
      // One that has not come to its end has failed, whatever else.
      total.schedules += Number(schedules ?? 0)
      total.steps += Number(steps ?? 0)
      total.failures += Number(failures ?? 1)
      process.stdout.write(output.replace(SUMMARY, ''))
      process.stdout.write(`${total.schedules} of ${count} schedules, ${seconds()} s\n`)
    }
  }
  const seconds = () => ((performance.now() - began) / 1000).toFixed(1)
  await Promise.all(Array.from({ length: Number(process.env.JOBS ?? 2) }, work))
  const { schedules, steps, failures } = total
  process.stdout.write(
    `model: schedules=${schedules} steps=${steps} failures=${failures} seconds=${seconds()}\n`,
  )
  process.exitCode = failures === 0 ? 0 : 1
}
