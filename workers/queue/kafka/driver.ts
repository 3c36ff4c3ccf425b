import type { Socket } from 'node:net'
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import plain from 'kafkajs/src/broker/saslAuthenticator/plain.js'
import scram256 from 'kafkajs/src/broker/saslAuthenticator/scram256.js'
import scram512 from 'kafkajs/src/broker/saslAuthenticator/scram512.js'
import loggers from 'kafkajs/src/loggers/index.js'
import Connection from 'kafkajs/src/network/connection.js'
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js'
import Decoder from 'kafkajs/src/protocol/decoder.js'
import protocolErrors from 'kafkajs/src/protocol/error.js'
import compression from 'kafkajs/src/protocol/message/compression/index.js'
import decodeBatch from 'kafkajs/src/protocol/recordBatch/v0/decoder.js'
import apiKeys from 'kafkajs/src/protocol/requests/apiKeys.js'
import protocol from 'kafkajs/src/protocol/requests/index.js'
import type { QueueRecord } from '../queue.ts'
import { dial } from './dial.ts'
import { ConnectionFailed } from './errors.ts'

// The only file that imports kafkajs. Taken from it are its connection and its wire protocol. Its producer and consumer are
// not: they retry without end or abort, throw away what the other topics of a request answered when one fails, and an
// idempotent producer that has lost its place in the sequence never finds it again.

// kafkajs 2.2.4 arms a timer again every millisecond for as long as a connection lives, 5 % of a core each. It is needed only
// while requests wait because the broker asked for a pause.
const schedule = RequestQueue.prototype.scheduleCheckPendingRequests
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.pending.length > 0) schedule.call(this)
}

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }
compression.Codecs[compression.Types.ZSTD] = () => ({
  compress: (encoder) => compress(encoder.buffer, ZSTD),
  decompress: (buffer) => decompress(buffer),
})

export interface Address {
  readonly host: string
  readonly port: number
}

export interface TlsSettings {
  readonly ca: string | undefined
}

export type SaslMechanism = 'Plain' | 'ScramSha256' | 'ScramSha512'

export interface SaslSettings {
  readonly mechanism: SaslMechanism
  /** Called at every authentication, so that rotated credentials are taken up. */
  credentials(): Promise<{ username: string; password: string }>
}

export interface DriverOptions {
  readonly clientId: string
  readonly usesTls: boolean
  /** Read at every connect; undefined = plain text. */
  tls(): Promise<TlsSettings | undefined>
  readonly sasl: SaslSettings | undefined
  /** Milliseconds. */
  readonly connectTimeout: number
  /** Milliseconds until an unanswered request counts as lost; a long poll adds its own wait. */
  readonly requestTimeout: number
}

/** One connection to one broker; once broken it stays so. */
export interface KafkaConnection {
  /**
   * One request; resolves with the decoded answer, error codes of its entries left in place. Throws `ConnectionFailed`; a signal
   * that aborts closes the connection, since the answer could not be told from that of a later request.
   */
  call<T>(api: Api, args: object, signal: AbortSignal): Promise<T>
  /** One fetch request over many topics, partition 0 of each. */
  fetch(request: FetchRequest, signal: AbortSignal): Promise<FetchedTopic[]>
  readonly closed: boolean
  close(): void
}

export type Api =
  | 'Metadata'
  | 'Produce'
  | 'ListOffsets'
  | 'CreateTopics'
  | 'DeleteRecords'
  | 'DescribeConfigs'
  | 'InitProducerId'

export interface FetchRequest {
  /** In this order: the first that has records gets one of any size (KIP-74). */
  readonly topics: readonly { readonly topic: string; readonly offset: bigint }[]
  readonly maxBytes: number
  readonly maxBytesPerTopic: number
  /** Milliseconds. */
  readonly maxWait: number
}

export interface FetchedTopic {
  readonly topic: string
  readonly error: string
  readonly end: bigint
  /** Record batches as they came, compressed; the last may be cut off. */
  readonly batches: Buffer
}

const MECHANISMS: Record<SaslMechanism, { name: string; provider: typeof plain }> = {
  Plain: { name: 'PLAIN', provider: plain },
  ScramSha256: { name: 'SCRAM-SHA-256', provider: scram256 },
  ScramSha512: { name: 'SCRAM-SHA-512', provider: scram512 },
}

/** Connects and authenticates. Throws `ConnectionFailed`, or what reading credentials threw. */
export async function openConnection(
  address: Address,
  options: DriverOptions,
  signal: AbortSignal,
): Promise<KafkaConnection> {
  signal.throwIfAborted()
  const socket = await dial(address, await options.tls(), options.connectTimeout, signal)
  const raw = newConnection(address, socket, options)
  let closed = false
  const close = () => {
    if (closed) return
    closed = true
    raw.connectionStatus = 'disconnected'
    raw.requestQueue.rejectAll(new Error('the connection was closed'))
    raw.requestQueue.destroy()
    socket.destroy()
  }
  socket.on('close', close)
  const send = (prepared: KafkaJsRequest) => raw.send({ ...prepared, logResponseError: false })
  const guarded = async <T>(work: () => Promise<T>, abort: AbortSignal, wait = 0): Promise<T> => {
    abort.throwIfAborted()
    const limit = options.requestTimeout + wait
    let late = false
    const timer = setTimeout(() => {
      late = true
      close()
    }, limit)
    abort.addEventListener('abort', close, { once: true })
    try {
      if (closed) throw new Error('the connection was closed')
      return await work()
    } catch (thrown) {
      close()
      if (abort.aborted) throw abort.reason
      if (late) throw new ConnectionFailed(address, 'ETIMEDOUT', `no answer within ${limit / 1000} s`)
      throw ConnectionFailed.from(thrown, address)
    } finally {
      clearTimeout(timer)
      abort.removeEventListener('abort', close)
    }
  }
  const lookup = await guarded(() => greet(raw, send), signal)

  return {
    get closed() {
      return closed
    },
    close,
    async call<T>(api: Api, args: object, abort: AbortSignal) {
      const { request, response } = lookup(apiKeys[api] ?? -1, definition(api))(args)
      const answer = { decode: response.decode, parse: async (decoded: unknown) => decoded }
      return (await guarded(() => send({ request, response: answer }), abort)) as T
    },
    async fetch(fetch, abort) {
      const prepared = lookup(apiKeys.Fetch ?? 1, FETCH)(fetchArguments(fetch))
      // Not kafkajs' decoder: it unpacks every record of the answer at once, many times the bytes that were asked for.
      const response = { decode: decodeFetch, parse: async (decoded: unknown) => decoded }
      return (await guarded(() => send({ ...prepared, response }), abort, fetch.maxWait)) as FetchedTopic[]
    },
  }
}

function newConnection(address: Address, socket: Socket, options: DriverOptions): Connection {
  const { sasl, clientId } = options
  return new Connection({
    ...address,
    clientId,
    // What it logs is thrown as well.
    logger: loggers.createLogger({ level: 0, logCreator: () => () => {} }),
    ssl: null,
    sasl: sasl && {
      mechanism: MECHANISMS[sasl.mechanism].name,
      authenticationProvider: (args: KafkaJsSaslArguments) => ({
        authenticate: async () =>
          MECHANISMS[sasl.mechanism]
            .provider(await sasl.credentials())(args)
            .authenticate(),
      }),
    },
    connectionTimeout: options.connectTimeout,
    requestTimeout: options.requestTimeout,
    // Its own check runs ten times a second on every connection.
    enforceRequestTimeout: false,
    maxInFlightRequests: 1,
    // The socket is connected already, so that TLS and time-outs are in our hands.
    socketFactory: ({ onConnect }: { onConnect: () => void }) => {
      queueMicrotask(onConnect)
      return socket
    },
  })
}

/** Agrees on versions and authenticates. */
async function greet(raw: Connection, send: (prepared: KafkaJsRequest) => Promise<unknown>) {
  await raw.connect()
  const { apiVersions } = (await send(definition('ApiVersions').protocol({ version: 0 })({}))) as {
    apiVersions: readonly { apiKey: number; minVersion: number; maxVersion: number }[]
  }
  const versions: KafkaJsVersions = Object.fromEntries(apiVersions.map((entry) => [entry.apiKey, entry]))
  raw.setVersions(versions)
  raw.setSupportAuthenticationProtocol(true)
  await raw.authenticate()
  return protocol.lookup(versions)
}

function definition(api: string): KafkaJsDefinition {
  const found = protocol.requests[api]
  if (!found) throw new Error(`kafkajs does not know ${api}`)
  return found
}

// Pinned, because the decoder below reads exactly this version. Every broker from 2.3 on speaks it.
const FETCH: KafkaJsDefinition = { ...definition('Fetch'), versions: ['11'] }

function fetchArguments(fetch: FetchRequest): object {
  return {
    isolationLevel: 0,
    maxWaitTime: fetch.maxWait,
    minBytes: 1,
    maxBytes: fetch.maxBytes,
    topics: fetch.topics.map(({ topic, offset }) => ({
      topic,
      partitions: [{ partition: 0, fetchOffset: String(offset), maxBytes: fetch.maxBytesPerTopic }],
    })),
  }
}

async function decodeFetch(payload: Buffer): Promise<FetchedTopic[]> {
  const decoder = new Decoder(payload)
  decoder.readInt32() // throttle time: one request at a time needs no more throttling than the broker's own delay
  const errorCode = decoder.readInt16()
  decoder.readInt32() // session
  if (errorCode !== 0) throw new Error(`fetch: ${errorName(errorCode)}`)
  return decoder.readArray((entry) => {
    const topic = entry.readString()
    const [partition] = entry.readArray(decodePartition)
    return { topic, error: '', end: 0n, batches: Buffer.alloc(0), ...partition }
  })
}

function decodePartition(decoder: Decoder) {
  decoder.readInt32() // partition
  const error = errorName(decoder.readInt16())
  const end = decoder.readInt64()
  decoder.readInt64() // last stable offset
  decoder.readInt64() // log start offset
  decoder.readArray((aborted) => [aborted.readInt64(), aborted.readInt64()])
  decoder.readInt32() // preferred read replica
  const size = decoder.readInt32()
  return { error, end, batches: size > 0 ? decoder.readBytes(size) : Buffer.alloc(0) }
}

/** Length of the head of a record batch: first offset and length. */
const BATCH_HEAD = 12

export interface UnpackedBatch {
  readonly records: readonly QueueRecord[]
  /** Offset after the batch, whether or not it holds records. */
  readonly nextOffset: bigint
  /** The batches that follow. */
  readonly rest: Buffer
}

/** Decompresses the first of some record batches; undefined when none is complete. */
export async function unpackBatch(topic: string, batches: Buffer): Promise<UnpackedBatch | undefined> {
  if (batches.length < BATCH_HEAD) return undefined
  const size = BATCH_HEAD + batches.readInt32BE(8)
  if (batches.length < size) return undefined
  const batch = await decodeBatch(new Decoder(batches.subarray(0, size)))
  const records = batch.isControlBatch ? [] : batch.records
  return {
    records: records.map((record) => ({
      topic,
      offset: BigInt(record.offset),
      timestamp: Number(record.timestamp),
      key: record.key?.toString(),
      value: record.value ?? Buffer.alloc(0),
      headers: Object.fromEntries(
        Object.entries(record.headers).map(([name, value]) => [name, String(value ?? '')]),
      ),
    })),
    nextOffset: BigInt(batch.firstOffset) + BigInt(batch.lastOffsetDelta) + 1n,
    rest: batches.subarray(size),
  }
}

const NAMES = new Map(protocolErrors.errorCodes.map((entry) => [entry.code, entry.type]))

/** Kafka's name of an error code, empty for success. */
export function errorName(code: number): string {
  return code === 0 ? '' : (NAMES.get(code) ?? `error ${code}`)
}

/** Value of `compression` in a produce request. */
export const ZSTD_COMPRESSION = compression.Types.ZSTD
