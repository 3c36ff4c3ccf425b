// The parts of kafkajs 2.2.4 that Millrace uses, below its public interface; only `driver.ts` imports them.

interface KafkaJsLogger {
  namespace(name: string): KafkaJsLogger
}

interface KafkaJsRequest {
  readonly request: object
  readonly response: {
    decode(payload: Buffer): Promise<unknown>
    parse(decoded: unknown): Promise<unknown>
  }
  readonly requestTimeout?: number
}

type KafkaJsProtocol = (args: object) => KafkaJsRequest

interface KafkaJsDefinition {
  readonly versions: readonly string[]
  protocol(options: { version: number }): KafkaJsProtocol
}

type KafkaJsVersions = Record<number, { minVersion: number; maxVersion: number }>

interface KafkaJsSaslArguments {
  readonly host: string
  readonly port: number
  readonly logger: object
  saslAuthenticate(exchange: object): Promise<unknown>
}

type KafkaJsSaslProvider = (args: KafkaJsSaslArguments) => { authenticate(): Promise<void> }

declare module 'kafkajs/src/network/connection.js' {
  export default class Connection {
    constructor(options: object)
    socket: import('node:net').Socket | undefined
    connectionStatus: string
    requestQueue: { rejectAll(error: Error): void; destroy(): void }
    connect(): Promise<boolean>
    isConnected(): boolean
    authenticate(): Promise<void>
    setVersions(versions: KafkaJsVersions): void
    setSupportAuthenticationProtocol(supported: boolean): void
    send(call: KafkaJsRequest & { logResponseError: boolean }): Promise<unknown>
  }
}

declare module 'kafkajs/src/network/requestQueue/index.js' {
  export default class RequestQueue {
    pending: unknown[]
    throttledUntil: number
    scheduleCheckPendingRequests(): void
  }
}

declare module 'kafkajs/src/protocol/requests/index.js' {
  const exported: {
    requests: Record<string, KafkaJsDefinition>
    lookup(versions: KafkaJsVersions): (apiKey: number, definition: KafkaJsDefinition) => KafkaJsProtocol
  }
  export default exported
}

declare module 'kafkajs/src/protocol/requests/apiKeys.js' {
  const apiKeys: Record<string, number>
  export default apiKeys
}

declare module 'kafkajs/src/protocol/decoder.js' {
  export default class Decoder {
    constructor(buffer: Buffer)
    offset: number
    readInt16(): number
    readInt32(): number
    readInt64(): bigint
    readString(): string
    readBytes(length?: number): Buffer
    canReadBytes(length: number): boolean
    readArray<T>(read: (decoder: Decoder) => T): T[]
  }
}

declare module 'kafkajs/src/protocol/recordBatch/v0/decoder.js' {
  export default function decodeBatch(decoder: import('kafkajs/src/protocol/decoder.js').default): Promise<{
    firstOffset: string
    lastOffsetDelta: number
    isControlBatch: boolean
    records: readonly {
      offset: string
      timestamp: string
      key: Buffer | null
      value: Buffer | null
      headers: Record<string, Buffer | Buffer[] | null>
    }[]
  }>
}

declare module 'kafkajs/src/protocol/message/compression/index.js' {
  interface Codec {
    compress(encoder: { buffer: Buffer }): Promise<Buffer>
    decompress(buffer: Buffer): Promise<Buffer>
  }
  const compression: { Types: { None: number; ZSTD: number }; Codecs: Record<number, () => Codec> }
  export default compression
}

declare module 'kafkajs/src/protocol/error.js' {
  const exported: {
    errorCodes: readonly { type: string; code: number; message: string; retriable: boolean }[]
  }
  export default exported
}

declare module 'kafkajs/src/loggers/index.js' {
  const exported: {
    createLogger(options: { level: number; logCreator: () => (entry: object) => void }): KafkaJsLogger
  }
  export default exported
}

declare module 'kafkajs/src/broker/saslAuthenticator/plain.js' {
  export default function plain(credentials: { username: string; password: string }): KafkaJsSaslProvider
}
declare module 'kafkajs/src/broker/saslAuthenticator/scram256.js' {
  export default function scram(credentials: { username: string; password: string }): KafkaJsSaslProvider
}
declare module 'kafkajs/src/broker/saslAuthenticator/scram512.js' {
  export default function scram(credentials: { username: string; password: string }): KafkaJsSaslProvider
}
