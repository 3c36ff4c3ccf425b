import type { Pipeline } from '../../crds/pipeline.ts'
import { DEPLOYMENTS, type Deployment, within } from '../../operator/kube/resources.ts'
import type { World } from './operator-world.ts'

const never = new AbortController().signal

export const initial = (table: string) => `shop-public-${table}-initial`
export const applied = (tables: string[], historyComplete = false) => ({
  tables: tables.map((name) => ({
    schema: 'public',
    name,
    state: 'Streaming' as const,
    historyComplete,
    lagSeconds: 0,
  })),
})
export const deployment = (world: World, name: string) =>
  world.kube.get<Deployment>(within(DEPLOYMENTS, world.namespace), name, never)
export const phase = (world: World, name: string, wanted: string) =>
  world.until(async () => {
    const backfill = await world.backfill(name)
    return backfill?.status?.phase === wanted && backfill
  }, `${name} to be ${wanted}`)
export const ready = (pipeline: Pipeline | undefined) =>
  pipeline?.status?.conditions?.find((condition) => condition.type === 'Ready')

/** Takes a backfill all the way, as its worker and apply would. */
export async function complete(world: World, name: string) {
  await world.queue(name, { state: 'Held', heldLSN: '0/1' })
  await phase(world, name, 'Backfilling')
  await world.copy(name, { stage: 'Done', rowsCopied: 10 })
  await phase(world, name, 'Draining')
  await world.finish(`${name}-copy`, 'Complete')
  await world.queue(name, { state: 'Drained', historyComplete: true })
  return await phase(world, name, 'Streaming')
}

/** Waits until no write has come for a while, and returns how many there were. */
export async function quiet(world: World): Promise<number> {
  for (;;) {
    const before = world.writes.length
    await new Promise((resolve) => setTimeout(resolve, 700))
    if (world.writes.length === before) return before
  }
}
