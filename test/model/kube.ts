import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { KubeApi, KubeObject, Resource } from '../../lib/kube/api.ts'
import { call, type Process } from './process.ts'
import { world } from './world.ts'

/** The API server: one Pipeline, its TableBackfills, and who watches them. */
export interface Cluster {
  pipeline: Pipeline
  readonly backfills: Map<string, TableBackfill>
  readonly watches: Set<Watch>
  version: number
}

interface Watch {
  readonly resource: Resource
  readonly events: {
    readonly type: 'changed' | 'deleted'
    readonly object: KubeObject
    readonly at: number
  }[]
}

type Kind = 'Pipeline' | 'TableBackfill'

export function createCluster(pipeline: Pipeline): Cluster {
  return { pipeline, backfills: new Map(), watches: new Set(), version: 1 }
}

function stamp<T extends KubeObject>(object: T): T {
  const { cluster } = world()
  cluster.version += 1
  return { ...object, metadata: { ...object.metadata, resourceVersion: String(cluster.version) } }
}

function tell(kind: Kind, type: 'changed' | 'deleted', object: KubeObject): void {
  for (const watch of world().cluster.watches)
    if (watch.resource.kind === kind) watch.events.push({ type, object, at: world().clock.now() })
}

export function putPipeline(change: (pipeline: Pipeline) => Pipeline): void {
  const { cluster } = world()
  cluster.pipeline = stamp(change(cluster.pipeline))
  tell('Pipeline', 'changed', cluster.pipeline)
}

export function putBackfill(backfill: TableBackfill): void {
  const stamped = stamp(backfill)
  world().cluster.backfills.set(backfill.metadata.name, stamped)
  tell('TableBackfill', 'changed', stamped)
}

export function deleteBackfill(name: string): void {
  const { cluster } = world()
  const found = cluster.backfills.get(name)
  if (!found) return
  cluster.backfills.delete(name)
  tell('TableBackfill', 'deleted', found)
}

function find(resource: Resource, name: string): KubeObject | undefined {
  const { cluster } = world()
  if (resource.kind === 'Pipeline')
    return name === cluster.pipeline.metadata.name ? cluster.pipeline : undefined
  return cluster.backfills.get(name)
}

function list(resource: Resource): KubeObject[] {
  const { cluster } = world()
  return resource.kind === 'Pipeline' ? [cluster.pipeline] : [...cluster.backfills.values()]
}

export function kubeFor(process: Process): KubeApi {
  /** What each manager has written last, so that what it leaves out disappears. */
  const applied = new Map<string, string[]>()
  return {
    get: <T extends KubeObject>(resource: Resource, name: string, signal: AbortSignal) =>
      call(`get ${resource.kind} ${name}`, () => find(resource, name) as T | undefined, {
        signal,
      }),
    async watch(resource, _selector, handler, signal) {
      const watch: Watch = { resource, events: [] }
      const isDue = () => {
        const [first] = watch.events
        return first !== undefined && world().clock.now() >= first.at + world().profile.watchLag
      }
      const { watches } = world().cluster
      process.onDeath.push(() => watches.delete(watch))
      signal.addEventListener('abort', () => watches.delete(watch), { once: true })
      const objects = await call(
        `list ${resource.plural}`,
        () => {
          watches.add(watch)
          return list(resource)
        },
        { signal },
      )
      await handler.replace(objects as never, '1')
      for (;;) {
        const event = await call(
          `see ${resource.kind}`,
          () => watch.events.shift() as Watch['events'][number],
          { signal, ready: isDue },
        )
        await handler[event.type](event.object as never)
      }
    },
    applyStatus: <T extends KubeObject>(
      resource: Resource,
      name: string,
      manager: string,
      status: object,
      signal: AbortSignal,
      uid?: string,
    ) =>
      call(
        `${manager} writes status of ${name} ${JSON.stringify(status).slice(0, 400)}`,
        () => {
          const found = find(resource, name)
          if (!found || (uid !== undefined && found.metadata.uid !== uid)) return undefined
          const key = `${resource.kind}/${name}/${manager}`
          const before = (found as KubeObject & { status?: Record<string, unknown> }).status ?? {}
          const kept = Object.fromEntries(
            Object.entries(before).filter(([field]) => !applied.get(key)?.includes(field)),
          )
          applied.set(key, Object.keys(status))
          const next = { ...found, status: { ...kept, ...status } }
          if (resource.kind === 'Pipeline') putPipeline(() => next as unknown as Pipeline)
          else putBackfill(next as unknown as TableBackfill)
          return find(resource, name) as T
        },
        { signal, lingers: true, abandoned: (sent) => world().late.push(sent) },
      ),
  }
}
