/** Amazon Redshift as a destination, through its Data API and S3. */

import { exactlyOne } from './rules.ts'
import { type Infer, object, optional, type Rule, string } from './schema.ts'
import { awsCredentialsRef } from './secrets.ts'
import { IDENTIFIER_LENGTH, identifier } from './shapes.ts'

const s3 = object(
  {
    bucket: string({
      description: 'Name of the bucket.',
      maxLength: 63,
      matches: {
        pattern: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$',
        message:
          'bucket must be the name of an S3 bucket: without s3:// and path, the latter goes into prefix',
      },
    }),
    prefix: string({
      description: 'Begin of the object keys. Files stay there only until they are loaded.',
      minLength: 0,
      maxLength: 512,
      default: 'millrace/',
    }),
    region: optional(
      string({ description: 'Region of the bucket, where it is not that of the cluster.', maxLength: 63 }),
    ),
  },
  { description: 'Where files are put for COPY.' },
)

const endpoints = object(
  {
    redshiftData: optional(url('redshiftData', 'URL of the Data API.')),
    s3: optional(url('s3', 'URL of S3.')),
  },
  { description: 'Other endpoints than those of the region, for VPC endpoints and tests.' },
)

function url(field: string, description: string) {
  return string({
    description,
    maxLength: 1024,
    matches: {
      pattern: '^https?://[^\\s]+$',
      message: `${field} must be a URL that begins with https:// or http://`,
    },
  })
}

const rules: readonly Rule[] = [
  exactlyOne(
    'clusterIdentifier',
    'workgroupName',
    'the former for a provisioned cluster, the latter for Redshift Serverless',
  ),
  {
    rule: '!has(self.dbUser) || !has(self.secretArn)',
    message: 'dbUser and secretArn exclude each other: remove one of them',
  },
  {
    rule: '!has(self.dbUser) || !has(self.workgroupName)',
    message:
      'dbUser is only for a provisioned cluster: remove it, then Redshift Serverless takes the IAM identity of the pods, or set secretArn',
    fieldPath: '.dbUser',
  },
]

export const redshiftDestination = object(
  {
    region: string({
      description: 'AWS region of the cluster or workgroup.',
      maxLength: 63,
      matches: {
        pattern: '^[a-z]{2}(-[a-z]+)+-[0-9]+$',
        message: 'region must be one of AWS, such as eu-central-1',
      },
    }),
    clusterIdentifier: optional(
      string({ description: 'Name of a provisioned cluster.', maxLength: 63, pattern: '^[a-z][a-z0-9-]*$' }),
    ),
    workgroupName: optional(
      string({
        description: 'Name of a workgroup of Redshift Serverless.',
        maxLength: 64,
        pattern: '^[a-z0-9-]+$',
      }),
    ),
    database: string({
      description: 'Name of the database. Cannot be changed once tables were applied.',
      maxLength: 64,
    }),
    dbUser: optional(
      string({
        description:
          'Database user for which temporary credentials are requested. Without it and secretArn, the IAM identity of the pods.',
        maxLength: 64,
      }),
    ),
    secretArn: optional(
      string({
        description: 'ARN of a secret of AWS Secrets Manager with user name and password.',
        maxLength: 2048,
        matches: {
          pattern: '^arn:[a-z-]+:secretsmanager:',
          message: 'secretArn must be the ARN of a secret of AWS Secrets Manager: arn:aws:secretsmanager:...',
        },
      }),
    ),
    s3,
    iamRoleArn: optional(
      string({
        description: 'Role with which COPY reads the bucket. By default the default role of the cluster.',
        maxLength: 2048,
        matches: {
          pattern: '^arn:[a-z-]+:iam::[0-9]{12}:role/.+$',
          message: 'iamRoleArn must be the ARN of a role: arn:aws:iam::<account>:role/<name>',
        },
      }),
    ),
    endpoints: optional(endpoints),
    credentialsSecretRef: optional(
      awsCredentialsRef('AWS access key. Without it, the identity of the service account of the pods.'),
    ),
    schema: optional(
      identifier(
        'Schema of all tables that do not name one. By default each keeps the schema it has in the source. Cannot be changed once tables were applied.',
      ),
    ),
    ledgerSchema: string({
      description:
        'Schema of the tables in which Millrace records what is durably in the destination. Cannot be changed once tables were applied.',
      maxLength: IDENTIFIER_LENGTH,
      default: 'millrace',
    }),
  },
  { description: 'A database of Amazon Redshift.', rules },
)

export type RedshiftDestination = Infer<typeof redshiftDestination>
