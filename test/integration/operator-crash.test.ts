import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PIPELINES } from '../../crds/api.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { createWorld, type World } from './operator-world.ts'

// The operator is cut off after each of its writes in turn, so that the write was made and nothing else was learnt from it.
// A new one must bring everything to the same end, and then write nothing.

let transport: Transport
const AT_ONCE = 4

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})
afterAll(() => transport.close())

const tables = ['a', 'b']
const applied = (historyComplete: boolean) => ({
  tables: tables.map((name) => ({ schema: 'public', name, state: 'Streaming' as const, historyComplete })),
})

/** What workers would do with every backfill that has a Job, until none is left. */
async function playWorkers(world: World): Promise<void> {
  const ended = new Set<string>()
  await world.until(async () => {
    for (const job of await world.jobs()) {
      const name = job.metadata.name.replace(/-copy$/, '')
      if (job.status?.active !== 1 || ended.has(name) || name.endsWith('cleanup')) continue
      await world.queue(name, { state: 'Held' })
      await world.copy(name, { stage: 'Done' })
      await world.finish(`${name}-copy`, 'Complete')
      await world.queue(name, { state: 'Drained', historyComplete: true })
      ended.add(name)
    }
    return ended.size === tables.length
  }, 'all backfills to be played')
}

/** Everything that a person sees at the end. */
async function outcome(world: World) {
  await world.until(async () => {
    const { conditions, counts, tables: seen } = (await world.pipeline('shop'))?.status ?? {}
    // What apply has reported last is the last to be seen: it streams before.
    const isWhole = seen?.every(({ historyComplete }) => historyComplete === true)
    return isWhole && conditions?.[0]?.reason === 'Streaming' && counts?.streaming === tables.length
  }, 'the Pipeline to be ready')
  const backfills = await world.until(async () => {
    const found = await world.backfills()
    return found.every((one) => one.status?.phase === 'Streaming') && found
  }, 'all backfills to stream')
  await world.until(
    async () => (await world.jobs()).every((job) => job.spec.ttlSecondsAfterFinished !== undefined),
    'Jobs to be marked',
  )
  const pipeline = await world.pipeline('shop')
  return {
    backfills: backfills.map((one) => `${one.metadata.name} ${one.status?.message}`).sort(),
    tables: pipeline?.status?.tables,
    counts: pipeline?.status?.counts,
    jobs: (await world.jobs()).map((job) => job.metadata.name).sort(),
  }
}

/** The whole life of a Pipeline, with a crash at the given write. Returns what came of it and how many writes it took. */
async function live(crashAt?: number) {
  const world = await createWorld(transport)
  try {
    await world.startOperator(crashAt)
    const revived = crashAt === undefined ? undefined : world.crashed().then(() => world.startOperator())
    await world.createPipeline('shop', {
      tables: tables.map((name) => ({ name })),
      backfill: { maxConcurrentTables: 1 },
    })
    await world.capture('shop', { slot: 's' })
    await world.apply('shop', applied(false))
    await playWorkers(world)
    await world.apply('shop', applied(true))
    const end = await outcome(world)
    const writes = world.writes.length
    await new Promise((resolve) => setTimeout(resolve, 500))
    const quiet = world.writes.length - writes
    await world.remove(PIPELINES, 'shop')
    // Apply gives the tables free.
    await world.apply('shop', { tables: [] })
    await world.until(() => world.job('shop-cleanup'), 'cleanup')
    await world.finish('shop-cleanup', 'Complete')
    await world.until(async () => (await world.pipeline('shop')) === undefined, 'the Pipeline to go')
    // A crash that lies behind the last write never comes.
    if (crashAt !== undefined && world.writes.length < crashAt) await world.stopOperator()
    await revived
    return { end, quiet, writes: world.writes.length, mostRunning: world.mostRunning() }
  } finally {
    await world.close()
  }
}

describe('the operator', () => {
  it('comes to the same end whichever write it dies after', async () => {
    const undisturbed = await live()
    expect(undisturbed.quiet).toBe(0)
    expect(undisturbed.mostRunning).toBe(1)
    let next = 1
    const failures: string[] = []
    const lane = async () => {
      for (let at = next++; at <= undisturbed.writes; at = next++) {
        try {
          const { end, quiet, mostRunning } = await live(at)
          if (!isDeepStrictEqual(end, undisturbed.end)) throw new Error(JSON.stringify(end))
          expect(quiet).toBe(0)
          expect(mostRunning).toBeLessThanOrEqual(1)
        } catch (error) {
          failures.push(`after write ${at}: ${error instanceof Error ? error.message : error}`)
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
    expect(failures).toEqual([])
    expect(undisturbed.writes).toBeGreaterThan(20)
  }, 400_000)
})
