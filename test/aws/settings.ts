import type { RedshiftDestination } from '../../crds/redshift.ts'

/** A real warehouse that tests may use. */
export interface AwsSettings {
  readonly destination: Omit<RedshiftDestination, 'onUnfit' | 'ledgerSchema'>
  /** What a process needs to have the same AWS identity as this one. */
  readonly environment: Readonly<Record<string, string>>
}

type Environment = Readonly<Record<string, string | undefined>>

/** Set by `make test-aws` for the tests that it runs. */
export const ON_AWS = process.env.TEST_AWS === '1'

export const VARIABLES = `  REDSHIFT_REGION        region of the warehouse
  REDSHIFT_WORKGROUP     name of a Serverless workgroup, or
  REDSHIFT_CLUSTER       name of a provisioned cluster
  REDSHIFT_DATABASE      an empty database, for these tests alone
  REDSHIFT_BUCKET        bucket for files
  REDSHIFT_DB_USER       database user, with a cluster (optional)
  REDSHIFT_SECRET_ARN    secret with user and password, instead (optional)
  REDSHIFT_ROLE_ARN      role of COPY (optional: the default role)
  REDSHIFT_S3_REGION     region of the bucket, if it is another one (optional)
  REDSHIFT_DATA_ENDPOINT, REDSHIFT_S3_ENDPOINT   (optional)
and an AWS identity, as the AWS SDKs find it: AWS_PROFILE, AWS_ACCESS_KEY_ID …, a role of the machine`

/** Reads the variables; names those that are missing. */
export function awsSettings(env: Environment = process.env): AwsSettings | { readonly missing: string[] } {
  const missing = ['REDSHIFT_REGION', 'REDSHIFT_DATABASE', 'REDSHIFT_BUCKET'].filter((name) => !env[name])
  if (!env.REDSHIFT_WORKGROUP && !env.REDSHIFT_CLUSTER) missing.push('REDSHIFT_WORKGROUP or REDSHIFT_CLUSTER')
  if (missing.length > 0) return { missing }
  const some = <K extends string>(key: K, name: string) =>
    (env[name] ? { [key]: env[name] } : {}) as { readonly [P in K]?: string }
  const endpoints = {
    ...some('redshiftData', 'REDSHIFT_DATA_ENDPOINT'),
    ...some('s3', 'REDSHIFT_S3_ENDPOINT'),
  }
  return {
    destination: {
      region: env.REDSHIFT_REGION ?? '',
      ...some('workgroupName', 'REDSHIFT_WORKGROUP'),
      ...(env.REDSHIFT_WORKGROUP ? {} : some('clusterIdentifier', 'REDSHIFT_CLUSTER')),
      database: env.REDSHIFT_DATABASE ?? '',
      ...some('dbUser', 'REDSHIFT_DB_USER'),
      ...some('secretArn', 'REDSHIFT_SECRET_ARN'),
      ...some('iamRoleArn', 'REDSHIFT_ROLE_ARN'),
      s3: {
        bucket: env.REDSHIFT_BUCKET ?? '',
        prefix: 'millrace-test/',
        ...some('region', 'REDSHIFT_S3_REGION'),
      },
      ...(Object.keys(endpoints).length > 0 && { endpoints }),
    },
    environment: Object.fromEntries(
      Object.entries(env).filter((pair): pair is [string, string] => /^(AWS_|HOME$)/.test(pair[0])),
    ),
  }
}

/** For tests that run only when the settings are there. */
export function requireAwsSettings(): AwsSettings {
  const settings = awsSettings()
  if ('missing' in settings) throw new Error(`not set: ${settings.missing.join(', ')}`)
  return settings
}
