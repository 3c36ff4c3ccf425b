import { setTimeout as delay } from 'node:timers/promises'
import type { KafkaQueue } from '../../crds/pipeline.ts'
import { around } from '../../lib/failpoints.ts'
import type { Logger } from '../../lib/log.ts'
import type { Secrets } from '../runtime/context.ts'
import { createAdmin } from './kafka/admin.ts'
import { createCluster } from './kafka/cluster.ts'
import type { DriverOptions } from './kafka/driver.ts'
import { createProducer } from './kafka/producer.ts'
import { createReader } from './kafka/reader.ts'
import type { Queue } from './queue.ts'

const SPEC = 'spec.queue.kafka'
const CONNECT_TIMEOUT = 5_000
const REQUEST_TIMEOUT = 30_000
/** How long `close` waits for what is being sent, milliseconds. */
const CLOSE_TIMEOUT = 5_000

/**
 * The queue on Kafka. Connects when first used. Credentials and authorities are read from `secrets` again at every connect.
 *
 * @param settings `spec.queue.kafka` of the Pipeline
 */
export function createKafkaQueue(settings: KafkaQueue, secrets: Secrets, log: Logger): Queue {
  const closing = new AbortController()
  const cluster = createCluster(settings.bootstrapServers, driverOptions(settings, secrets))
  const admin = createAdmin(cluster, settings.replicationFactor)
  const producer = createProducer(cluster)
  const either = (signal: AbortSignal) => AbortSignal.any([signal, closing.signal])
  let closed: Promise<void> | undefined

  async function close(): Promise<void> {
    await Promise.race([producer.idle(), delay(CLOSE_TIMEOUT, undefined, { ref: false })])
    closing.abort(new Error('the queue was closed'))
    cluster.close()
    log.debug('Queue closed')
  }

  return {
    ensureTopic: (topic, signal) => around('queue.topic', () => admin.ensureTopic(topic, either(signal))),
    offsets: (topic, signal) => admin.offsets(topic, either(signal)),
    deleteBefore: (topic, offset, signal) =>
      around('queue.delete', () => admin.deleteBefore(topic, offset, either(signal))),
    readAll: (topic, signal) => admin.readAll(topic, either(signal)),
    send: (batches, signal) => producer.send(batches, either(signal)),
    openReader: (options) => createReader(cluster, admin.offsets, options),
    close: () => (closed ??= close()),
  }
}

function driverOptions(settings: KafkaQueue, secrets: Secrets): DriverOptions {
  const { tls, sasl } = settings
  return {
    clientId: 'millrace',
    usesTls: tls?.enabled === true,
    connectTimeout: CONNECT_TIMEOUT,
    requestTimeout: REQUEST_TIMEOUT,
    async tls() {
      if (!tls?.enabled) return undefined
      if (!tls.caSecretRef) return { ca: undefined }
      return { ca: await secrets.read('kafka-ca', 'ca.crt', `${SPEC}.tls.caSecretRef`) }
    },
    sasl: sasl && {
      mechanism: sasl.mechanism,
      async credentials() {
        const field = `${SPEC}.sasl.credentialsSecretRef`
        const [username, password] = await Promise.all([
          secrets.read('kafka-sasl', 'username', field),
          secrets.read('kafka-sasl', 'password', field),
        ])
        return { username, password }
      },
    },
  }
}
