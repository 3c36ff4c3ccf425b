import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Pipeline } from '../../crds/pipeline.ts'
import { kubeApiOver } from '../../lib/kube/client.ts'
import { rejectionOf } from '../../lib/kube/rejection.ts'
import type { KubeRequest, Transport } from '../../lib/kube/transport.ts'
import { watchPipeline } from '../../workers/runtime/pipeline.ts'
import { pipelineResource } from '../../workers/runtime/resources.ts'
import { createStatusWriter } from '../../workers/runtime/status.ts'
import { adminTransport, createNamespace, installCrds, pipelineManifest, request } from './kubernetes.ts'

let transport: Transport
const never = new AbortController().signal

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})
afterAll(() => transport.close())

async function createPipeline(namespace: string, name = 'one'): Promise<Pipeline> {
  return await request<Pipeline>(
    transport,
    'POST',
    `/apis/millrace.dev/v1alpha1/namespaces/${namespace}/pipelines`,
    pipelineManifest(name),
  )
}

describe('Kubernetes client', () => {
  it('gets what is there and nothing else', async () => {
    const kube = kubeApiOver(transport)
    const resource = pipelineResource(await createNamespace(transport, 'get'))
    expect(await kube.get(resource, 'one', never)).toBeUndefined()
    await createPipeline(resource.namespace ?? '')
    expect(await kube.get<Pipeline>(resource, 'one', never)).toMatchObject({ spec: { state: 'Running' } })
  })

  it('applies a status, takes away what is left out, and leaves the parts of others alone', async () => {
    const kube = kubeApiOver(transport)
    const resource = pipelineResource(await createNamespace(transport, 'status'))
    const { metadata } = await createPipeline(resource.namespace ?? '')
    const apply = (manager: string, status: object) =>
      kube.applyStatus<Pipeline>(resource, 'one', manager, status, never, metadata.uid)
    await apply('capture', { capture: { slot: 'a', epoch: 1 } })
    await apply('apply', { apply: { tables: [] } })
    const last = await apply('capture', { capture: { epoch: 2 } })
    expect(last?.status).toEqual({ capture: { epoch: 2 }, apply: { tables: [] } })
  })

  it('does not write the status of an object that is gone, nor of its successor', async () => {
    const kube = kubeApiOver(transport)
    const resource = pipelineResource(await createNamespace(transport, 'gone'))
    const path = `/apis/millrace.dev/v1alpha1/namespaces/${resource.namespace}/pipelines/one`
    const first = await createPipeline(resource.namespace ?? '')
    await request(transport, 'DELETE', path)
    const apply = (uid?: string) => kube.applyStatus(resource, 'one', 'capture', { capture: {} }, never, uid)
    expect(await apply()).toBeUndefined()
    expect(await apply(first.metadata.uid)).toBeUndefined()
    await createPipeline(resource.namespace ?? '')
    expect(await apply(first.metadata.uid)).toBeUndefined()
    expect((await request<Pipeline>(transport, 'GET', path)).status).toBeUndefined()
  })

  it('a status that arrives late undoes nothing that was written after it', async () => {
    const sent: KubeRequest[] = []
    const kube = kubeApiOver({
      ...transport,
      call(one, signal) {
        if (one.method === 'PATCH') sent.push(one)
        return transport.call(one, signal)
      },
    })
    const resource = pipelineResource(await createNamespace(transport, 'late'))
    const { metadata } = await createPipeline(resource.namespace ?? '')
    const write = (epoch: number) =>
      kube.applyStatus<Pipeline>(resource, 'one', 'capture', { capture: { epoch } }, never, metadata.uid)
    await write(1)
    await write(2)
    const late = await transport.call(sent[0] as KubeRequest, never).catch(rejectionOf)
    expect(late).toMatchObject({ status: 409 })
    const now = await kube.get<Pipeline>(resource, 'one', never)
    expect(now?.status).toEqual({ capture: { epoch: 2 } })
  })

  it("tells the API server's reason of a refusal", async () => {
    const kube = kubeApiOver(transport)
    const resource = pipelineResource(await createNamespace(transport, 'refusal'))
    await createPipeline(resource.namespace ?? '')
    const refused = kube.applyStatus(resource, 'one', 'capture', { capture: { epoch: -1 } }, never)
    await expect(refused).rejects.toMatchObject({ code: 'Internal', retryable: false })
    const rejection = rejectionOf(await refused.catch((error) => error))
    expect(rejection).toMatchObject({ status: 422, reason: 'Invalid' })
    expect(rejection?.message).toContain('status.capture.epoch')
  })
})

describe('runtime', () => {
  it('watches one Pipeline and the TableBackfills that refer to it', async () => {
    const stop = new AbortController()
    const namespace = await createNamespace(transport, 'watch')
    const pipeline = await createPipeline(namespace)
    const watch = watchPipeline({
      kube: kubeApiOver(transport),
      namespace,
      pipeline: 'one',
      pipelineUid: pipeline.metadata.uid,
      signal: stop.signal,
    })
    watch.done.catch(() => {})
    await watch.ready
    expect(watch.pipeline()?.metadata.uid).toBe(pipeline.metadata.uid)

    const until = async (met: () => boolean) => {
      while (!met()) await watch.changed(watch.version(), stop.signal)
    }
    const collection = `/apis/millrace.dev/v1alpha1/namespaces/${namespace}/tablebackfills`
    const backfill = (name: string, pipelineName: string) =>
      request(transport, 'POST', collection, {
        apiVersion: 'millrace.dev/v1alpha1',
        kind: 'TableBackfill',
        metadata: { name },
        spec: { pipelineRef: { name: pipelineName }, table: { name: 'orders' } },
      })
    await backfill('foreign', 'two')
    await backfill('b', 'one')
    await backfill('a', 'one')
    await until(() => watch.backfills().length === 2)
    expect(
      watch
        .backfills()
        .map((one) => one.metadata.name)
        .sort(),
    ).toEqual(['a', 'b'])
    await request(transport, 'DELETE', `${collection}/b`)
    await until(() => watch.backfills().length === 1)
    await request(transport, 'DELETE', `/apis/millrace.dev/v1alpha1/namespaces/${namespace}/pipelines/one`)
    await createPipeline(namespace)
    await until(() => watch.pipeline() === undefined)
    stop.abort(new Error('enough'))
    await expect(watch.done).rejects.toThrow('enough')
  })

  it('writes the latest status, once, and at once when it is urgent', async () => {
    const namespace = await createNamespace(transport, 'writer')
    const pipeline = await createPipeline(namespace)
    const api = kubeApiOver(transport)
    let writes = 0
    const writer = createStatusWriter({
      kube: {
        ...api,
        applyStatus(...call) {
          writes += 1
          return api.applyStatus(...call)
        },
      },
      resource: pipelineResource(namespace),
      name: 'one',
      uid: pipeline.metadata.uid,
      fieldManager: 'capture',
      minIntervalMs: 60_000,
    })
    const read = async () =>
      (await api.get<Pipeline>(pipelineResource(namespace), 'one', never))?.status?.capture
    writer.set({ capture: { epoch: 1 } })
    await writer.flush(never)
    for (let epoch = 2; epoch < 50; epoch += 1) writer.set({ capture: { epoch } })
    expect(writes).toBe(1)
    writer.set({ capture: { epoch: 50 } }, { urgent: true })
    await writer.flush(never)
    writer.set({ capture: { epoch: 50 } }, { urgent: true })
    await writer.flush(never)
    expect(writes).toBe(2)
    expect(await read()).toEqual({ epoch: 50 })
    await request(transport, 'DELETE', `/apis/millrace.dev/v1alpha1/namespaces/${namespace}/pipelines/one`)
    writer.set({ capture: { epoch: 51 } }, { urgent: true })
    await writer.flush(never)
    writer.close()
  })
})
