import { MillraceError } from '../../../lib/errors.ts'
import { sleep } from '../../../lib/sleep.ts'
import type { QueueRecord, TopicOffsets } from '../queue.ts'
import type { Cluster } from './cluster.ts'
import { errorName, type KafkaConnection, unpackBatch } from './driver.ts'
import { brokerError } from './errors.ts'
import { persist } from './persist.ts'

/** How long one call bridges a restart or an election, milliseconds. */
const PATIENCE = 10_000
/** A broker that has just started may not know a topic yet: asked again after this, milliseconds. */
const ABSENCE_CHECK = 500
const ABSENT = 'UNKNOWN_TOPIC_OR_PARTITION'
const LATEST = -1
const EARLIEST = -2
const TOPIC_RESOURCE = 2
const BATCH_BYTES = 1_048_588

/** What a topic must have for rule R24, and so that the largest record of the port fits whatever the brokers' default is. */
const SETTINGS: Readonly<Record<string, string>> = {
  'cleanup.policy': 'delete',
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'max.message.bytes': String(BATCH_BYTES),
}

/** The topics' side of the queue: create, measure, trim, read whole. */
export function createAdmin(cluster: Cluster, replicationFactor: number | undefined) {
  /** Calls the leader of a topic; undefined when there surely is no such topic. */
  async function onLeader<T>(
    topic: string,
    signal: AbortSignal,
    work: (connection: KafkaConnection) => Promise<T>,
  ): Promise<T | undefined> {
    let absent = 0
    return await persist(PATIENCE, signal, async () => {
      cluster.forget(absent > 0 ? [topic] : [])
      const { error, leader } = await cluster.topic(topic, signal)
      if (error === ABSENT) {
        absent += 1
        if (absent > 1) return undefined
        await sleep(ABSENCE_CHECK, signal)
      }
      if (error !== '') throw brokerError(error, 'reach the leader of', topic)
      try {
        return await cluster.translate(async () => work(await cluster.connection(leader, 'main', signal)))
      } catch (thrown) {
        cluster.forget([topic])
        throw thrown
      }
    })
  }

  async function listOffset(
    connection: KafkaConnection,
    topic: string,
    timestamp: number,
    signal: AbortSignal,
  ): Promise<bigint> {
    const partitions = [{ partition: 0, timestamp }]
    const answer = await connection.call<{
      responses: readonly { partitions: readonly { errorCode: number; offset: string }[] }[]
    }>('ListOffsets', { replicaId: -1, isolationLevel: 0, topics: [{ topic, partitions }] }, signal)
    const partition = answer.responses[0]?.partitions[0]
    const error = partition ? errorName(partition.errorCode) : ABSENT
    if (error !== '') throw brokerError(error, 'read the offsets of', topic)
    return BigInt(partition?.offset ?? 0)
  }

  async function offsets(topic: string, signal: AbortSignal): Promise<TopicOffsets | undefined> {
    return await onLeader(topic, signal, async (connection) => ({
      earliest: await listOffset(connection, topic, EARLIEST, signal),
      end: await listOffset(connection, topic, LATEST, signal),
    }))
  }

  async function settingsOf(
    connection: KafkaConnection,
    name: string,
    signal: AbortSignal,
  ): Promise<Map<string, string | null> | undefined> {
    const answer = await connection.call<{
      resources: readonly {
        errorCode: number
        configEntries: readonly { configName: string; configValue: string | null }[]
      }[]
    }>(
      'DescribeConfigs',
      { resources: [{ type: TOPIC_RESOURCE, name, configNames: [] }], includeSynonyms: false },
      signal,
    )
    const resource = answer.resources[0]
    if (resource?.errorCode !== 0) return undefined
    return new Map(resource.configEntries.map((entry) => [entry.configName, entry.configValue]))
  }

  async function create(topic: string, signal: AbortSignal): Promise<{ refused: string; said: string }> {
    const connection = await cluster.connection(undefined, 'main', signal)
    const configEntries = Object.entries(SETTINGS).map(([name, value]) => ({ name, value }))
    const request = { topic, numPartitions: 1, replicationFactor: replicationFactor ?? -1, configEntries }
    const answer = await cluster.translate(() =>
      connection.call<{ topicErrors: readonly { errorCode: number; errorMessage?: string | null }[] }>(
        'CreateTopics',
        { topics: [request], validateOnly: false, timeout: 10_000 },
        signal,
      ),
    )
    const [error] = answer.topicErrors
    return { refused: errorName(error?.errorCode ?? 0), said: error?.errorMessage ?? '' }
  }

  /** An existing topic must keep what it gets: silently losing changes is worse than not starting. */
  async function verify(topic: string, signal: AbortSignal): Promise<void> {
    const { partitions } = await cluster.topic(topic, signal)
    if (partitions !== 1) throw unsuitable(topic, `${partitions} partitions`, 'one partition')
    const settings = await onLeader(topic, signal, (connection) => settingsOf(connection, topic, signal))
    for (const name of ['cleanup.policy', 'retention.ms', 'retention.bytes']) {
      const value = settings?.get(name)
      if (value !== undefined && value !== SETTINGS[name])
        throw unsuitable(topic, `${name}=${value}`, `${name}=${SETTINGS[name]}`)
    }
  }

  return {
    offsets,

    async ensureTopic(topic: string, signal: AbortSignal): Promise<{ created: boolean }> {
      return await persist(PATIENCE, signal, async () => {
        cluster.forget([topic])
        const { error } = await cluster.topic(topic, signal)
        if (error === '') {
          await verify(topic, signal)
          return { created: false }
        }
        if (error !== ABSENT) throw brokerError(error, 'reach the leader of', topic)
        const { refused, said } = await create(topic, signal)
        if (refused === 'TOPIC_ALREADY_EXISTS') return { created: false }
        if (refused !== '') throw brokerError(refused, 'create', topic, said)
        return { created: true }
      })
    },

    async deleteBefore(topic: string, offset: bigint, signal: AbortSignal): Promise<void> {
      await onLeader(topic, signal, async (connection) => {
        const partitions = [{ partition: 0, offset: String(offset) }]
        const answer = await connection.call<{
          topics: readonly { partitions: readonly { errorCode: number }[] }[]
        }>('DeleteRecords', { topics: [{ topic, partitions }], timeout: 10_000 }, signal)
        const error = errorName(answer.topics[0]?.partitions[0]?.errorCode ?? 0)
        if (error !== '') throw brokerError(error, 'delete records of', topic)
      })
    },

    async readAll(topic: string, signal: AbortSignal): Promise<QueueRecord[]> {
      const bounds = await offsets(topic, signal)
      const records: QueueRecord[] = []
      let offset = bounds?.earliest ?? 0n
      while (bounds && offset < bounds.end) {
        const from = offset
        const read = await onLeader(topic, signal, async (connection) => {
          const topics = [{ topic, offset: from }]
          const [fetched] = await connection.fetch(
            { topics, maxBytes: 8_000_000, maxBytesPerTopic: 8_000_000, maxWait: 100 },
            signal,
          )
          if (fetched && fetched.error !== '') throw brokerError(fetched.error, 'read', topic)
          return await unpackAll(topic, fetched?.batches ?? Buffer.alloc(0), from)
        })
        if (!read) break
        records.push(...read.records)
        offset = read.nextOffset
      }
      return records
    },
  }
}

async function unpackAll(topic: string, batches: Buffer, from: bigint) {
  const records: QueueRecord[] = []
  let nextOffset = from
  for (let rest = batches; ; ) {
    const batch = await unpackBatch(topic, rest)
    if (!batch) return { records, nextOffset }
    records.push(...batch.records.filter((record) => record.offset >= from))
    nextOffset = batch.nextOffset
    rest = batch.rest
  }
}

function unsuitable(topic: string, found: string, wanted: string): MillraceError {
  const field = 'spec.queue.kafka.topicPrefix'
  return new MillraceError(
    'InvalidSpec',
    `${field}: topic ${topic} exists with ${found}, but must have ${wanted}, or changes are lost: alter or delete the topic, or choose another prefix`,
    { field, retryable: true },
  )
}
