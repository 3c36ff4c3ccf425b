import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import {
  type Edit,
  edited,
  fullPipeline,
  leastBackfill,
  leastPipeline,
  postgres,
  redshift,
  warehouse,
} from './custom-resource-specs.ts'
import { type CustomResources, complaint, openCustomResources, type Written } from './custom-resources.ts'

// What a person sees who gets a spec wrong is part of the API, so the messages are compared to the letter.

const dryRun = { dryRun: true }
let api: CustomResources

beforeAll(async () => {
  api = await openCustomResources('crds')
})

afterAll(() => api?.close())

function pipeline(spec: object, name = 'shop'): Written {
  return { kind: 'Pipeline', metadata: { name }, spec }
}

function backfill(spec: object, name = 'once'): Written {
  return { kind: 'TableBackfill', metadata: { name }, spec }
}

const { workgroupName: _, ...clusterless } = redshift

describe('a Pipeline', () => {
  it('gets its defaults', async () => {
    const { spec } = await api.create<Pipeline>(pipeline(leastPipeline), dryRun)
    const security = { port: 5432, sslMode: 'Require' }
    const keys = { usernameKey: 'username', passwordKey: 'password' }
    expect(spec).toEqual({
      state: 'Running',
      source: {
        postgres: {
          ...postgres,
          ...security,
          credentialsSecretRef: { name: 'source', ...keys },
          heartbeatSeconds: 10,
        },
      },
      queue: { kafka: { bootstrapServers: ['kafka.example:9092'], retentionSeconds: 3600 } },
      destination: {
        postgres: {
          ...warehouse,
          ...security,
          credentialsSecretRef: { name: 'dw', ...keys },
          ledgerSchema: 'millrace',
        },
      },
      tables: [
        { schema: 'public', name: 'orders', initialBackfill: 'Enabled' },
        { schema: 'public', name: 'items', initialBackfill: 'Enabled' },
      ],
      backfill: { maxConcurrentTables: 10, parallelism: 5, chunkRows: 100_000, scan: 'Auto' },
      apply: { flushSeconds: 1, flushRows: 20_000, flushBytes: 16_777_216, deletes: 'Hard' },
      onGap: 'Backfill',
      deletionPolicy: 'Delete',
      podTemplate: {},
    })
  })

  it('keeps all that can be said', async () => {
    const { spec } = await api.create<Pipeline>(pipeline(fullPipeline), dryRun)
    expect(spec).toMatchObject(fullPipeline)
  })

  it('keeps the order of the tables', async () => {
    const tables = ['c', 'a', 'b'].map((name) => ({ name }))
    const { spec } = await api.create<Pipeline>(pipeline({ ...leastPipeline, tables }), dryRun)
    expect(spec.tables.map(({ name }) => name)).toEqual(['c', 'a', 'b'])
  })

  const taken: [what: string, edit: Edit][] = [
    ['no tables yet', (s) => (s.tables = [])],
    ['Redshift Serverless', (s) => (s.destination = { redshift })],
    [
      'a cluster of Redshift with a database user',
      (s) => (s.destination = { redshift: { ...clusterless, clusterIdentifier: 'dw', dbUser: 'loader' } }),
    ],
    ['one name in two schemas', (s) => (s.tables = [{ name: 'a' }, { schema: 'b', name: 'a' }])],
    [
      'names with dots that look alike when joined',
      (s) =>
        (s.tables = [
          { schema: 'a.b', name: 'c' },
          { schema: 'a', name: 'b.c' },
        ]),
    ],
    ['a server with a public certificate', (s) => (s.source.postgres.sslMode = 'VerifyFull')],
  ]

  it.each(taken)('may have %s', async (_, edit) => {
    expect(await complaint(api.create(pipeline(edited(leastPipeline, edit)), dryRun))).toBe('')
  })

  const refused: [what: string, edit: Edit, message: string][] = [
    [
      'no destination',
      (s) => (s.destination = {}),
      'spec.destination: Invalid value: "object": exactly one of postgres and redshift must be set: add one, or move one to another Pipeline (found neither)',
    ],
    [
      'two destinations',
      (s) => (s.destination.redshift = redshift),
      'spec.destination: Invalid value: "object": exactly one of postgres and redshift must be set: add one, or move one to another Pipeline (found both)',
    ],
    ['no source', (s) => delete s.source, 'spec.source: Required value'],
    [
      'no credentials',
      (s) => delete s.source.postgres.credentialsSecretRef,
      'spec.source.postgres.credentialsSecretRef: Required value',
    ],
    [
      'a host with a scheme',
      (s) => (s.source.postgres.host = 'postgres://db.example'),
      'spec.source.postgres.host: Invalid value: "string": host must be one DNS name or address: leave out scheme, user, path and further hosts (found "postgres://db.example")',
    ],
    [
      'an empty host',
      (s) => (s.source.postgres.host = ''),
      'spec.source.postgres.host: Invalid value: "string": host must be one DNS name or address: leave out scheme, user, path and further hosts (found "")',
    ],
    [
      'a port out of range',
      (s) => (s.source.postgres.port = 70_000),
      'spec.source.postgres.port: Invalid value: 70000: spec.source.postgres.port in body should be less than or equal to 65535',
    ],
    [
      'a port in quotes',
      (s) => (s.source.postgres.port = '5432'),
      'spec.source.postgres.port: Invalid value: "string": spec.source.postgres.port in body must be of type integer: "string"',
    ],
    [
      'an SSL mode as libpq spells it',
      (s) => (s.source.postgres.sslMode = 'verify-full'),
      'spec.source.postgres.sslMode: Unsupported value: "verify-full": supported values: "Disable", "Require", "VerifyCA", "VerifyFull"',
    ],
    [
      'an authority that nothing looks at',
      (s) => (s.source.postgres.caSecretRef = { name: 'ca' }),
      'spec.source.postgres.sslMode: Invalid value: "object": sslMode must be VerifyFull or VerifyCA when caSecretRef is set, since the other modes verify nothing: change sslMode or remove caSecretRef (found "Require")',
    ],
    [
      'the same at the destination',
      (s) => (s.destination.postgres.caSecretRef = { name: 'ca' }),
      'spec.destination.postgres.sslMode: Invalid value: "object": sslMode must be VerifyFull or VerifyCA when caSecretRef is set, since the other modes verify nothing: change sslMode or remove caSecretRef (found "Require")',
    ],
    [
      'a slot in upper case',
      (s) => (s.source.postgres.slot = 'Shop'),
      'spec.source.postgres.slot: Invalid value: "string": slot may hold lower case letters, digits and underscores only: that is what PostgreSQL allows (found "Shop")',
    ],
    [
      'a long slot',
      (s) => (s.source.postgres.slot = 'x'.repeat(64)),
      'spec.source.postgres.slot: Too long: may not be more than 63 bytes',
    ],
    [
      'a replica twice',
      (s) => (s.source.postgres.replicas = [{ host: 'a' }, { host: 'a', port: 5432 }]),
      'spec.source.postgres.replicas[1]: Duplicate value: {"host":"a","port":5432}',
    ],
    [
      'a Secret in upper case',
      (s) => (s.source.postgres.credentialsSecretRef.name = 'Source'),
      'spec.source.postgres.credentialsSecretRef.name: Invalid value: "string": name must be the name of a Secret: lower case letters, digits, hyphens and dots (found "Source")',
    ],
    [
      'a Secret with an odd key',
      (s) => (s.source.postgres.credentialsSecretRef.passwordKey = 'a/b'),
      'spec.source.postgres.credentialsSecretRef.passwordKey: Invalid value: "string": passwordKey must be a key of a Secret: letters, digits, hyphens, dots and underscores (found "a/b")',
    ],
    [
      'no broker',
      (s) => (s.queue.kafka.bootstrapServers = []),
      'spec.queue.kafka.bootstrapServers: Invalid value: 0: spec.queue.kafka.bootstrapServers in body should have at least 1 items',
    ],
    [
      'a broker without a port',
      (s) => (s.queue.kafka.bootstrapServers = ['kafka.example']),
      'spec.queue.kafka.bootstrapServers[0]: Invalid value: "string": each of bootstrapServers must be host:port, such as kafka.example:9092 (found "kafka.example")',
    ],
    [
      'brokers in one string',
      (s) => (s.queue.kafka.bootstrapServers = 'a:9092,b:9092'),
      'spec.queue.kafka.bootstrapServers: Invalid value: "string": spec.queue.kafka.bootstrapServers in body must be of type array: "string"',
    ],
    [
      'a broker twice',
      (s) => (s.queue.kafka.bootstrapServers = ['a:9092', 'a:9092']),
      'spec.queue.kafka.bootstrapServers[1]: Duplicate value: "a:9092"',
    ],
    [
      'an authority without TLS',
      (s) => (s.queue.kafka.tls = { enabled: false, caSecretRef: { name: 'ca' } }),
      'spec.queue.kafka.tls.enabled: Invalid value: "object": enabled must be true when caSecretRef is set: set enabled to true or remove caSecretRef',
    ],
    [
      'an unknown mechanism',
      (s) => (s.queue.kafka.sasl = { mechanism: 'SCRAM-SHA-512', credentialsSecretRef: { name: 'a' } }),
      'spec.queue.kafka.sasl.mechanism: Unsupported value: "SCRAM-SHA-512": supported values: "Plain", "ScramSha256", "ScramSha512"',
    ],
    [
      'a topic prefix with a slash',
      (s) => (s.queue.kafka.topicPrefix = 'a/b'),
      'spec.queue.kafka.topicPrefix: Invalid value: "string": topicPrefix may hold letters, digits, dots, underscores and hyphens only (found "a/b")',
    ],
    [
      'a table twice',
      (s) => s.tables.push({ schema: 'public', name: 'orders' }),
      '[spec.tables[2]: Duplicate value: {"name":"orders","schema":"public"}, spec: Invalid value: "object": insert failed: key "public"."orders" already exists evaluating rule: two entries of tables have the same destination: remove one, or give it another destination.schema or destination.name]',
    ],
    [
      'a table without a name',
      (s) => s.tables.push({ schema: 'public' }),
      'spec.tables[2].name: Required value',
    ],
    [
      'a table as a string',
      (s) => s.tables.push('public.orders'),
      'spec.tables[2]: Invalid value: "string": spec.tables[2] in body must be of type object: "string", spec.tables[2]: Invalid value: "public.orders": must be an object for an array of list-type map',
    ],
    [
      'a table with an unknown field',
      (s) => (s.tables[0].initialBackFill = 'Skip'),
      'Pipeline in version "v1alpha1" cannot be handled as a Pipeline: strict decoding error: unknown field "spec.tables[0].initialBackFill"',
    ],
    [
      'two tables with one destination',
      (s) => (s.tables[1].destination = { name: 'orders' }),
      'spec: Invalid value: "object": insert failed: key "public"."orders" already exists evaluating rule: two entries of tables have the same destination: remove one, or give it another destination.schema or destination.name',
    ],
    [
      'two tables that the default schema makes one',
      (s) => {
        s.destination.postgres.schema = 'raw'
        s.tables = [{ name: 'a' }, { schema: 'b', name: 'a' }]
      },
      'spec: Invalid value: "object": insert failed: key "raw"."a" already exists evaluating rule: two entries of tables have the same destination: remove one, or give it another destination.schema or destination.name',
    ],
    [
      'too many tables',
      (s) => (s.tables = Array.from({ length: 1001 }, (_, i) => ({ name: `t${i}` }))),
      'spec.tables: Too many: 1001: must have at most 1000 items',
    ],
    [
      'columns both included and excluded',
      (s) => (s.tables[0].columns = { include: ['a'], exclude: ['b'] }),
      'spec.tables[0].columns: Invalid value: "object": exactly one of include and exclude must be set: remove the other, or columns as a whole (found both)',
    ],
    [
      'columns neither included nor excluded',
      (s) => (s.tables[0].columns = {}),
      'spec.tables[0].columns: Invalid value: "object": exactly one of include and exclude must be set: remove the other, or columns as a whole (found neither)',
    ],
    [
      'a column twice',
      (s) => (s.tables[0].columns = { exclude: ['a', 'a'] }),
      'spec.tables[0].columns.exclude[1]: Duplicate value: "a"',
    ],
    [
      'a replica to read that is not listed',
      (s) => (s.backfill = { readFrom: 'Replica' }),
      'spec.backfill.readFrom: Invalid value: "object": readFrom Replica needs a replica: list one in source.postgres.replicas, or set readFrom to Primary',
    ],
    [
      'the same for one table',
      (s) => (s.tables[0].backfill = { readFrom: 'Replica' }),
      'spec.tables: Invalid value: "object": readFrom Replica needs a replica: list one in source.postgres.replicas, or set readFrom to Primary',
    ],
    [
      'no parallelism',
      (s) => (s.backfill = { parallelism: 0 }),
      'spec.backfill.parallelism: Invalid value: 0: spec.backfill.parallelism in body should be greater than or equal to 1',
    ],
    [
      'part of a second',
      (s) => (s.apply = { flushSeconds: 0.5 }),
      'spec.apply.flushSeconds: Invalid value: "number": spec.apply.flushSeconds in body must be of type integer: "number", spec.apply.flushSeconds: Invalid value: 0.5: spec.apply.flushSeconds in body should be greater than or equal to 1',
    ],
    [
      'an unknown state',
      (s) => (s.state = 'running'),
      'spec.state: Unsupported value: "running": supported values: "Running", "Paused", "Stopped"',
    ],
    [
      'an unknown field',
      (s) => (s.onGaps = 'Halt'),
      'Pipeline in version "v1alpha1" cannot be handled as a Pipeline: strict decoding error: unknown field "spec.onGaps"',
    ],
    [
      'an odd quantity',
      (s) => (s.podTemplate = { resources: { apply: { limits: { memory: '1 GB' } } } }),
      'spec.podTemplate.resources.apply.limits.memory: Invalid value: "1 GB": spec.podTemplate.resources.apply.limits.memory in body should match \'^[+-]?([0-9]+|[0-9]+[.][0-9]*|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$\'',
    ],
    [
      'Redshift without a cluster',
      (s) => (s.destination = { redshift: clusterless }),
      'spec.destination.redshift: Invalid value: "object": exactly one of clusterIdentifier and workgroupName must be set: the former for a provisioned cluster, the latter for Redshift Serverless (found neither)',
    ],
    [
      'Redshift with two clusters',
      (s) => (s.destination = { redshift: { ...redshift, clusterIdentifier: 'dw' } }),
      'spec.destination.redshift: Invalid value: "object": exactly one of clusterIdentifier and workgroupName must be set: the former for a provisioned cluster, the latter for Redshift Serverless (found both)',
    ],
    [
      'Redshift Serverless with a database user',
      (s) => (s.destination = { redshift: { ...redshift, dbUser: 'loader' } }),
      'spec.destination.redshift.dbUser: Invalid value: "object": dbUser is only for a provisioned cluster: remove it, then Redshift Serverless takes the IAM identity of the pods, or set secretArn',
    ],
    [
      'Redshift with two kinds of credentials',
      (s) => {
        const secretArn = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:dw'
        const login = { clusterIdentifier: 'dw', dbUser: 'loader', secretArn }
        s.destination = { redshift: { ...clusterless, ...login } }
      },
      'spec.destination.redshift: Invalid value: "object": dbUser and secretArn exclude each other: remove one of them',
    ],
    [
      'a bucket as a URL',
      (s) => (s.destination = { redshift: { ...redshift, s3: { bucket: 's3://load/x' } } }),
      'spec.destination.redshift.s3.bucket: Invalid value: "string": bucket must be the name of an S3 bucket: without s3:// and path, the latter goes into prefix (found "s3://load/x")',
    ],
    [
      'a region that is none',
      (s) => (s.destination = { redshift: { ...redshift, region: 'Frankfurt' } }),
      'spec.destination.redshift.region: Invalid value: "string": region must be one of AWS, such as eu-central-1 (found "Frankfurt")',
    ],
    [
      'a role by its name',
      (s) => (s.destination = { redshift: { ...redshift, iamRoleArn: 'loader' } }),
      'spec.destination.redshift.iamRoleArn: Invalid value: "string": iamRoleArn must be the ARN of a role: arn:aws:iam::<account>:role/<name> (found "loader")',
    ],
  ]

  it.each(refused)('is refused with %s', async (_, edit, message) => {
    expect(await complaint(api.create(pipeline(edited(leastPipeline, edit)), dryRun))).toBe(message)
  })

  it('is refused with a long name', async () => {
    const long = api.create(pipeline(leastPipeline, 'x'.repeat(53)), dryRun)
    expect(await complaint(long)).toBe(
      'metadata.name: Invalid value: "object": metadata.name must be at most 52 characters long, because pods are labelled with it: choose a shorter name',
    )
  })
})

describe('a TableBackfill', () => {
  it('gets its defaults', async () => {
    const { spec } = await api.create<TableBackfill>(backfill(leastBackfill), dryRun)
    expect(spec).toEqual({
      pipelineRef: { name: 'shop' },
      table: { schema: 'public', name: 'orders' },
      destinationTable: 'DoNothing',
      backfill: {},
      backoffLimit: 10,
      suspend: false,
      cancel: false,
    })
  })

  const refused: [what: string, edit: Edit, message: string][] = [
    ['no Pipeline', (s) => delete s.pipelineRef, 'spec.pipelineRef: Required value'],
    ['no table', (s) => delete s.table, 'spec.table: Required value'],
    [
      'a table as a string',
      (s) => (s.table = 'public.orders'),
      'spec.table: Invalid value: "string": spec.table in body must be of type object: "string"',
    ],
    [
      'an unknown action',
      (s) => (s.destinationTable = 'Recreate'),
      'spec.destinationTable: Unsupported value: "Recreate": supported values: "DoNothing", "Truncate", "Drop"',
    ],
    [
      'a comparison that empties',
      (s) => {
        s.verify = 'Only'
        s.destinationTable = 'Truncate'
      },
      'spec.verify: Invalid value: "object": verify Only copies nothing, so the destination table cannot be emptied before: leave destinationTable out, or set verify to AfterBackfill (found destinationTable Truncate)',
    ],
    [
      'an unknown comparison',
      (s) => (s.verify = 'Always'),
      'spec.verify: Unsupported value: "Always": supported values: "AfterBackfill", "Only"',
    ],
    [
      'a negative limit',
      (s) => (s.backoffLimit = -1),
      'spec.backoffLimit: Invalid value: -1: spec.backoffLimit in body should be greater than or equal to 0',
    ],
    [
      'a setting of the Pipeline',
      (s) => (s.backfill = { maxConcurrentTables: 1 }),
      'TableBackfill in version "v1alpha1" cannot be handled as a TableBackfill: strict decoding error: unknown field "spec.backfill.maxConcurrentTables"',
    ],
  ]

  it.each(refused)('is refused with %s', async (_, edit, message) => {
    expect(await complaint(api.create(backfill(edited(leastBackfill, edit)), dryRun))).toBe(message)
  })

  it('is refused with a long name', async () => {
    const long = api.create(backfill(leastBackfill, 'x'.repeat(64)), dryRun)
    expect(await complaint(long)).toBe(
      'metadata.name: Invalid value: "object": metadata.name must be at most 63 characters long, because pods are labelled with it: choose a shorter name',
    )
  })
})
