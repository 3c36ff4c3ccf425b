import { randomUUID } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import { createLogger } from '../../lib/log.ts'
import { createKafkaQueue } from '../../workers/queue/kafka.ts'
import type { Queue, QueueReader, QueueRecord } from '../../workers/queue/queue.ts'
import type { Secrets } from '../../workers/runtime/context.ts'
import { kafkaBrokers } from './services.ts'

const signal = AbortSignal.timeout(600_000)
const log = createLogger('test', 'silent')
const noSecrets: Secrets = { read: async (mount) => Promise.reject(new Error(`no secret ${mount}`)) }
const opened: Queue[] = []

const settings = (bootstrapServers = [kafkaBrokers()]) => ({ bootstrapServers, retentionSeconds: 3600 })

function open(bootstrapServers?: string[]): Queue {
  const queue = createKafkaQueue(settings(bootstrapServers), noSecrets, log)
  opened.push(queue)
  return queue
}

afterAll(async () => {
  await Promise.all(opened.map((queue) => queue.close()))
})

const newTopic = () => `queue.${randomUUID()}`
const records = (...texts: string[]) => texts.map((text) => ({ value: Buffer.from(text) }))
const text = (record: QueueRecord) => record.value.toString()

/** Reads until `count` records have come. */
async function read(reader: QueueReader, count: number): Promise<QueueRecord[]> {
  const found: QueueRecord[] = []
  while (found.length < count) found.push(...(await reader.next(signal)).records)
  return found
}

const small = { maxBytesPerTopic: 100_000, maxBytes: 400_000, maxWaitMilliseconds: 300 }

describe('topics', () => {
  it('are made once, with unlimited retention', async () => {
    const queue = open()
    const topic = newTopic()
    expect(await queue.offsets(topic, signal)).toBeUndefined()
    expect(await queue.ensureTopic(topic, signal)).toEqual({ created: true })
    expect(await queue.ensureTopic(topic, signal)).toEqual({ created: false })
    expect(await queue.offsets(topic, signal)).toEqual({ earliest: 0n, end: 0n })
  })
})

describe('send and read', () => {
  it('keeps order, headers and keys', async () => {
    const queue = open()
    const topic = newTopic()
    await queue.ensureTopic(topic, signal)
    await queue.send([{ topic, records: records('a', 'b') }], signal)
    await queue.send(
      [{ topic, records: [{ value: Buffer.from('c'), key: 'k', headers: { part: '1/2' } }] }],
      signal,
    )
    const reader = queue.openReader(small)
    reader.seek(topic, 1n)
    const found = await read(reader, 2)
    expect(found.map(text)).toEqual(['b', 'c'])
    expect(found[1]).toMatchObject({ topic, offset: 2n, key: 'k', headers: { part: '1/2' } })
    expect((await queue.readAll(topic, signal)).map(text)).toEqual(['a', 'b', 'c'])
    await reader.close()
  })
})
