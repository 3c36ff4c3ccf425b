import type { MillraceError } from '../../lib/errors.ts'

/**
 * The port to the queue. Everything that Millrace asks of Kafka goes through these functions, so that the client library
 * can be replaced; `kafka/driver.ts` is the only file that imports one. Every topic has one partition.
 *
 * Failures are MillraceErrors: `QueueUnavailable` (retryable), `AuthenticationFailed`, `TLSFailed`, `HostUnreachable`,
 * `QueueLost` where a topic or an offset is gone.
 */
export interface Queue {
  /** Creates the topic with unlimited retention when it is missing; says whether this call created it. */
  ensureTopic(topic: string, signal: AbortSignal): Promise<{ created: boolean }>
  /** First offset that can be read, and the one after the last; undefined when there is no such topic. */
  offsets(topic: string, signal: AbortSignal): Promise<TopicOffsets | undefined>
  /** Deletes records before `offset` (rule R24: only what the ledger has passed). */
  deleteBefore(topic: string, offset: bigint, signal: AbortSignal): Promise<void>
  /**
   * Idempotent, acks=all, one request in flight. Resolves when the broker has acknowledged all of it; short failures are
   * bridged inside without changing the order. After an error some of it may be in the queue and some not: the caller
   * goes back to what it has recorded and sends everything after that again.
   */
  send(batches: readonly TopicBatch[], signal: AbortSignal): Promise<Placements>
  /** Reads the whole topic once, from its start to its present end; for small control topics. */
  readAll(topic: string, signal: AbortSignal): Promise<QueueRecord[]>
  /**
   * Reads topics from given offsets, without a consumer group: where to start is the ledger's fact, not Kafka's.
   * Topics can be added, moved, paused and removed at any time.
   */
  openReader(options: ReaderOptions): QueueReader
  /** Idempotent; finishes what is in flight, for at most 5 s. */
  close(): Promise<void>
}

export interface TopicOffsets {
  readonly earliest: bigint
  readonly end: bigint
}

/** By topic, where what was sent stands; a topic of which the broker did not say it is missing. */
export type Placements = ReadonlyMap<string, Placement>

export interface Placement {
  /**
   * Offset of the first record. Where a later one stands lower than it would behind that, because the topic was made anew in
   * between, it is as much lower.
   */
  readonly first: bigint
  /** Offset after the last record. */
  readonly end: bigint
}

export interface TopicBatch {
  readonly topic: string
  readonly records: readonly OutgoingRecord[]
}

/** Largest record that `send` takes, in bytes of value, key and headers together. */
export const MAX_RECORD_BYTES = 900_000

export interface OutgoingRecord {
  readonly value: Buffer
  readonly headers?: Readonly<Record<string, string>>
  readonly key?: string
}

export interface QueueRecord {
  readonly topic: string
  readonly offset: bigint
  /** Broker's or producer's time, milliseconds since 1970. */
  readonly timestamp: number
  readonly key: string | undefined
  readonly value: Buffer
  readonly headers: Readonly<Record<string, string>>
}

export interface ReaderOptions {
  /** How many bytes one fetch may bring for one topic; a larger single record still comes through. */
  readonly maxBytesPerTopic: number
  /** How many bytes one fetch may bring in all. */
  readonly maxBytes: number
  /** How long the broker may wait for new records, milliseconds. */
  readonly maxWaitMilliseconds: number
}

export interface QueueReader {
  /** Starts or moves a topic to an offset. Records fetched before the move are never delivered after it. */
  seek(topic: string, offset: bigint): void
  /** No more records of it are delivered until the next `seek`. */
  remove(topic: string): void
  /** Keeps the place but fetches nothing: back-pressure by topic. */
  pause(topic: string): void
  resume(topic: string): void
  /**
   * The next records of any topic, in offset order within each; resolves with an empty list when `maxWaitMilliseconds`
   * passed or when woken. An offset that does not exist any more is reported per topic, not thrown.
   */
  next(signal: AbortSignal): Promise<Fetched>
  /** Makes a `next` that waits return at once. */
  wake(): void
  close(): Promise<void>
}

export interface Fetched {
  readonly records: readonly QueueRecord[]
  /** Topics whose offset is out of range or which are gone, with what exists. */
  readonly lost: readonly {
    readonly topic: string
    readonly wanted: bigint
    readonly offsets: TopicOffsets | undefined
  }[]
  /** Topics that cannot be read, for lack of rights for example, with why; not read again before the next `seek`. */
  readonly failed: readonly { readonly topic: string; readonly error: MillraceError }[]
  /** Offset after the last record at the time of the fetch, for each topic fetched. */
  readonly ends: ReadonlyMap<string, bigint>
}
