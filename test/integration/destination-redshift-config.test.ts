import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RedshiftDestination } from '../../crds/redshift.ts'
import { freePort } from '../../hack/process/ports.ts'
import { MillraceError } from '../../lib/errors.ts'
import { s3Client } from '../emulator/s3/server.ts'
import { define, hard, nameOf, never } from './destination-postgres-fixture.ts'
import { openTestWarehouse, type TestWarehouse, useS3 } from './destination-redshift-fixture.ts'
import { BUCKET, ROLE, s3Server } from './emulator-setup.ts'

// What a person gets to read who has something wrong in spec.destination.redshift: which field, what was found, what to do.

useS3()
let warehouse: TestWarehouse
let nobody = ''

beforeAll(async () => {
  nobody = `http://127.0.0.1:${await freePort()}`
  warehouse = await openTestWarehouse('redshift_config', {
    targets: ['c1', 'wg'],
    iamRoles: [ROLE],
    restrictedUsers: ['redshift_guest'],
  })
})
afterAll(() => warehouse?.close())

async function complaint(spec: Partial<RedshiftDestination>): Promise<MillraceError> {
  const destination = warehouse.open('pipeline-1', { spec })
  try {
    await destination.check(never)
  } catch (error) {
    if (error instanceof MillraceError) return error
    throw error
  } finally {
    await destination.close()
  }
  throw new Error('the check has found nothing wrong')
}

const endpoints = () => ({ redshiftData: warehouse.emulator.url, s3: s3Server().endpoint })
const FIELD = 'spec.destination.redshift'

describe('a wrong', () => {
  it.each<[string, () => Partial<RedshiftDestination>, string, string, RegExp]>([
    [
      'clusterIdentifier',
      () => ({ clusterIdentifier: 'nosuch' }),
      'HostUnreachable',
      `${FIELD}.clusterIdentifier`,
      /doesn't exist in this region.*Name one that exists/,
    ],
    [
      'database',
      () => ({ database: 'nosuch' }),
      'DatabaseNotFound',
      `${FIELD}.database`,
      /database "nosuch" does not exist.*Create it, or name another/,
    ],
    [
      'bucket',
      () => ({ s3: { bucket: 'no-such-bucket', prefix: '' } }),
      'HostUnreachable',
      `${FIELD}.s3.bucket`,
      /bucket.*Create the bucket, or name another/i,
    ],
    [
      'role of COPY',
      () => ({ iamRoleArn: 'arn:aws:iam::123456789012:role/other' }),
      'PermissionDenied',
      `${FIELD}.iamRoleArn`,
      /not authorized to assume IAM Role.*s3:GetObject/,
    ],
    [
      'endpoint of the Data API',
      () => ({ endpoints: { ...endpoints(), redshiftData: nobody } }),
      'HostUnreachable',
      `${FIELD}.endpoints`,
      /ECONNREFUSED.*region and, where it is set, endpoints\.redshiftData/,
    ],
    [
      'name in the endpoint of the Data API',
      () => ({ endpoints: { ...endpoints(), redshiftData: 'http://nosuch.invalid' } }),
      'HostUnreachable',
      `${FIELD}.endpoints`,
      /nosuch\.invalid/,
    ],
    [
      'endpoint of S3',
      () => ({ endpoints: { ...endpoints(), s3: nobody } }),
      'HostUnreachable',
      `${FIELD}.endpoints`,
      /ECONNREFUSED.*s3\.region and, where it is set, endpoints\.s3/,
    ],
    [
      'user, without rights',
      () => ({ dbUser: 'redshift_guest' }),
      'PermissionDenied',
      `${FIELD}.ledgerSchema`,
      /permission denied.*Grant CREATE on the database, or create the schema/i,
    ],
  ])('%s', async (_, spec, code, field, message) => {
    const error = await complaint(spec())
    expect(error).toMatchObject({ code, field, retryable: true })
    expect(error.message).toMatch(message)
    expect(error.message).not.toContain(s3Server().secretAccessKey)
  })

  it('collation of the database', async () => {
    const insensitive = await openTestWarehouse('redshift_config_collation', {
      collation: 'case_insensitive',
    })
    const destination = insensitive.open()
    await expect(destination.check(never)).rejects.toMatchObject({
      code: 'InvalidSpec',
      retryable: true,
      field: `${FIELD}.database`,
      message: expect.stringContaining('COLLATE CASE_SENSITIVE'),
    })
    await destination.close()
    await insensitive.close()
  })

  it('region of the bucket', async () => {
    const abroad = await openTestWarehouse('redshift_config_abroad', { bucketRegion: 'eu-west-1' })
    const destination = abroad.open()
    await expect(destination.check(never)).rejects.toMatchObject({
      code: 'PermissionDenied',
      message: expect.stringContaining('set s3.region'),
    })
    await destination.close()
    await abroad.close()
  })
})

it('a right one is found right, and nothing is left in the bucket', async () => {
  const destination = warehouse.open('pipeline-1', { spec: { iamRoleArn: ROLE } })
  await destination.check(never)
  await destination.close()
  const client = s3Client(s3Server())
  const { Contents = [] } = await client.send(
    new ListObjectsV2Command({ Bucket: BUCKET, Prefix: 'redshift_config/' }),
  )
  client.destroy()
  expect(Contents.map(({ Key }) => Key)).toEqual([])
})

it('makes a table spread, sorted and encoded as the spec says', async () => {
  const definition = define('facts', ['id bigint', 'customer integer', 'at timestamp', 'body text'], ['id'])
  const destination = warehouse.open('pipeline-1', {
    spec: {
      iamRoleArn: ROLE,
      tables: [
        {
          schema: 'public',
          name: 'facts',
          distStyle: 'Key',
          distKey: 'customer',
          sortKey: ['at', 'customer'],
          columns: [
            { name: 'body', encoding: 'zstd', type: 'VARCHAR(300)' },
            { name: 'customer', encoding: 'az64' },
          ],
        },
      ],
    },
  })
  try {
    await destination.ledger.open(never)
    await destination.ensureTable(nameOf(definition), definition, hard, never)
    const columns = await warehouse.rows(
      `select column_name, data_type, encoding, distkey, sortkey from svv_redshift_columns where table_name = 'facts' order by ordinal_position`,
    )
    expect(columns.map((row) => row.slice(0, 1).concat(row.slice(3)))).toEqual([
      ['id', false, 0],
      ['customer', true, 2],
      ['at', false, 1],
      ['body', false, 0],
    ])
    expect(columns.map((row) => row[2])).toEqual([expect.anything(), 'az64', expect.anything(), 'zstd'])
    expect(columns[3]?.[1]).toBe('character varying(300)')
  } finally {
    await destination.close()
  }
})
