import { expect, it } from 'vitest'
import { awsSettings } from './settings.ts'

it('names what is missing', () => {
  expect(awsSettings({})).toEqual({
    missing: [
      'REDSHIFT_REGION',
      'REDSHIFT_DATABASE',
      'REDSHIFT_BUCKET',
      'REDSHIFT_WORKGROUP or REDSHIFT_CLUSTER',
    ],
  })
})

it('makes a destination of what is there, and passes only the AWS identity on', () => {
  const env = {
    REDSHIFT_REGION: 'eu-central-1',
    REDSHIFT_DATABASE: 'tests',
    REDSHIFT_BUCKET: 'b',
    REDSHIFT_WORKGROUP: 'wg',
    AWS_PROFILE: 'p',
    OTHER: 'o',
  }
  expect(awsSettings(env)).toEqual({
    destination: {
      region: 'eu-central-1',
      workgroupName: 'wg',
      database: 'tests',
      s3: { bucket: 'b', prefix: 'millrace-test/' },
    },
    environment: { AWS_PROFILE: 'p' },
  })
})
