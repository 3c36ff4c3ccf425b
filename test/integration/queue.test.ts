import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import { startKafka } from '../../hack/services/kafka.ts'
import { createLogger } from '../../lib/log.ts'
import { createKafkaQueue } from '../../workers/queue/kafka.ts'
import type { Queue, QueueReader, QueueRecord, TopicBatch } from '../../workers/queue/queue.ts'
import { MAX_RECORD_BYTES } from '../../workers/queue/queue.ts'
import type { Secrets } from '../../workers/runtime/context.ts'
import { kafkaBrokers, tempDir } from './services.ts'

const signal = AbortSignal.timeout(600_000)
const log = createLogger('test', 'silent')
const noSecrets: Secrets = { read: async (mount) => Promise.reject(new Error(`no secret ${mount}`)) }
const opened: Queue[] = []

function open(bootstrapServers = [kafkaBrokers()]): Queue {
  const queue = createKafkaQueue({ bootstrapServers, retentionSeconds: 3600 }, noSecrets, log)
  opened.push(queue)
  return queue
}

afterAll(async () => {
  await Promise.all(opened.map((queue) => queue.close()))
})

const newTopic = () => `queue.${randomUUID()}`
const records = (...texts: string[]) => texts.map((text) => ({ value: Buffer.from(text) }))
const text = (record: QueueRecord) => record.value.toString()
const small = { maxBytesPerTopic: 100_000, maxBytes: 400_000, maxWaitMilliseconds: 300 }

async function made(queue: Queue, ...batches: TopicBatch['records'][]): Promise<string> {
  const topic = newTopic()
  await queue.ensureTopic(topic, signal)
  for (const batch of batches) await queue.send([{ topic, records: batch }], signal)
  return topic
}

/** Reads until `count` records have come. */
async function read(reader: QueueReader, count: number): Promise<QueueRecord[]> {
  const found: QueueRecord[] = []
  while (found.length < count) found.push(...(await reader.next(signal)).records)
  return found
}

describe('topics', () => {
  it('are made once, with unlimited retention', async () => {
    const queue = open()
    const topic = newTopic()
    expect(await queue.offsets(topic, signal)).toBeUndefined()
    expect(await queue.ensureTopic(topic, signal)).toEqual({ created: true })
    expect(await queue.ensureTopic(topic, signal)).toEqual({ created: false })
    expect(await queue.offsets(topic, signal)).toEqual({ earliest: 0n, end: 0n })
  })

  it('that Kafka takes for one another are refused with the name of the other and the cure', async () => {
    const queue = open()
    const topic = newTopic()
    await queue.ensureTopic(`${topic}.app.eu_orders`, signal)
    const error = await queue.ensureTopic(`${topic}.app_eu.orders`, signal).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'InvalidSpec', field: 'spec.queue.kafka.topicPrefix' })
    for (const part of [`${topic}.app_eu.orders`, `${topic}.app.eu_orders`, 'different topicPrefix'])
      expect(String(error)).toContain(part)
  })

  it('lose only what is before the given offset', async () => {
    const queue = open()
    const topic = await made(queue, records('a'), records('b'), records('c'))
    await queue.deleteBefore(topic, 2n, signal)
    expect(await queue.offsets(topic, signal)).toEqual({ earliest: 2n, end: 3n })
    expect((await queue.readAll(topic, signal)).map(text)).toEqual(['c'])
  })
})

describe('send and read', () => {
  it('keeps order, headers and keys, and starts in the middle of a batch', async () => {
    const queue = open()
    const topic = await made(queue, records('a', 'b'), [
      { value: Buffer.from('c'), key: 'k', headers: { part: '1/2' } },
    ])
    const reader = queue.openReader(small)
    reader.seek(topic, 1n)
    const found = await read(reader, 2)
    expect(found.map(text)).toEqual(['b', 'c'])
    expect(found[1]).toMatchObject({ topic, offset: 2n, key: 'k', headers: { part: '1/2' } })
    expect((await queue.readAll(topic, signal)).map(text)).toEqual(['a', 'b', 'c'])
    await reader.close()
  })

  it('keeps the order of sends that overlap, over many topics and requests', async () => {
    const queue = open()
    const topics = await Promise.all([made(queue), made(queue), made(queue)])
    // Does not compress, so that one send takes several requests.
    const noise = Array.from({ length: 30 }, () => randomBytes(400_000))
    const sends = [0, 1].map((half) =>
      queue.send(
        topics.map((topic) => ({
          topic,
          records: noise.slice(half * 15, half * 15 + 15).map((value) => ({ value })),
        })),
        signal,
      ),
    )
    const placed = await Promise.all(sends)
    for (const topic of topics) {
      expect(placed[0]?.get(topic)).toMatchObject({ first: 0n, end: 15n })
      expect(placed[1]?.get(topic)).toMatchObject({ first: 15n, end: 30n })
    }
    const reader = queue.openReader(small)
    for (const topic of topics) reader.seek(topic, 0n)
    const found = await read(reader, topics.length * noise.length)
    for (const topic of topics) {
      const own = found.filter((record) => record.topic === topic)
      expect(own.map(({ offset }) => Number(offset))).toEqual(noise.map((_, index) => index))
      expect(own.every(({ value }, index) => noise[index]?.equals(value))).toBe(true)
    }
    await reader.close()
  })

  it('takes the largest record and reads it with a smaller limit', async () => {
    const queue = open()
    const value = randomBytes(MAX_RECORD_BYTES)
    const topic = await made(queue, [{ value }], records('after'))
    const other = await made(queue, records('small'))
    const reader = queue.openReader({ maxBytesPerTopic: 1_000, maxBytes: 2_000, maxWaitMilliseconds: 300 })
    reader.seek(other, 0n)
    reader.seek(topic, 0n)
    const found = await read(reader, 3)
    const own = found.filter((record) => record.topic === topic)
    expect(own[0]?.value.equals(value)).toBe(true)
    expect(own[1] && text(own[1])).toBe('after')
    await expect(
      queue.send([{ topic, records: [{ value: randomBytes(MAX_RECORD_BYTES + 100) }] }], signal),
    ).rejects.toMatchObject({ code: 'Internal' })
    await reader.close()
  })
})

describe('a reader', () => {
  it('gets what is written while it waits, well before the wait is over', async () => {
    const queue = open()
    const topic = await made(queue)
    const reader = queue.openReader({ ...small, maxWaitMilliseconds: 20_000 })
    reader.seek(topic, 0n)
    const started = performance.now()
    const waiting = reader.next(signal)
    await queue.send([{ topic, records: records('a') }], signal)
    const fetched = await waiting
    expect(fetched.records.map(text)).toEqual(['a'])
    expect(fetched.ends.get(topic)).toBe(1n)
    expect(performance.now() - started).toBeLessThan(10_000)
    await reader.close()
  })

  it('takes up a topic while a long poll for others is under way', async () => {
    const queue = open()
    const idle = await made(queue)
    const topic = await made(queue, records('a'))
    const reader = queue.openReader({ ...small, maxWaitMilliseconds: 20_000 })
    reader.seek(idle, 0n)
    const waiting = reader.next(signal)
    reader.wake()
    expect((await waiting).records).toEqual([])
    const started = performance.now()
    reader.seek(topic, 0n)
    expect((await reader.next(signal)).records.map(text)).toEqual(['a'])
    expect(performance.now() - started).toBeLessThan(10_000)
    await reader.close()
  })

  it('delivers nothing of a topic that is paused, removed, or from before a seek', async () => {
    const queue = open()
    const paused = await made(queue, records('p0', 'p1'))
    const removed = await made(queue, records('r0'))
    const moved = await made(queue, records('m0'), records('m1'))
    const reader = queue.openReader(small)
    for (const topic of [paused, removed, moved]) reader.seek(topic, 0n)
    reader.pause(paused)
    reader.remove(removed)
    reader.seek(moved, 1n)
    expect((await read(reader, 1)).map(text)).toEqual(['m1'])
    expect((await reader.next(signal)).records).toEqual([])
    reader.resume(paused)
    expect((await read(reader, 2)).map(text)).toEqual(['p0', 'p1'])
    await reader.close()
  })

  it('tells when an offset is out of range, and goes on with the others', async () => {
    const queue = open()
    const trimmed = await made(queue, records('a'), records('b'))
    await queue.deleteBefore(trimmed, 1n, signal)
    const short = await made(queue, records('a'))
    const good = await made(queue, records('good'))
    const reader = queue.openReader(small)
    reader.seek(trimmed, 0n)
    reader.seek(short, 7n)
    reader.seek(good, 0n)
    const lost = new Map<string, unknown>()
    const found: string[] = []
    while (lost.size < 2 || found.length < 1) {
      const fetched = await reader.next(signal)
      for (const { topic, ...rest } of fetched.lost) lost.set(topic, rest)
      found.push(...fetched.records.map(text))
    }
    expect(found).toEqual(['good'])
    expect(lost.get(trimmed)).toEqual({ wanted: 0n, offsets: { earliest: 1n, end: 2n } })
    expect(lost.get(short)).toEqual({ wanted: 7n, offsets: { earliest: 0n, end: 1n } })
    await reader.close()
  })

  it('tells when a topic is gone', async () => {
    const queue = open()
    const reader = queue.openReader(small)
    const topic = newTopic()
    reader.seek(topic, 0n)
    let lost: unknown[] = []
    while (lost.length === 0) lost = [...(await reader.next(signal)).lost]
    expect(lost).toEqual([{ topic, wanted: 0n, offsets: undefined }])
    await reader.close()
  })

  it('stops waiting when the signal aborts', async () => {
    const queue = open()
    const topic = await made(queue)
    const reader = queue.openReader({ ...small, maxWaitMilliseconds: 60_000 })
    reader.seek(topic, 0n)
    const stop = new AbortController()
    const waiting = reader.next(stop.signal)
    stop.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await reader.close()
    await queue.close()
  })
})

describe('an idle queue', () => {
  it('uses hardly any processor time', async () => {
    const queue = open()
    const topic = await made(queue, records('a'))
    const reader = queue.openReader({ ...small, maxWaitMilliseconds: 1_000 })
    reader.seek(topic, 1n)
    await reader.next(signal)
    const before = process.cpuUsage()
    const started = performance.now()
    while (performance.now() - started < 5_000) await reader.next(signal)
    const { user, system } = process.cpuUsage(before)
    const share = (user + system) / 1000 / (performance.now() - started)
    console.log(`idle reader: ${(share * 100).toFixed(2)} % of a core`)
    // The timer that kafkajs leaves running would cost 10 % for these two connections.
    expect(share).toBeLessThan(0.03)
    await reader.close()
  })
})

describe('wrong settings', () => {
  it('name the field and the cure', async () => {
    const topic = newTopic()
    const tls = createKafkaQueue(
      { bootstrapServers: [kafkaBrokers()], retentionSeconds: 1, tls: { enabled: true } },
      noSecrets,
      log,
    )
    opened.push(tls)
    await Promise.all([
      expect(open(['127.0.0.1:1']).offsets(topic, signal)).rejects.toMatchObject({
        code: 'HostUnreachable',
        field: 'spec.queue.kafka.bootstrapServers',
        message: expect.stringContaining('127.0.0.1:1'),
      }),
      expect(open(['no-such-host.invalid:9092']).offsets(topic, signal)).rejects.toMatchObject({
        code: 'HostUnreachable',
        message: expect.stringContaining('host name'),
      }),
      expect(tls.offsets(topic, signal)).rejects.toMatchObject({
        message: expect.stringContaining('spec.queue.kafka.tls'),
      }),
    ])
  })
})

describe('a broker that is killed', () => {
  it('loses nothing, doubles nothing and changes no order', async () => {
    const broker = await startKafka({ dir: `${tempDir()}/kafka` })
    const queue = open([broker.bootstrap])
    const topics = await Promise.all([made(queue), made(queue)])
    const reader = queue.openReader(small)
    for (const topic of topics) reader.seek(topic, 0n)
    const total = 400
    const seen = new Map(topics.map((topic): [string, number[]] => [topic, []]))
    const errors: unknown[] = []
    const reading = (async () => {
      while ([...seen.values()].some((list) => list.length < total)) {
        try {
          for (const record of (await reader.next(signal)).records)
            seen.get(record.topic)?.push(Number(text(record)))
        } catch (thrown) {
          errors.push(thrown)
          await new Promise((resolve) => setTimeout(resolve, 200))
        }
      }
    })()
    for (let number = 0; number < total; number += 1) {
      const sending = queue.send(
        topics.map((topic) => ({ topic, records: records(String(number)) })),
        signal,
      )
      if (number === 100 || number === 300) {
        await broker.kill9()
        await broker.start()
      }
      await sending
    }
    await reading
    const expected = Array.from({ length: total }, (_, number) => number)
    for (const topic of topics) expect(seen.get(topic)).toEqual(expected)
    for (const error of errors) expect(error).toMatchObject({ name: 'MillraceError', retryable: true })
    await reader.close()
    await queue.close()
    await broker.kill9()
  })

  it('makes a send fail after a while, and the next one begin anew', async () => {
    const broker = await startKafka({ dir: `${tempDir()}/kafka` })
    const queue = open([broker.bootstrap])
    const topic = await made(queue, records('a'))
    await broker.kill9()
    const started = performance.now()
    await expect(queue.send([{ topic, records: records('b') }], signal)).rejects.toMatchObject({
      code: 'QueueUnavailable',
      retryable: true,
    })
    expect(performance.now() - started).toBeGreaterThan(20_000)
    const stop = new AbortController()
    const sending = queue.send([{ topic, records: records('c') }], stop.signal)
    stop.abort(new Error('stopped'))
    await expect(sending).rejects.toThrow('stopped')
    await broker.start()
    await queue.send([{ topic, records: records('d') }], signal)
    expect((await queue.readAll(topic, signal)).map(text)).toEqual(['a', 'd'])
    await broker.kill9()
  })
})
