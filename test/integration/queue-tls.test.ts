import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../hack/process/ports.ts'
import { run } from '../../hack/process/run.ts'
import { type KafkaHandle, startKafka } from '../../hack/services/kafka.ts'
import { createLogger } from '../../lib/log.ts'
import { createKafkaQueue } from '../../workers/queue/kafka.ts'
import type { Queue } from '../../workers/queue/queue.ts'
import { tempDir } from './services.ts'

// A broker with two more listeners: TLS, and TLS with a user.

const signal = AbortSignal.timeout(600_000)
const files = new Map<string, string>()
const opened: Queue[] = []
let broker: KafkaHandle

const secrets = {
  read: async (mount: string, file: string) => files.get(`${mount}/${file}`) ?? '',
}

beforeAll(async () => {
  const dir = tempDir()
  const [key, certificate] = [`${dir}/key.pem`, `${dir}/cert.pem`]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const newKey = ['-newkey', 'rsa:2048', '-nodes', '-keyout', key]
  await run(['openssl', 'req', '-x509', '-days', '1', ...newKey, ...subject, '-out', certificate])
  const pem = (path: string) => readFileSync(path, 'utf8').trim().split('\n').join(' \\\n')
  const ports = [await freePort(), await freePort()]
  const plain = 'org.apache.kafka.common.security.plain.PlainLoginModule'
  broker = await startKafka({
    dir: `${dir}/kafka`,
    moreListeners: ports.map((port) => ({ host: '127.0.0.1', port })),
    settings: {
      'listener.security.protocol.map': 'CLIENT0:PLAINTEXT,CLIENT1:SSL,CLIENT2:SASL_SSL,CONTROLLER:PLAINTEXT',
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.certificate.chain': pem(certificate),
      'ssl.keystore.key': pem(key),
      'sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.client2.plain.sasl.jaas.config': `${plain} required user_app="right" user_new="newer";`,
    },
  })
  files.set('kafka-ca/ca.crt', readFileSync(certificate, 'utf8'))
}, 120_000)

afterAll(async () => {
  await Promise.all(opened.map((queue) => queue.close()))
  await broker.kill9()
})

function open(listener: number, options: { ca?: boolean; host?: string; user?: boolean }): Queue {
  const address = broker.more[listener] ?? ''
  const queue = createKafkaQueue(
    {
      bootstrapServers: [options.host ? address.replace('127.0.0.1', options.host) : address],
      retentionSeconds: 1,
      tls: { enabled: true, ...(options.ca !== false && { caSecretRef: { name: 'ca', key: 'ca.crt' } }) },
      ...(options.user && {
        sasl: {
          mechanism: 'Plain' as const,
          credentialsSecretRef: { name: 'kafka', usernameKey: 'username', passwordKey: 'password' },
        },
      }),
    },
    secrets,
    createLogger('test', 'silent'),
  )
  opened.push(queue)
  return queue
}

describe('TLS', () => {
  it('encrypts and verifies', async () => {
    const queue = open(0, {})
    expect(await queue.ensureTopic('tls', signal)).toEqual({ created: true })
    await queue.send([{ topic: 'tls', records: [{ value: Buffer.from('a') }] }], signal)
    expect((await queue.readAll('tls', signal)).length).toBe(1)
  })

  it('refuses a broker that an unknown authority signed', async () => {
    await expect(open(0, { ca: false }).offsets('tls', signal)).rejects.toMatchObject({
      code: 'TLSFailed',
      field: 'spec.queue.kafka.tls',
      message: expect.stringContaining('caSecretRef'),
    })
  })
})

describe('a user', () => {
  it('is refused with a wrong password, and let in once the Secret is right, without a restart', async () => {
    files.set('kafka-sasl/username', 'app')
    files.set('kafka-sasl/password', 'wrong')
    const queue = open(1, { user: true })
    await expect(queue.offsets('sasl', signal)).rejects.toMatchObject({
      code: 'AuthenticationFailed',
      retryable: true,
      field: 'spec.queue.kafka.sasl.credentialsSecretRef',
      message: expect.not.stringContaining('wrong'),
    })
    files.set('kafka-sasl/password', 'right')
    expect(await queue.ensureTopic('sasl', signal)).toEqual({ created: true })
    const reader = queue.openReader({ maxBytes: 1000, maxBytesPerTopic: 1000, maxWaitMilliseconds: 500 })
    reader.seek('sasl', 0n)
    await queue.send([{ topic: 'sasl', records: [{ value: Buffer.from('a') }] }], signal)
    expect((await reader.next(signal)).records.length).toBe(1)
    files.set('kafka-sasl/username', 'new')
    files.set('kafka-sasl/password', 'newer')
    await broker.restart()
    await queue.send([{ topic: 'sasl', records: [{ value: Buffer.from('b') }] }], signal)
    expect((await queue.readAll('sasl', signal)).length).toBe(2)
    await reader.close()
  })

  it('is asked for when the brokers want one', async () => {
    await expect(open(1, {}).offsets('sasl', signal)).rejects.toMatchObject({
      message: expect.stringContaining('spec.queue.kafka.sasl'),
    })
  })
})
