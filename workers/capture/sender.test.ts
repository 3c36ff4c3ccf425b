import { describe, expect, it } from 'vitest'
import type { Placements, Queue, TopicBatch } from '../queue/queue.ts'
import { sinkBytes, writeBytes } from './lines.ts'
import { createChannel, createOutgoing } from './outgoing.ts'
import { createSender } from './sender.ts'

interface Sent {
  readonly batches: readonly TopicBatch[]
  acknowledge(): void
  fail(error: Error): void
}

/** A sender over a queue that acknowledges when told to. */
function setup(recorded = 0n) {
  const stop = new AbortController()
  const outgoing = createOutgoing()
  const channel = createChannel({ schema: 'public', name: 't' }, 't', 'inc')
  const sent: Sent[] = []
  const arrivals: (() => void)[] = []
  const confirmed: bigint[] = []
  let through = recorded
  let news = false
  const placements: Placements = new Map()
  let refusal: Error | undefined
  const queue = {
    send(batches: readonly TopicBatch[]) {
      return new Promise<Placements>((resolve, reject) => {
        sent.push({ batches, acknowledge: () => resolve(placements), fail: reject })
        for (const arrival of arrivals.splice(0)) arrival()
      })
    },
  } as unknown as Queue
  const sender = createSender({
    queue,
    outgoing,
    through: () => through,
    captureTopic: 'capture',
    start: recorded,
    recorded,
    records(lsn) {
      news = false
      return [{ value: Buffer.from(String(lsn)) }]
    },
    hasNews: () => news,
    async onPlaced(placed) {
      expect(placed).toBe(placements)
      if (refusal) throw refusal
    },
    onSent() {},
    onRecorded: (lsn) => confirmed.push(lsn),
  })
  const running = sender.run(stop.signal)
  running.catch(() => {})
  return {
    sender,
    running,
    confirmed,
    refuse(error: Error) {
      refusal = error
    },
    stop: () => stop.abort(new Error('stopped')),
    write(text: string, moveTo?: bigint) {
      const before = sinkBytes(channel.sink)
      writeBytes(channel.sink, Buffer.from(text))
      outgoing.written(channel, before)
      if (moveTo !== undefined) through = moveTo
      sender.notify()
    },
    moveTo(lsn: bigint) {
      through = lsn
      sender.notify()
    },
    tell() {
      news = true
      sender.notify()
    },
    async next(): Promise<Sent & { topic: string; text: string }> {
      while (sent.length === 0) await new Promise<void>((resolve) => arrivals.push(resolve))
      const one = sent.shift() as Sent
      const [batch] = one.batches
      return {
        ...one,
        topic: batch?.topic ?? '',
        text: Buffer.concat((batch?.records ?? []).map((record) => record.value)).toString(),
      }
    },
  }
}

it('sends and records nothing while somebody has it alone', async () => {
  const { sender, moveTo, next, stop } = setup()
  const work = Promise.withResolvers<void>()
  const alone = sender.alone(() => work.promise)
  moveTo(5n)
  let isDone = false
  const recorded = next().then((one) => {
    expect(isDone).toBe(true)
    return one
  })
  await new Promise((resolve) => setTimeout(resolve, 50))
  isDone = true
  work.resolve()
  await alone
  expect((await recorded).text).toBe('5')
  stop()
})

describe('a sender', () => {
  it('confirms nothing that is not acknowledged and recorded', async () => {
    const s = setup()
    s.write('a', 10n)
    const data = await s.next()
    expect(data).toMatchObject({ topic: 't', text: 'a' })
    s.write('b', 20n)
    expect(s.confirmed).toEqual([])
    data.acknowledge()
    const record = await s.next()
    expect(record).toMatchObject({ topic: 'capture', text: '10' })
    expect(s.confirmed).toEqual([])
    record.acknowledge()
    const second = await s.next()
    expect(s.confirmed).toEqual([10n])
    expect(second).toMatchObject({ topic: 't', text: 'b' })
    expect(s.sender.recorded()).toBe(10n)
    s.stop()
  })

  it('does not move on in the middle of a transaction', async () => {
    const s = setup(5n)
    s.write('a')
    ;(await s.next()).acknowledge()
    s.write('b', 10n)
    const second = await s.next()
    expect(second.text).toBe('b')
    second.acknowledge()
    expect(await s.next()).toMatchObject({ topic: 'capture', text: '10' })
    s.stop()
  })

  it('records what is to be remembered although nothing moves', async () => {
    const s = setup(5n)
    s.tell()
    expect(await s.next()).toMatchObject({ topic: 'capture', text: '5' })
    s.stop()
  })

  it('records a mere move at once when somebody waits for it', async () => {
    const s = setup(5n)
    s.moveTo(7n)
    ;(await s.next()).acknowledge()
    s.moveTo(9n)
    s.sender.hurry()
    expect(await s.next()).toMatchObject({ topic: 'capture', text: '9' })
    s.stop()
  })

  it('lets wait until the queue has caught up', async () => {
    const s = setup()
    s.write('x'.repeat(100), 10n)
    const data = await s.next()
    s.write('y'.repeat(50))
    expect(s.sender.unacknowledged()).toBe(150)
    let isBelow = false
    const waiting = s.sender.below(60, AbortSignal.timeout(5000)).then(() => {
      isBelow = true
    })
    await Promise.resolve()
    expect(isBelow).toBe(false)
    data.acknowledge()
    await waiting
    expect(s.sender.unacknowledged()).toBe(50)
    s.stop()
  })

  it('ends when something cannot be sent, having confirmed nothing', async () => {
    const s = setup()
    s.write('a', 10n)
    ;(await s.next()).fail(new Error('no broker'))
    await expect(s.running).rejects.toThrow('no broker')
    expect(s.confirmed).toEqual([])
    expect(s.sender.recorded()).toBe(0n)
  })

  it('ends, having confirmed nothing, when what was sent does not count (R24)', async () => {
    const s = setup()
    s.refuse(new Error('another topic'))
    s.write('a', 10n)
    ;(await s.next()).acknowledge()
    await expect(s.running).rejects.toThrow('another topic')
    expect(s.confirmed).toEqual([])
    expect(s.sender.recorded()).toBe(0n)
  })

  it('calls back only when all that was written before is acknowledged', async () => {
    const s = setup()
    let called = false
    s.write('a', 10n)
    const first = await s.next()
    s.write('b', 20n)
    s.sender.afterSent(() => {
      called = true
    })
    first.acknowledge()
    ;(await s.next()).acknowledge()
    const second = await s.next()
    expect(second.text).toBe('b')
    expect(called).toBe(false)
    second.acknowledge()
    await s.next()
    expect(called).toBe(true)
    s.stop()
  })

  it('drains: sends and records all there is', async () => {
    const s = setup()
    s.write('a', 10n)
    const first = await s.next()
    s.write('b', 20n)
    const drained = s.sender.drain(AbortSignal.timeout(5000))
    first.acknowledge()
    for (let sends = 0; sends < 4 && s.sender.recorded() !== 20n; sends += 1) {
      ;(await s.next()).acknowledge()
      await new Promise((resolve) => setImmediate(resolve))
    }
    await drained
    expect(s.confirmed.at(-1)).toBe(20n)
    s.stop()
  })
})
