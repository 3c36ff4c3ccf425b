import { MillraceError } from '../../../lib/errors.ts'
import type { Placements, TopicBatch } from '../queue.ts'
import { type Chunk, nextRound, toChunks } from './chunks.ts'
import type { Cluster } from './cluster.ts'
import { errorName, type KafkaConnection, ZSTD_COMPRESSION } from './driver.ts'
import { brokerError, isTransient } from './errors.ts'
import { persist } from './persist.ts'
import { type Placed, place } from './place.ts'

/** How long `send` bridges a restart or an election before it gives up, milliseconds. */
const PATIENCE = 30_000
const BROKER_TIMEOUT = 20_000
const MAX_SEQUENCE = 0x7fffffff

/** What is on its way: chunks by topic, and where those stand that are acknowledged. */
interface Sending {
  readonly waiting: Map<string, Chunk[]>
  readonly placed: Placed
}

interface Identity {
  readonly id: string
  readonly epoch: number
  /** Next sequence number by topic. */
  readonly sequences: Map<string, number>
}

/**
 * Sends in order, each batch exactly once as long as no error is thrown: a repeated request carries the same sequence
 * numbers, so that the broker drops it if it has it already. After an error nobody knows what arrived; the identity is
 * given up, and the caller begins again from what it has recorded.
 */
export function createProducer(cluster: Cluster) {
  let identity: Identity | undefined
  let last: Promise<unknown> = Promise.resolve()

  async function acquire(signal: AbortSignal): Promise<Identity> {
    const connection = await cluster.connection(undefined, 'main', signal)
    const answer = await cluster.translate(() =>
      connection.call<{ errorCode: number; producerId: string; producerEpoch: number }>(
        'InitProducerId',
        { transactionTimeout: 60_000 },
        signal,
      ),
    )
    const error = errorName(answer.errorCode)
    if (error !== '') throw refused(error)
    return { id: String(answer.producerId), epoch: answer.producerEpoch, sequences: new Map() }
  }

  async function sendAll(batches: readonly TopicBatch[], signal: AbortSignal): Promise<Placements> {
    const waiting = toChunks(batches)
    const sending: Sending = { waiting, placed: new Map() }
    try {
      if (waiting.size === 0) return sending.placed
      identity ??= await persist(PATIENCE, signal, () => acquire(signal))
      const own = identity
      while (waiting.size > 0)
        await persist(PATIENCE, signal, () => sendRound(own, nextRound(waiting), sending, signal))
      return sending.placed
    } catch (thrown) {
      identity = undefined
      throw thrown
    }
  }

  /** The next chunk of each topic. What is acknowledged leaves `waiting`; throws when something was not. */
  async function sendRound(
    own: Identity,
    round: readonly Chunk[],
    sending: Sending,
    signal: AbortSignal,
  ): Promise<void> {
    const topics = round.map(({ topic }) => topic)
    const facts = await cluster.topics(topics, signal)
    const byLeader = Map.groupBy(round, ({ topic }) => {
      const { leader, error = 'LEADER_NOT_AVAILABLE' } = facts.get(topic) ?? {}
      if (leader === undefined) {
        cluster.forget([topic])
        throw brokerError(error, 'write to', topic)
      }
      return leader
    })
    const results = await Promise.allSettled(
      [...byLeader].map(async ([leader, chunks]) => {
        const connection = await cluster.connection(leader, 'main', signal)
        await produce(connection, own, chunks, sending, signal)
      }),
    )
    const failed = results.find((result) => result.status === 'rejected')
    if (!failed) return
    cluster.forget(topics)
    await cluster.translate(() => Promise.reject(failed.reason))
  }

  async function produce(
    connection: KafkaConnection,
    own: Identity,
    chunks: readonly Chunk[],
    { waiting, placed }: Sending,
    signal: AbortSignal,
  ): Promise<void> {
    const answer = await connection.call<{
      topics: readonly {
        topicName: string
        partitions: readonly { errorCode: number; baseOffset: string }[]
      }[]
    }>('Produce', produceArguments(own, chunks), signal)
    let failure: MillraceError | undefined
    for (const chunk of chunks) {
      const partition = answer.topics.find(({ topicName }) => topicName === chunk.topic)?.partitions[0]
      const error = partition ? errorName(partition.errorCode) : 'UNKNOWN_TOPIC_OR_PARTITION'
      // Repeated after an answer was lost: it is there already.
      if (error !== '' && error !== 'DUPLICATE_SEQUENCE_NUMBER') {
        failure = writeError(error, chunk.topic)
        continue
      }
      advance(own, chunk)
      place(placed, chunk.topic, BigInt(partition?.baseOffset ?? -1), chunk.records.length)
      const rest = waiting.get(chunk.topic)?.slice(1) ?? []
      if (rest.length > 0) waiting.set(chunk.topic, rest)
      else waiting.delete(chunk.topic)
    }
    if (failure) throw failure
  }

  return {
    send(batches: readonly TopicBatch[], signal: AbortSignal): Promise<Placements> {
      const sending = last.then(() => sendAll(batches, signal))
      last = sending.catch(() => {})
      return sending
    },
    /** Resolves when nothing is in flight. */
    idle: () => last,
  }
}

function produceArguments(own: Identity, chunks: readonly Chunk[]): object {
  return {
    acks: -1,
    timeout: BROKER_TIMEOUT,
    compression: ZSTD_COMPRESSION,
    producerId: own.id,
    producerEpoch: own.epoch,
    topicData: chunks.map(({ topic, records }) => ({
      topic,
      partitions: [{ partition: 0, firstSequence: own.sequences.get(topic) ?? 0, messages: records }],
    })),
  }
}

/** Sequence numbers start at 0 again after the largest 32-bit one. */
function advance(own: Identity, chunk: Chunk): void {
  const next = (own.sequences.get(chunk.topic) ?? 0) + chunk.records.length
  own.sequences.set(chunk.topic, next > MAX_SEQUENCE ? next - MAX_SEQUENCE - 1 : next)
}

const LOST_IDENTITY = new Set([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
])

function writeError(name: string, topic: string): MillraceError {
  // Not to be tried again with the same numbers, but by the caller from its record; so it must not look passing here.
  if (LOST_IDENTITY.has(name))
    return new MillraceError('Internal', `the brokers lost the place in topic ${topic} (${name})`, {
      retryable: true,
    })
  if (isTransient(name)) return brokerError(name, 'write to', topic)
  const error = brokerError(name, 'write to', topic)
  return error.code === 'QueueUnavailable'
    ? new MillraceError('Internal', error.message, { retryable: true })
    : error
}

function refused(name: string): MillraceError {
  if (!/AUTHORIZATION_FAILED$/.test(name))
    return new MillraceError('QueueUnavailable', `no producer identity from the brokers: ${name}`)
  return new MillraceError(
    'PermissionDenied',
    `spec.queue.kafka: the user may not write idempotently (${name}): grant IdempotentWrite on the cluster, or Write on the topics`,
    { field: 'spec.queue.kafka.sasl.credentialsSecretRef' },
  )
}
