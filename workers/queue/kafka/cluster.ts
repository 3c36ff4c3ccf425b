import {
  type Address,
  type DriverOptions,
  errorName,
  type KafkaConnection,
  openConnection,
} from './driver.ts'
import { brokerError, type ErrorContext, isTransient, toQueueError } from './errors.ts'

/**
 * The brokers: who leads a topic, and connections to them by purpose. A connection that failed is forgotten, the next use
 * makes another. Throws MillraceErrors only.
 */
export interface Cluster {
  /** What the brokers say about a topic; asked anew when not known or forgotten. */
  topic(topic: string, signal: AbortSignal): Promise<TopicFacts>
  /** For many at once. */
  topics(topics: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, TopicFacts>>
  /** Forgets who leads these topics, or all. */
  forget(topics?: readonly string[]): void
  /** A connection to one broker, shared by all who name the same `lane`. Undefined node: any broker. */
  connection(node: number | undefined, lane: string, signal: AbortSignal): Promise<KafkaConnection>
  /** Runs work, translating what the connection level throws. */
  translate<T>(work: () => Promise<T>): Promise<T>
  close(): void
}

export interface TopicFacts {
  /** Empty, or Kafka's name of an error such as `UNKNOWN_TOPIC_OR_PARTITION`. */
  readonly error: string
  /** Node that leads partition 0; undefined when there is none at present. */
  readonly leader: number | undefined
  readonly partitions: number
}

interface MetadataAnswer {
  readonly brokers: readonly { nodeId: number; host: string; port: number }[]
  readonly topicMetadata: readonly {
    topicErrorCode: number
    topic: string
    partitionMetadata: readonly { partitionErrorCode: number; partitionId: number; leader: number }[]
  }[]
}

/** How long who leads a topic is believed without asking, milliseconds. */
const METADATA_AGE = 300_000

export function createCluster(bootstrapServers: readonly string[], options: DriverOptions): Cluster {
  const bootstrap = bootstrapServers.map(parseAddress)
  const connections = new Map<string, Promise<KafkaConnection>>()
  const facts = new Map<string, TopicFacts & { at: number }>()
  let nodes = new Map<number, Address>()
  let reachedBefore = false
  let closed = false
  let first = 0

  const context = (): ErrorContext => ({
    bootstrapServers,
    tls: options.usesTls,
    sasl: options.sasl !== undefined,
    reachedBefore,
  })

  async function translate<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (thrown) {
      throw toQueueError(thrown, context())
    }
  }

  async function open(address: Address, lane: string, signal: AbortSignal): Promise<KafkaConnection> {
    const key = `${address.host}:${address.port} ${lane}`
    for (;;) {
      const known = connections.get(key)
      const live = known && (await known.catch(() => undefined))
      if (live && !live.closed) return live
      // Another caller may have replaced it while this one waited.
      if (connections.get(key) !== known) continue
      const opening = openConnection(address, options, signal)
      connections.set(key, opening)
      try {
        const made = await opening
        if (closed) made.close()
        return made
      } catch (thrown) {
        if (connections.get(key) === opening) connections.delete(key)
        throw thrown
      }
    }
  }

  /** A broker that answers: one that was told of, or one of the configured ones. */
  async function anyBroker(lane: string, signal: AbortSignal): Promise<KafkaConnection> {
    let failure: unknown
    for (const address of [...nodes.values(), ...rotate(bootstrap, first)]) {
      try {
        return await open(address, lane, signal)
      } catch (thrown) {
        signal.throwIfAborted()
        failure = thrown
      }
    }
    first += 1
    throw failure
  }

  async function refresh(topics: readonly string[], signal: AbortSignal): Promise<void> {
    const connection = await anyBroker('main', signal)
    const answer = await connection.call<MetadataAnswer>(
      'Metadata',
      { topics, allowAutoTopicCreation: false },
      signal,
    )
    reachedBefore = true
    nodes = new Map(answer.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    for (const entry of answer.topicMetadata) {
      const partition = entry.partitionMetadata.find(({ partitionId }) => partitionId === 0)
      const leader = partition && partition.leader >= 0 ? partition.leader : undefined
      const error = errorName(entry.topicErrorCode) || (leader === undefined ? 'LEADER_NOT_AVAILABLE' : '')
      facts.set(entry.topic, { error, leader, partitions: entry.partitionMetadata.length, at: Date.now() })
    }
  }

  async function topics(names: readonly string[], signal: AbortSignal) {
    const fresh = (name: string) => {
      const known = facts.get(name)
      return known && known.error === '' && Date.now() - known.at < METADATA_AGE ? known : undefined
    }
    if (names.some((name) => !fresh(name))) await translate(() => refresh(names, signal))
    return new Map(
      names.map((name): [string, TopicFacts] => [
        name,
        facts.get(name) ?? { error: 'UNKNOWN_TOPIC_OR_PARTITION', leader: undefined, partitions: 0 },
      ]),
    )
  }

  return {
    translate,
    topics,
    async topic(name, signal) {
      const found = (await topics([name], signal)).get(name)
      if (found && (found.error === '' || isTransient(found.error))) return found
      throw brokerError(found?.error ?? '', 'find', name)
    },
    forget(names) {
      if (names) for (const name of names) facts.delete(name)
      else facts.clear()
    },
    connection: (node, lane, signal) =>
      translate(async () => {
        const address = node === undefined ? undefined : nodes.get(node)
        return address ? open(address, lane, signal) : anyBroker(lane, signal)
      }),
    close() {
      closed = true
      for (const connection of connections.values())
        connection.then(
          (made) => made.close(),
          () => {},
        )
      connections.clear()
    },
  }
}

/** `host:port`, `[v6]:port`. */
export function parseAddress(server: string): Address {
  const colon = server.lastIndexOf(':')
  const host = server.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  return { host, port: Number(server.slice(colon + 1)) }
}

function rotate<T>(list: readonly T[], by: number): T[] {
  const start = list.length === 0 ? 0 : by % list.length
  return [...list.slice(start), ...list.slice(0, start)]
}
