import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PIPELINES, TABLE_BACKFILLS } from '../../crds/api.ts'
import type { Transport } from '../../lib/kube/transport.ts'
import { PODS, within } from '../../operator/kube/resources.ts'
import { adminTransport, installCrds } from './kubernetes.ts'
import { applied, complete, initial, phase, quiet } from './operator-steps.ts'
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

const names = Array.from({ length: 12 }, (_, at) => `t${String(at + 1).padStart(2, '0')}`)

describe('initial backfills', () => {
  it('run in the order of the list, never more than allowed, with right positions', async () => {
    const tables = names.map((name) => ({ name }))
    await world.createPipeline('shop', { tables, backfill: { maxConcurrentTables: 3 } })
    await world.until(async () => (await world.pipeline('shop'))?.status?.tables?.length === 12, 'the status')
    expect(await world.backfills()).toEqual([])
    // Apply reports them in any order.
    for (let count = 1; count <= 12; count += 1)
      await world.apply('shop', applied(names.toReversed().slice(0, count)))
    for (const name of names.slice(0, 3)) await phase(world, initial(name), 'Preparing')
    for (let done = 0; done < 12; done += 1) {
      const waiting = names.slice(done + 3)
      await world.until(async () => {
        const all = await Promise.all(waiting.map((name) => world.backfill(initial(name))))
        return all.every(
          (backfill, at) =>
            backfill?.status?.queuePosition === at + 1 &&
            backfill.status.phase === 'Queued' &&
            backfill.status.message === `waiting at position ${at + 1} of the queue`,
        )
      }, `positions after ${done} are done`)
      const started = (await world.jobs()).length
      expect(started).toBe(Math.min(12, done + 3))
      await complete(world, initial(names[done] ?? ''))
    }
    expect(world.mostRunning()).toBe(3)
    const backfill = await world.backfill(initial('t12'))
    expect(backfill?.status).toMatchObject({ phase: 'Streaming', progress: '100%' })
    expect(backfill?.status?.conditions?.[0]).toMatchObject({
      type: 'Succeeded',
      status: 'True',
      reason: 'Drained',
    })
    expect(backfill?.status?.completionTime).toBeDefined()
    await world.until(
      async () => (await world.job(`${initial('t12')}-copy`))?.spec.ttlSecondsAfterFinished === 3600,
      'a time to live, once the result is recorded',
    )
  })

  it('drains without taking a place', async () => {
    await world.createPipeline('shop', {
      tables: [{ name: 't01' }, { name: 't02' }],
      backfill: { maxConcurrentTables: 1 },
    })
    await world.apply('shop', applied(['t01', 't02']))
    await phase(world, initial('t01'), 'Preparing')
    await phase(world, initial('t02'), 'Queued')
    await world.copy(initial('t01'), { stage: 'Done' })
    await phase(world, initial('t02'), 'Preparing')
    await phase(world, initial('t01'), 'Draining')
    expect(world.mostRunning()).toBe(1)
  })

  it('wait for apply to report the table, and are not made for complete or skipped ones', async () => {
    const tables = [{ name: 't01' }, { name: 't02', initialBackfill: 'Skip' }, { name: 't03' }]
    await world.createPipeline('shop', { tables })
    await world.apply('shop', {
      tables: [...applied(['t01'], true).tables, ...applied(['t02', 't03']).tables],
    })
    await phase(world, initial('t03'), 'Preparing')
    expect((await world.backfills()).map((backfill) => backfill.metadata.name)).toEqual([initial('t03')])
  })

  it('are not made again after cancel and delete, but when the table is removed and added again', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }, { name: 't02' }] })
    await world.apply('shop', applied(['t01', 't02']))
    await phase(world, initial('t01'), 'Preparing')
    await phase(world, initial('t02'), 'Preparing')
    await world.until(
      async () => (await world.pipeline('shop'))?.status?.tables?.[0]?.initialBackfill === initial('t01'),
      'the record',
    )
    await world.remove(TABLE_BACKFILLS, initial('t01'))
    await world.until(async () => (await world.job(`${initial('t01')}-copy`)) === undefined, 'its Job to go')
    await quiet(world)
    await world.stopOperator()
    await world.startOperator()
    await quiet(world)
    expect(await world.backfill(initial('t01'))).toBeUndefined()

    await world.patch(PIPELINES, 'shop', { spec: { tables: [{ name: 't01' }] } })
    await world.until(async () => (await world.backfill(initial('t02'))) === undefined, 'its backfill to go')
    await world.apply('shop', applied(['t01']))
    await world.patch(PIPELINES, 'shop', { spec: { tables: [{ name: 't01' }, { name: 't02' }] } })
    await world.apply('shop', applied(['t01', 't02']))
    await phase(world, initial('t02'), 'Preparing')
    expect(await world.backfill(initial('t01'))).toBeUndefined()
  })

  it('are made again for a table that was away for a moment only', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }, { name: 't02' }] })
    await world.apply('shop', applied(['t01', 't02']))
    const before = await phase(world, initial('t02'), 'Preparing')
    await world.until(
      async () => (await world.pipeline('shop'))?.status?.tables?.[1]?.initialBackfill === initial('t02'),
      'the record',
    )
    await world.patch(PIPELINES, 'shop', { spec: { tables: [{ name: 't01' }] } })
    await world.patch(PIPELINES, 'shop', { spec: { tables: [{ name: 't01' }, { name: 't02' }] } })
    const after = await world.until(async () => {
      const backfill = await world.backfill(initial('t02'))
      return (
        backfill?.metadata.uid !== before.metadata.uid && backfill?.status?.phase === 'Preparing' && backfill
      )
    }, 'another backfill')
    expect(after.status?.conditions?.[0]).toMatchObject({ status: 'Unknown' })
    await quiet(world)
    expect(await world.backfills()).toHaveLength(2)
  })

  it('that a gap makes futile before they hold are made anew, to empty the table', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }] })
    await world.apply('shop', applied(['t01']))
    const before = await phase(world, initial('t01'), 'Preparing')
    const [table] = applied(['t01']).tables
    await world.apply('shop', { tables: [{ ...(table as NonNullable<typeof table>), needsEmptying: true }] })
    const after = await world.until(async () => {
      const backfill = await world.backfill(initial('t01'))
      return (
        backfill?.metadata.uid !== before.metadata.uid && backfill?.status?.phase === 'Preparing' && backfill
      )
    }, 'another backfill')
    expect(after.spec.destinationTable).toBe('Truncate')
    await quiet(world)
    expect(await world.backfills()).toHaveLength(1)
  })

  it('mend a gap once, by emptying the table', async () => {
    await world.createPipeline('shop', { tables: [{ name: 't01' }] })
    await world.apply('shop', applied(['t01']))
    await phase(world, initial('t01'), 'Preparing')
    await world.capture('shop', { epoch: 2 })
    await world.queue(initial('t01'), { state: 'Closed', code: 'SlotLost', message: 'the slot was lost' })
    const failed = await phase(world, initial('t01'), 'Failed')
    expect(failed.status?.conditions?.[0]).toMatchObject({
      reason: 'GapInQueue',
      message: 'the slot was lost',
    })
    const [table] = applied(['t01']).tables
    await world.apply('shop', { tables: [{ ...(table as NonNullable<typeof table>), needsEmptying: true }] })
    const gap = 'shop-public-t01-gap-2'
    const mending = await phase(world, gap, 'Preparing')
    expect(mending.spec.destinationTable).toBe('Truncate')
    await complete(world, gap)
    await quiet(world)
    expect(await world.backfills()).toHaveLength(2)
  })
})

describe('a TableBackfill', () => {
  const spec = (over: object = {}) => ({ pipelineRef: { name: 'shop' }, table: { name: 't01' }, ...over })
  const streaming = async (limit = 10) => {
    await world.createPipeline('shop', {
      tables: names.map((name) => ({ name })),
      backfill: { maxConcurrentTables: limit },
    })
    await world.apply('shop', applied(names, true))
  }

  it('says which Pipeline is missing, and begins when it is there', async () => {
    await world.createBackfill('one', spec())
    const waiting = await phase(world, 'one', 'Queued')
    expect(waiting.status?.conditions?.[0]).toMatchObject({ status: 'Unknown', reason: 'PipelineNotFound' })
    expect(waiting.status?.message).toContain('spec.pipelineRef.name: there is no Pipeline "shop"')
    await world.createPipeline('shop', { tables: [{ name: 't02' }] })
    await world.until(
      async () => (await world.backfill('one'))?.status?.message?.includes('is not in spec.tables'),
      'the table to be missing',
    )
    await world.patch(PIPELINES, 'shop', { spec: { tables: [{ name: 't01' }] } })
    await phase(world, 'one', 'Preparing')
  })

  it('waits for another of its table, and others pass', async () => {
    await streaming(2)
    await world.createBackfill('one', spec())
    await phase(world, 'one', 'Preparing')
    await world.createBackfill('two', spec())
    await world.until(
      async () =>
        (await world.backfill('two'))?.status?.message?.includes('TableBackfill one of the same table'),
      'two to wait for one',
    )
    await world.createBackfill('three', spec({ table: { name: 't02' } }))
    await phase(world, 'three', 'Preparing')
    await complete(world, 'one')
    await phase(world, 'two', 'Preparing')
    expect(world.mostRunning()).toBe(2)
  })

  it('passes its worker on, and is cancelled in each phase', async () => {
    await streaming()
    await world.createBackfill('preparing', spec())
    await world.createBackfill('queued', spec())
    await world.createBackfill('backfilling', spec({ table: { name: 't02' } }))
    await world.createBackfill('draining', spec({ table: { name: 't03' } }))
    await phase(world, 'preparing', 'Preparing')
    await world.copy('preparing', { stage: 'WaitingForWriters', message: 'waits for pid 7' })
    await world.until(
      async () => (await world.backfill('preparing'))?.status?.message === 'waits for pid 7',
      'its word',
    )
    await world.queue('backfilling', { state: 'Held' })
    await world.copy('backfilling', { stage: 'Copying', chunksDone: 3, chunksTotal: 4, rowsCopied: 9 })
    await world.until(
      async () => (await world.backfill('backfilling'))?.status?.progress === '75%',
      'progress',
    )
    await world.queue('draining', { state: 'Copied' })
    await phase(world, 'draining', 'Draining')

    for (const name of ['queued', 'preparing', 'backfilling', 'draining']) {
      await world.patch(TABLE_BACKFILLS, name, { spec: { cancel: true } })
    }
    await phase(world, 'queued', 'Cancelled')
    await phase(world, 'preparing', 'Cancelled')
    await world.until(async () => (await world.job('backfilling-copy')) === undefined, 'the Job to go')
    await world.until(
      async () =>
        (await world.backfill('backfilling'))?.status?.message?.includes('until apply has ended the hold'),
      'the hold',
    )
    await world.queue('backfilling', { state: 'Closed', historyComplete: true })
    expect((await phase(world, 'backfilling', 'Cancelled')).status?.message).toContain('complete, as before')
    await world.queue('draining', { state: 'Drained' })
    await phase(world, 'draining', 'Streaming')
    expect((await world.jobs()).map((job) => job.metadata.name)).toEqual(['draining-copy'])
  })

  it('is suspended and goes on, and leaves its place meanwhile', async () => {
    await streaming(1)
    await world.createBackfill('one', spec())
    await phase(world, 'one', 'Preparing')
    await world.queue('one', { state: 'Held' })
    await phase(world, 'one', 'Backfilling')
    await world.createBackfill('two', spec({ table: { name: 't02' } }))
    await phase(world, 'two', 'Queued')
    await world.patch(TABLE_BACKFILLS, 'one', { spec: { suspend: true } })
    await phase(world, 'two', 'Preparing')
    const suspended = await world.backfill('one')
    expect(suspended?.status).toMatchObject({ phase: 'Backfilling' })
    expect(suspended?.status?.conditions?.[0]).toMatchObject({ reason: 'Suspended' })
    await world.patch(TABLE_BACKFILLS, 'one', { spec: { suspend: false } })
    await world.until(
      async () => (await world.backfill('one'))?.status?.queuePosition === 1,
      'its place in the line',
    )
    await world.copy('two', { stage: 'Done' })
    await world.until(async () => (await world.job('one-copy'))?.status?.active === 1, 'its Job to go on')
    await world.until(
      async () => (await world.backfill('one'))?.status?.queuePosition === undefined,
      'no place',
    )
    expect(world.mostRunning()).toBe(1)
  })

  it('leaves no suspended Job behind when it was copied before it was suspended', async () => {
    await streaming()
    await world.createBackfill('one', spec())
    await phase(world, 'one', 'Preparing')
    await world.queue('one', { state: 'Held' })
    await phase(world, 'one', 'Backfilling')
    await world.patch(TABLE_BACKFILLS, 'one', { spec: { suspend: true } })
    await world.until(
      async () => (await world.job('one-copy'))?.spec.suspend === true,
      'its Job to be suspended',
    )
    await world.queue('one', { state: 'Drained', historyComplete: true })
    await phase(world, 'one', 'Streaming')
    await world.until(async () => (await world.job('one-copy')) === undefined, 'its Job to go')
  })

  it('gets other pods when its own fail and their settings were mended', async () => {
    await streaming()
    const { metadata } = await world.createBackfill('one', spec())
    await phase(world, 'one', 'Preparing')
    const first = await world.job('one-copy')
    const change = (memory: string) =>
      world.patch(PIPELINES, 'shop', {
        spec: { podTemplate: { resources: { backfill: { limits: { memory } } } } },
      })
    await change('300Mi')
    await quiet(world)
    expect((await world.job('one-copy'))?.metadata.uid).toBe(first?.metadata.uid)

    const pods = within(PODS, world.namespace)
    const labels = { 'app.kubernetes.io/managed-by': 'millrace', 'millrace.dev/backfill-uid': metadata.uid }
    await world.kube.create(
      pods,
      {
        metadata: { name: 'p', labels },
        spec: { serviceAccountName: 'shop-worker', containers: [{ name: 'backfill', image: 'x' }] },
      },
      never,
    )
    const terminated = { exitCode: 137, reason: 'OOMKilled' }
    const containerStatuses = [
      { name: 'backfill', image: 'x', imageID: 'x', ready: false, restartCount: 0, state: { terminated } },
    ]
    await world.kube.patch(pods, 'p/status', { status: { phase: 'Failed', containerStatuses } }, never)
    const second = await world.until(async () => {
      const job = await world.job('one-copy')
      return job?.metadata.uid !== first?.metadata.uid && job
    }, 'another Job')
    expect(second.spec.template.spec?.containers[0]?.resources?.limits).toEqual({ memory: '300Mi' })
    await world.until(
      async () =>
        (await world.backfill('one'))?.status?.message?.includes('raise spec.podTemplate.resources.backfill'),
      'what to do about it',
    )
  })

  it('fails with a reason, and stays failed', async () => {
    await streaming()
    await world.createBackfill('input', spec())
    await world.createBackfill('limit', spec({ table: { name: 't02' } }))
    await phase(world, 'input', 'Preparing')
    await phase(world, 'limit', 'Preparing')
    const failed = { code: 'NoUsableKey', message: 'spec.table: t01 has no key', retryable: false }
    await world.copy('input', { stage: 'Planning', failed })
    await world.finish('input-copy', { failed: 'PodFailurePolicy' })
    await world.finish('limit-copy', { failed: 'BackoffLimitExceeded' })
    const input = await phase(world, 'input', 'Failed')
    expect(input.status?.conditions?.[0]).toMatchObject({ status: 'False', reason: 'InvalidInput' })
    expect(input.status?.message).toContain('spec.table: t01 has no key')
    expect((await phase(world, 'limit', 'Failed')).status?.conditions?.[0]).toMatchObject({
      reason: 'BackoffLimitExceeded',
    })
    await world.queue('input', { state: 'Drained' })
    await world.patch(TABLE_BACKFILLS, 'input', { spec: { cancel: true } })
    await quiet(world)
    expect((await world.backfill('input'))?.status?.phase).toBe('Failed')
  })

  it('goes on where it was when the operator was away', async () => {
    await streaming(1)
    await world.createBackfill('one', spec())
    await world.createBackfill('two', spec({ table: { name: 't02' } }))
    await phase(world, 'one', 'Preparing')
    await world.stopOperator()
    await world.queue('one', { state: 'Held' })
    await world.copy('one', { stage: 'Done' })
    await world.finish('one-copy', 'Complete')
    await world.queue('one', { state: 'Drained' })
    await world.createBackfill('three', spec({ table: { name: 't03' } }))
    await world.patch(TABLE_BACKFILLS, 'two', { spec: { cancel: true } })
    await world.startOperator()
    await phase(world, 'one', 'Streaming')
    await phase(world, 'two', 'Cancelled')
    await phase(world, 'three', 'Preparing')
  })
})
