import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { KubeObject } from '../../lib/kube/api.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { operatorApi } from '../../operator/kube/api.ts'
import { EVENTS, LEASES, within } from '../../operator/kube/resources.ts'
import { createEventRecorder } from '../../operator/runtime/events.ts'
import { LeadershipLost, runWhenLeading } from '../../operator/runtime/leader.ts'
import { adminTransport, createNamespace, request } from './kubernetes.ts'

let transport: Transport
const log = pino({ level: 'silent' })
const never = new AbortController().signal
const cleanups: (() => void)[] = []

beforeAll(async () => {
  transport = await adminTransport()
})
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})
afterAll(() => transport.close())

type Lease = KubeObject & { spec: { holderIdentity: string; leaseTransitions: number; renewTime: string } }

describe('leader election', () => {
  const timing = { lease: 1_500, renew: 1_000, retry: 150 }
  const lease = (namespace: string) =>
    operatorApi(transport).get<Lease>(within(LEASES, namespace), 'l', never)

  /** A contender that leads until it is told to stop; `over` makes its requests fail. */
  function contend(namespace: string, identity: string, leaders: Set<string>) {
    const stop = new AbortController()
    cleanups.push(() => stop.abort(new Error('end')))
    let cut = false
    let leads: (() => void) | undefined
    const leading = new Promise<void>((resolve) => {
      leads = resolve
    })
    const kube = operatorApi({
      ...transport,
      call: async (call, signal) => {
        if (cut) throw new Error('cut off')
        return await transport.call(call, signal)
      },
    })
    const done = runWhenLeading(
      { kube, namespace, name: 'l', identity, log, timing },
      stop.signal,
      async (signal) => {
        leaders.add(identity)
        expect(leaders.size).toBe(1)
        leads?.()
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        leaders.delete(identity)
      },
    )
    done.catch(() => {})
    return { stop, done, leading, cut: () => (cut = true) }
  }

  it('has one leader, and another at once when that ends', async () => {
    const namespace = await createNamespace(transport, 'lease')
    const leaders = new Set<string>()
    const a = contend(namespace, 'a', leaders)
    await a.leading
    const b = contend(namespace, 'b', leaders)
    await new Promise((resolve) => setTimeout(resolve, 2 * timing.lease))
    expect([...leaders]).toEqual(['a'])
    const before = performance.now()
    a.stop.abort(new Error('end'))
    await a.done
    await b.leading
    expect(performance.now() - before).toBeLessThan(timing.lease)
    expect(await lease(namespace)).toMatchObject({ spec: { holderIdentity: 'b', leaseTransitions: 1 } })
  })

  it('stops leading before another may begin, when it cannot renew', async () => {
    const namespace = await createNamespace(transport, 'lease')
    const leaders = new Set<string>()
    const a = contend(namespace, 'a', leaders)
    await a.leading
    const b = contend(namespace, 'b', leaders)
    a.cut()
    await expect(a.done).rejects.toBeInstanceOf(LeadershipLost)
    await b.leading
    expect([...leaders]).toEqual(['b'])
  })

  it('does not lead on when somebody took the lease away, and survives its deletion', async () => {
    const namespace = await createNamespace(transport, 'lease')
    const leaders = new Set<string>()
    const a = contend(namespace, 'a', leaders)
    await a.leading
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/l`
    await request(transport, 'DELETE', path)
    while ((await lease(namespace)) === undefined) await new Promise((resolve) => setTimeout(resolve, 20))
    expect([...leaders]).toEqual(['a'])
    await request(
      transport,
      'PATCH',
      path,
      { spec: { holderIdentity: 'thief' } },
      'application/merge-patch+json',
    )
    await expect(a.done).rejects.toBeInstanceOf(LeadershipLost)
  })
})

describe('events', () => {
  it('are written once and count repeats', async () => {
    const namespace = await createNamespace(transport, 'events')
    const kube = operatorApi(transport)
    const events = createEventRecorder(kube, 'test', log, never)
    const about = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', namespace, uid: 'u' } }
    for (let at = 0; at < 5; at += 1)
      events.record(about, 'Warning', 'TableFailed', 'Reconcile', 'no such table')
    events.record(about, 'Normal', 'Streaming', 'Reconcile', 'ä'.repeat(2_000))
    type Event = KubeObject & { reason: string; note: string; regarding: { name: string }; type: string }
    let items: Event[] = []
    while (items.length < 2) {
      const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/${EVENTS.plural}`
      items = (await request<{ items: Event[] }>(transport, 'GET', path)).items
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(items.map(({ reason, type }) => `${type} ${reason}`).sort()).toEqual([
      'Normal Streaming',
      'Warning TableFailed',
    ])
    expect(items[0]?.regarding.name).toBe('x')
  })
})
