/** Amazon Redshift as a destination, through its Data API and S3. */

import { exactlyOne } from './rules.ts'
import { type Infer, listMap, object, oneOf, optional, type Rule, set, string } from './schema.ts'
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

const DIST_STYLES = ['Auto', 'Even', 'All', 'Key'] as const

const columnOverride = object(
  {
    name: identifier('Name of the column in the source.'),
    type: optional(
      string({
        description:
          'Type in Redshift: VARCHAR(n) for any column, NUMERIC(p,s) for a number. Values that do not fit it are treated as onUnfit says.',
        maxLength: 32,
        pattern: '^(VARCHAR\\([0-9]{1,5}\\)|NUMERIC\\([0-9]{1,2}, ?[0-9]{1,2}\\))$',
      }),
    ),
    encoding: optional(
      string({
        description: 'Compression encoding, such as az64, zstd, lzo or raw. By default Redshift chooses it.',
        maxLength: 16,
        pattern: '^[a-z][a-z0-9]*$',
      }),
    ),
  },
  {},
)

const tableOverride = object(
  {
    schema: string({
      description: 'Schema of the table in the source.',
      maxLength: IDENTIFIER_LENGTH,
      default: 'public',
    }),
    name: identifier('Name of the table in the source.'),
    distStyle: oneOf(DIST_STYLES, {
      description:
        'How rows are spread over the slices. Key takes distKey, or else the first column of the key.',
      default: 'Auto',
    }),
    distKey: optional(identifier('Column by which rows are spread, in the source. Only with distStyle Key.')),
    sortKey: optional(
      set(string({ maxLength: IDENTIFIER_LENGTH }), {
        description: 'Columns by which rows are sorted, in the source. By default those of the key.',
        minItems: 1,
        maxItems: 400,
      }),
    ),
    columns: optional(
      listMap(columnOverride, ['name'], {
        description: 'Columns that differ from what their type gives.',
        maxItems: 1600,
      }),
    ),
  },
  {},
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
    onUnfit: oneOf(['Null', 'Truncate', 'Fail'], {
      description:
        'What becomes of a value that its column in Redshift cannot hold: NULL, the nearest one that it can hold (NULL where there is none), or an error that stops the table. Never applies to a key, which always stops the table.',
      default: 'Truncate',
    }),
    tables: optional(
      listMap(tableOverride, ['schema', 'name'], {
        description:
          'How single tables are made in Redshift. Takes effect when a table is made: apply a TableBackfill with destinationTable Drop to make one anew.',
        maxItems: 1000,
      }),
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
