import { describe, expect, it } from 'vitest'
import type { PipelineSpec } from '../../crds/pipeline.ts'
import { pipeline, pipelineSpec, table } from '../../test/operator/objects.ts'
import type { Process } from '../labels.ts'
import { workerPod } from './pod.ts'
import { secretMounts } from './secret-mounts.ts'

const config = {
  image: 'millrace:x',
  imagePullPolicy: 'Never',
  imagePullSecrets: ['a'],
  logLevel: 'info',
  clusterRole: 'r',
}
const credentials = (name: string) => ({ name, usernameKey: 'user', passwordKey: 'pass' })
const ca = { name: 'ca', key: 'ca.pem' }

function everything(): PipelineSpec {
  const base = pipelineSpec()
  const replicas = [
    { host: 'r0', port: 5432 },
    { host: 'r1', port: 5432, credentialsSecretRef: credentials('replica') },
  ]
  return {
    ...base,
    source: { postgres: { ...base.source.postgres, caSecretRef: ca, replicas } },
    queue: {
      kafka: {
        ...base.queue.kafka,
        tls: { enabled: true, caSecretRef: ca },
        sasl: { mechanism: 'Plain', credentialsSecretRef: credentials('kafka') },
      },
    },
  }
}

describe('secretMounts', () => {
  it.each<[Process, string[]]>([
    ['capture', ['source', 'source-ca', 'kafka-sasl', 'kafka-ca']],
    ['apply', ['source', 'source-ca', 'replica-1', 'kafka-sasl', 'kafka-ca', 'destination']],
    ['backfill', ['source', 'source-ca', 'replica-1', 'destination']],
    ['cleanup', ['source', 'source-ca']],
  ])('gives %s what it needs and no more', (process, expected) => {
    expect(secretMounts(everything(), process).map(({ mount }) => mount)).toEqual(expected)
  })

  it('puts the keys of the Secret under fixed names', () => {
    const mounts = secretMounts(everything(), 'capture')
    expect(mounts.find(({ mount }) => mount === 'kafka-sasl')).toEqual({
      mount: 'kafka-sasl',
      secretName: 'kafka',
      items: [
        { key: 'user', path: 'username' },
        { key: 'pass', path: 'password' },
      ],
    })
    expect(mounts.find(({ mount }) => mount === 'source-ca')?.items).toEqual([
      { key: 'ca.pem', path: 'ca.crt' },
    ])
  })
})

describe('workerPod', () => {
  it('does not depend on the tables', () => {
    const one = workerPod(pipeline({ tables: [table('a')] }), 'apply', config)
    expect(workerPod(pipeline({ tables: [table('a'), table('b')] }), 'apply', config)).toEqual(one)
  })

  it('holds nothing secret in its environment', () => {
    const pod = workerPod(pipeline(everything()), 'apply', config)
    expect(pod.spec.containers[0]?.env?.every(({ valueFrom }) => valueFrom === undefined)).toBe(true)
  })

  it('takes settings over, but never our own labels', () => {
    const podTemplate = {
      labels: { team: 'x', 'app.kubernetes.io/managed-by': 'somebody' },
      nodeSelector: { disk: 'ssd' },
      imagePullSecrets: [{ name: 'b' }, { name: 'a' }],
      resources: { apply: { limits: { memory: '2Gi' } } },
    }
    const pod = workerPod(pipeline({ podTemplate }), 'apply', config)
    expect(pod.metadata.labels).toMatchObject({ team: 'x', 'app.kubernetes.io/managed-by': 'millrace' })
    expect(pod.spec).toMatchObject({
      nodeSelector: { disk: 'ssd' },
      imagePullSecrets: [{ name: 'a' }, { name: 'b' }],
      containers: [{ resources: { requests: { cpu: '50m' }, limits: { memory: '2Gi' } } }],
    })
    // Ours could be above a lower limit.
    expect(pod.spec.containers[0]?.resources?.requests).toEqual({ cpu: '50m' })
  })
})
