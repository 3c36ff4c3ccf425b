import { expect, it } from 'vitest'
import type { OutgoingRecord, Queue, QueueRecord, TopicBatch } from '../queue/queue.ts'
import { stateRecord } from './record.ts'
import { createRecordStore } from './record-store.ts'

const never = new AbortController().signal

const record = (lsn: bigint) =>
  stateRecord({ epoch: 1, lsn, systemIdentifier: '1', timeline: 1, owner: 'o' }, new Map())

/** Capture's topic in memory. */
function openTopic() {
  let records: QueueRecord[] = []
  let end = 0n
  const append = ({ key, value }: OutgoingRecord) => {
    records.push({ topic: 'c', offset: end, timestamp: 0, key, value, headers: {} })
    end += 1n
  }
  const queue: Pick<Queue, 'ensureTopic' | 'readAll' | 'offsets' | 'send' | 'deleteBefore'> = {
    ensureTopic: async () => ({ created: false }),
    readAll: async () => records,
    offsets: async () => ({ earliest: records[0]?.offset ?? end, end }),
    async send(batches: readonly TopicBatch[]) {
      for (const batch of batches) batch.records.forEach(append)
      return new Map()
    },
    async deleteBefore(_topic, offset) {
      records = records.filter((each) => each.offset >= offset)
    },
  }
  return { append, queue: queue as Queue, length: () => records.length }
}

it('keeps what was written just before it is settled what is deleted', async () => {
  const topic = openTopic()
  const { offsets } = topic.queue
  let lsn = 1n
  const store = createRecordStore(
    {
      ...topic.queue,
      // On the way there, capture's position is recorded once more.
      offsets(...request) {
        lsn = 2n
        topic.append(record(lsn))
        return offsets(...request)
      },
    },
    'c',
  )
  topic.append(record(lsn))
  await store.compact(() => [record(lsn)], never)
  expect(topic.length()).toBe(1)
  expect((await store.read(never)).state?.lsn).toBe(2n)
})
