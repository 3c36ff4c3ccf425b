import { MillraceError } from '../../../lib/errors.ts'

const SPEC = 'spec.queue.kafka'

/** A connection to a broker could not be made, or broke. Never leaves the queue: `toQueueError` turns it into a MillraceError. */
export class ConnectionFailed extends Error {
  readonly broker: string
  /** The system's or TLS' code, `SASL` for refused credentials, empty when it just ended. */
  readonly code: string

  constructor(address: { host: string; port: number }, code: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'ConnectionFailed'
    this.broker = `${address.host}:${address.port}`
    this.code = code
  }

  /** MillraceErrors, such as a missing Secret, pass through. */
  static from(thrown: unknown, address: { host: string; port: number }): ConnectionFailed | MillraceError {
    if (thrown instanceof ConnectionFailed || thrown instanceof MillraceError) return thrown
    const error = thrown as { name?: string; code?: unknown; type?: string; message?: string }
    const message = error.message ?? String(thrown)
    return new ConnectionFailed(address, codeOf(error, message), message, thrown)
  }
}

// kafkajs wraps whatever goes wrong during authentication, a lost connection too, into the same error.
function codeOf(
  error: { name?: string | undefined; code?: unknown; type?: string | undefined },
  message: string,
) {
  if (
    /Closed connection|Connection (error|timeout|closed)|Not connected|the connection was closed/.test(
      message,
    )
  )
    return typeof error.code === 'string' ? error.code : ''
  if (error.name === 'KafkaJSSASLAuthenticationError' || error.type?.startsWith('SASL_')) return 'SASL'
  if (error.type?.includes('SASL')) return 'SASL'
  return typeof error.code === 'string' ? error.code : ''
}

/** What a person has to know about the configuration when a connection fails. */
export interface ErrorContext {
  readonly bootstrapServers: readonly string[]
  readonly tls: boolean
  readonly sasl: boolean
  /** False until the brokers were reached once: then it is more likely the configuration that is wrong. */
  readonly reachedBefore: boolean
}

const NOT_FOUND = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'ENODATA'])
const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EHOSTDOWN',
])
const TLS_CODE = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO|HOSTNAME_MISMATCH)/

/** Anything that the connection level threw, as the port promises it. */
export function toQueueError(thrown: unknown, context: ErrorContext): unknown {
  if (!(thrown instanceof ConnectionFailed)) return thrown
  const { broker, code, message } = thrown
  const make = (
    kind: ConstructorParameters<typeof MillraceError>[0],
    field: string,
    text: string,
  ): MillraceError => new MillraceError(kind, `${field}: ${text}`, { field, cause: thrown })
  if (code === 'SASL')
    return make(
      'AuthenticationFailed',
      `${SPEC}.sasl.credentialsSecretRef`,
      `${broker} refused the user name or password (${message}): correct the Secret, or the mechanism in ${SPEC}.sasl.mechanism`,
    )
  if (TLS_CODE.test(code))
    return make(
      'TLSFailed',
      `${SPEC}.tls`,
      `TLS with ${broker} failed (${code}: ${message}): check that the port speaks TLS and that caSecretRef holds the authority that signed the broker's certificate`,
    )
  if (NOT_FOUND.has(code))
    return make(
      'HostUnreachable',
      `${SPEC}.bootstrapServers`,
      `the host name of ${broker} is not known (${code}): correct it, or the brokers' advertised.listeners if it is not in the list`,
    )
  if (UNREACHABLE.has(code) && !context.reachedBefore)
    return make(
      'HostUnreachable',
      `${SPEC}.bootstrapServers`,
      `no broker can be reached, tried ${context.bootstrapServers.join(', ')} (last ${broker}: ${code}): check host, port and network policies`,
    )
  return make('QueueUnavailable', `${SPEC}.bootstrapServers`, unavailable(thrown, context))
}

function unavailable({ broker, code, message }: ConnectionFailed, context: ErrorContext): string {
  const what = code || message
  if (context.reachedBefore) return `the connection to ${broker} failed (${what}); it is tried again`
  // A broker that expects something else than it gets just hangs up.
  const advice = [
    context.tls
      ? 'the port does not speak TLS (spec.queue.kafka.tls)'
      : 'the port wants TLS (spec.queue.kafka.tls)',
    ...(context.sasl ? [] : ['the brokers want a user (spec.queue.kafka.sasl)']),
  ]
  return `${broker} hung up (${what}): it may be starting; if it stays so, perhaps ${advice.join(', or ')}`
}

/**
 * An error code that a broker gave for one topic, as the port promises it.
 *
 * @param said what the broker has to say about it
 */
export function brokerError(name: string, what: string, topic: string, said = ''): MillraceError {
  if (/AUTHORIZATION_FAILED$/.test(name))
    return new MillraceError(
      'PermissionDenied',
      `${SPEC}: the user may not ${what} topic ${topic} (${name}): grant it on the brokers`,
      { field: `${SPEC}.sasl.credentialsSecretRef` },
    )
  if (name === 'POLICY_VIOLATION' || name === 'INVALID_REPLICATION_FACTOR')
    return new MillraceError(
      'InvalidSpec',
      `${SPEC}.replicationFactor: the brokers refuse to ${what} topic ${topic} (${name}): set a factor that they accept`,
      { field: `${SPEC}.replicationFactor`, retryable: true },
    )
  // A user who removes the other topic, or the table, should not have to restart anything.
  if (name === 'INVALID_TOPIC_EXCEPTION')
    return new MillraceError(
      'InvalidSpec',
      `${SPEC}.topicPrefix: the brokers refuse to ${what} topic ${topic} (${said || name}): Kafka takes "." and "_" in the names of topics for the same, so two tables whose names differ by that alone need Pipelines of different topicPrefix; a topic that is not used any more can be deleted`,
      { field: `${SPEC}.topicPrefix`, retryable: true },
    )
  return new MillraceError('QueueUnavailable', `${SPEC}: cannot ${what} topic ${topic}: ${name}`, {
    field: `${SPEC}.bootstrapServers`,
  })
}

/** Error codes that pass by themselves, after asking for the leader again. */
export function isTransient(name: string): boolean {
  return TRANSIENT.has(name)
}

const TRANSIENT = new Set([
  'UNKNOWN_TOPIC_OR_PARTITION',
  'LEADER_NOT_AVAILABLE',
  'NOT_LEADER_FOR_PARTITION',
  'REQUEST_TIMED_OUT',
  'REPLICA_NOT_AVAILABLE',
  'NETWORK_EXCEPTION',
  'NOT_ENOUGH_REPLICAS',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'NOT_CONTROLLER',
  'KAFKA_STORAGE_ERROR',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'OFFSET_NOT_AVAILABLE',
  'GROUP_LOAD_IN_PROGRESS',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'NOT_COORDINATOR_FOR_GROUP',
  'CONCURRENT_TRANSACTIONS',
  'LISTENER_NOT_FOUND',
])
