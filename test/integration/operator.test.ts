import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PIPELINES } from '../../crds/api.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { DEPLOYMENTS, within } from '../../operator/kube/resources.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { applied, complete, deployment, initial, phase, quiet, ready } from './operator-steps.ts'
import { createWorld, type World } from './operator-world.ts'

let transport: Transport
let world: World
const never = new AbortController().signal

beforeAll(async () => {
  transport = await adminTransport()
  await installCrds(transport)
})
afterAll(() => transport.close())
beforeEach(async () => {
  world = await createWorld(transport)
  await world.startOperator()
})
afterEach(async () => {
  await world.close()
})

describe('a Pipeline', () => {
  it('gets its workers, and stops and starts them by state without touching their pods otherwise', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }] })
    const made = await world.until(() => deployment(world, 'shop-apply'), 'the apply Deployment')
    const pod = made.spec.template.spec
    expect(made.spec).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } })
    expect(pod?.containers[0]).toMatchObject({
      image: 'millrace:test',
      args: ['workers/apply/main.ts'],
      securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false },
    })
    expect(pod?.volumes?.find((volume) => volume.name === 'destination')?.secret).toMatchObject({
      secretName: 'db',
      optional: true,
    })
    const capture = await world.until(() => deployment(world, 'shop-capture'), 'the capture Deployment')
    expect(capture.spec.template.spec?.volumes?.map((volume) => volume.name)).toEqual(['tmp', 'source'])

    await world.patch(PIPELINES, 'shop', { spec: { tables: [{ name: 't01' }, { name: 't02' }] } })
    await world.until(async () => (await world.pipeline('shop'))?.status?.tables?.length === 2, 'both tables')
    expect((await deployment(world, 'shop-apply'))?.metadata.generation).toBe(made.metadata.generation)

    const replicas = async () => [
      (await deployment(world, 'shop-capture'))?.spec.replicas,
      (await deployment(world, 'shop-apply'))?.spec.replicas,
    ]
    for (const [state, expected] of [
      ['Paused', [1, 0]],
      ['Stopped', [0, 0]],
      ['Running', [1, 1]],
    ] as const) {
      await world.patch(PIPELINES, 'shop', { spec: { state } })
      await world.until(async () => String(await replicas()) === String(expected), `replicas for ${state}`)
    }
  })

  it('is put right when somebody changes what belongs to it', async () => {
    await world.createPipeline('shop')
    await world.until(() => deployment(world, 'shop-capture'), 'the capture Deployment')
    await world.patch(DEPLOYMENTS, 'shop-capture', { spec: { replicas: 5 } })
    await world.until(
      async () => (await deployment(world, 'shop-capture'))?.spec.replicas === 1,
      'one replica',
    )
    await world.remove(DEPLOYMENTS, 'shop-capture')
    await world.until(() => deployment(world, 'shop-capture'), 'the Deployment to be made again')
  })

  it('does not take over a Deployment that is not its own', async () => {
    const foreign = {
      metadata: { name: 'shop-apply' },
      spec: {
        replicas: 0,
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'x', image: 'x' }] } },
      },
    }
    await world.kube.create(within(DEPLOYMENTS, world.namespace), foreign, never)
    await world.createPipeline('shop')
    const condition = await world.until(async () => {
      const found = ready(await world.pipeline('shop'))
      return found?.reason === 'WorkersNotReady' && found
    }, 'Ready to say so')
    expect(condition.message).toContain('Deployment shop-apply exists and does not belong to Pipeline shop')
    expect((await deployment(world, 'shop-apply'))?.spec.template.spec?.containers[0]?.image).toBe('x')
    expect(await deployment(world, 'shop-capture')).toBeDefined()
    await world.remove(DEPLOYMENTS, 'shop-apply')
    await world.until(
      async () =>
        (await deployment(world, 'shop-apply'))?.spec.template.spec?.containers[0]?.name === 'apply',
      'its own Deployment',
    )
  })

  it('shows what the workers report', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }, { name: 't02' }] })
    await world.capture('shop', {
      problems: [
        { component: 'Source', code: 'WrongWALLevel', message: 'wal_level is replica' },
        {
          component: 'Table',
          code: 'TableNotFound',
          message: 'there is no table t02',
          table: { schema: 'public', name: 't02' },
        },
      ],
    })
    const pipeline = await world.until(async () => {
      const found = await world.pipeline('shop')
      return ready(found)?.reason === 'SourceNotReady' && found
    }, 'the source to be not ready')
    expect(ready(pipeline)?.message).toBe(
      'wal_level is replica; and apart from that: public.t02: there is no table t02',
    )
    expect(pipeline.status?.tables?.map(({ state, message }) => [state, message])).toEqual([
      ['Pending', 'waiting for capture to add it to the publication'],
      ['Failed', 'there is no table t02'],
    ])
    expect(pipeline.status?.counts).toEqual({ tables: 2, streaming: 0, backfilling: 0, queued: 1, failed: 1 })
  })

  it('writes nothing when there is nothing to do, nor after a restart', async () => {
    await world.createPipeline('shop', {
      tables: [{ name: 't01' }],
      podTemplate: { resources: { capture: { limits: { memory: '1024Mi', cpu: '0.5' } } } },
    })
    await world.capture('shop', { slot: 's' })
    await world.apply('shop', applied(['t01']))
    await phase(world, initial('t01'), 'Preparing')
    await complete(world, initial('t01'))
    await world.apply('shop', applied(['t01'], true))
    await world.until(
      async () => (await world.pipeline('shop'))?.status?.counts?.streaming === 1,
      'streaming',
    )
    await quiet(world)
    await world.stopOperator()
    world.writes.length = 0
    await world.startOperator()
    await quiet(world)
    expect(world.writes).toEqual([])
  })
})

describe('deleting a Pipeline', () => {
  const gone = (name: string) =>
    world.until(async () => (await world.pipeline(name)) === undefined, `${name} to go`)

  it('needs no cleanup when capture never connected', async () => {
    await world.createPipeline('shop')
    await world.until(() => deployment(world, 'shop-apply'), 'its Deployments')
    await world.remove(PIPELINES, 'shop')
    await gone('shop')
    expect(await deployment(world, 'shop-capture')).toBeUndefined()
  })

  it('ends all backfills, then drops slot and publication, then lets it go', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }, { name: 't02' }] })
    await world.capture('shop', { slot: 'millrace_shop' })
    await world.apply('shop', { tables: [...applied(['t01']).tables, ...applied(['t02'], true).tables] })
    await phase(world, initial('t01'), 'Preparing')
    await world.createBackfill('adhoc', { pipelineRef: { name: 'shop' }, table: { name: 't02' } })
    await phase(world, 'adhoc', 'Preparing')
    await world.remove(PIPELINES, 'shop')
    await world.until(async () => (await deployment(world, 'shop-capture')) === undefined, 'capture to go')
    await world.until(
      async () => ready(await world.pipeline('shop'))?.message.includes('give the destination tables free'),
      'apply to be waited for',
    )
    expect((await deployment(world, 'shop-apply'))?.metadata.deletionTimestamp).toBeUndefined()
    await world.apply('shop', { tables: [] })
    const cleanup = await world.until(() => world.job('shop-cleanup'), 'the cleanup Job')
    expect(cleanup.spec.template.spec?.containers[0]?.args).toEqual(['workers/cleanup/main.ts'])
    expect(await deployment(world, 'shop-capture')).toBeUndefined()
    expect(await world.backfill(initial('t01'))).toBeUndefined()
    expect((await phase(world, 'adhoc', 'Cancelled')).status?.conditions?.[0]).toMatchObject({
      reason: 'PipelineGone',
    })
    expect((await world.jobs()).map((job) => job.metadata.name)).toEqual(['shop-cleanup'])
    await world.capture('shop', {
      slot: 'millrace_shop',
      problems: [{ component: 'Source', code: 'HostUnreachable', message: 'no answer from source:5432' }],
    })
    await world.until(
      async () => ready(await world.pipeline('shop'))?.message.includes('no answer from source:5432'),
      'a message',
    )
    await world.finish('shop-cleanup', 'Complete')
    await gone('shop')
  })

  it.each(['Paused', 'Stopped'])('lets apply give the tables free although it is %s', async (state) => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }] })
    await world.capture('shop', { slot: 'millrace_shop' })
    await world.apply('shop', applied(['t01'], true))
    await world.patch(PIPELINES, 'shop', { spec: { state } })
    await world.until(
      async () => (await deployment(world, 'shop-apply'))?.spec.replicas === 0,
      'apply to stop',
    )
    await world.remove(PIPELINES, 'shop')
    await world.until(
      async () => (await deployment(world, 'shop-apply'))?.spec.replicas === 1,
      'apply to start',
    )
    await world.until(
      async () => ready(await world.pipeline('shop'))?.message.includes('give the destination tables free'),
      'apply to be waited for',
    )
    expect(await world.job('shop-cleanup')).toBeUndefined()
    await world.apply('shop', { tables: [] })
    await world.until(() => world.job('shop-cleanup'), 'the cleanup Job')
    await world.finish('shop-cleanup', 'Complete')
    await gone('shop')
  })

  it('says in an event what the cleanup has left to another Pipeline', async () => {
    await world.createPipeline('shop')
    await world.capture('shop', { problems: [{ component: 'Slot', code: 'SlotInUse', message: 'in use' }] })
    await world.until(() => deployment(world, 'shop-apply'), 'its Deployments')
    await world.remove(PIPELINES, 'shop')
    await world.until(() => world.job('shop-cleanup'), 'the cleanup Job')
    const message = 'slot s stays in the source: it belongs to another Pipeline'
    await world.capture('shop', { problems: [{ component: 'Slot', code: 'ActionRefused', message }] })
    await world.finish('shop-cleanup', 'Complete')
    await gone('shop')
    await world.until(
      async () => (await world.events()).find((one) => one.reason === 'SlotLeftBehind')?.note === message,
      'the event',
    )
  })

  it('does not wait for the Jobs of backfills that have ended', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }] })
    await world.capture('shop', { slot: 'millrace_shop' })
    await world.apply('shop', applied(['t01'], true))
    await world.createBackfill('adhoc', { pipelineRef: { name: 'shop' }, table: { name: 't01' } })
    await phase(world, 'adhoc', 'Preparing')
    await complete(world, 'adhoc')
    await world.remove(PIPELINES, 'shop')
    await world.apply('shop', { tables: [] })
    await world.until(() => world.job('shop-cleanup'), 'the cleanup Job')
    // It stays with its TableBackfill, for its logs.
    expect(await world.job('adhoc-copy')).toBeDefined()
    await world.finish('shop-cleanup', 'Complete')
    await gone('shop')
  })

  it('is not held up by a cleanup that nobody wants any more', async () => {
    await world.createPipeline('shop')
    await world.capture('shop', { slot: 'millrace_shop' })
    await world.until(() => deployment(world, 'shop-apply'), 'its Deployments')
    await world.remove(PIPELINES, 'shop')
    await world.until(() => world.job('shop-cleanup'), 'the cleanup Job')
    await world.finish('shop-cleanup', { failed: 'BackoffLimitExceeded' })
    await world.until(async () => (await world.job('shop-cleanup'))?.status?.active === 1, 'another attempt')
    await world.patch(PIPELINES, 'shop', { spec: { deletionPolicy: 'Retain' } })
    await gone('shop')
  })
})
