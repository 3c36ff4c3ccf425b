/** PostgreSQL as the source and as a destination. */

import { SSL_MODES } from './api.ts'
import { showing } from './rules.ts'
import { type Infer, integer, listMap, object, oneOf, optional, string } from './schema.ts'
import { caRef, credentialsRef } from './secrets.ts'
import { hostname, IDENTIFIER_LENGTH, identifier, port } from './shapes.ts'

// A CA that is not looked at gives a false sense of safety, so it is refused rather than ignored.
const caIsUsed = showing(
  {
    rule: "!has(self.caSecretRef) || self.sslMode in ['VerifyCA', 'VerifyFull']",
    message:
      'sslMode must be VerifyFull or VerifyCA when caSecretRef is set, since the other modes verify nothing: change sslMode or remove caSecretRef',
    fieldPath: '.sslMode',
  },
  `'found "' + self.sslMode + '"'`,
)

const server = {
  host: hostname('DNS name or address of the server. It may change, after a failover for example.'),
  port: port('TCP port.', 5432),
}

const access = {
  // Require, not VerifyFull: the servers of the big clouds are signed by authorities that no image has, so that a
  // verifying default would fail for most. Not Prefer, which libpq has: it falls back to plain text in silence.
  sslMode: oneOf(SSL_MODES, {
    description:
      'How the connection is protected. Disable: plain text. Require: encrypted, the server is not verified. VerifyCA: signed by a known authority. VerifyFull: and issued for this host; the one to choose outside a private network.',
    default: 'Require',
  }),
  caSecretRef: optional(
    caRef(
      'The authorities that VerifyCA and VerifyFull trust. Without it, the public ones that Node.js ships with.',
    ),
  ),
  credentialsSecretRef: credentialsRef(
    'User name and password. Read anew for every connection, so a rotated password needs no restart.',
  ),
}

const replica = object(
  {
    host: hostname('DNS name or address of one replica. A name that leads to several servers is refused.'),
    port: port('TCP port.', 5432),
    credentialsSecretRef: optional(
      credentialsRef('User name and password, where they differ from those of the primary.'),
    ),
  },
  { description: 'A streaming replica of the source: same database, same TLS settings.' },
)

export const postgresSource = object(
  {
    ...server,
    database: string({
      description: 'Name of the database. Cannot be changed once capture was connected.',
      maxLength: IDENTIFIER_LENGTH,
    }),
    ...access,
    replicas: optional(
      listMap(replica, ['host', 'port'], {
        description: 'Replicas that backfills may read, so that copying does not burden the primary.',
        maxItems: 16,
      }),
    ),
    publication: optional(
      identifier(
        'Name of the publication, made and kept by Millrace. By default millrace_<namespace>_<name>, with every other character than a-z, 0-9 and _ replaced, and shortened with a hash to 63 characters. Cannot be changed once capture was connected.',
      ),
    ),
    slot: optional(
      string({
        description:
          'Name of the replication slot, made and kept by Millrace. By default the same as that of the publication. Cannot be changed once capture was connected.',
        maxLength: 63,
        matches: {
          pattern: '^[a-z0-9_]+$',
          message:
            'slot may hold lower case letters, digits and underscores only: that is what PostgreSQL allows',
        },
      }),
    ),
    heartbeatSeconds: integer({
      description:
        'How often a small message is written into the log, so that an idle database does not keep old log files for the sake of the slot.',
      min: 1,
      max: 3600,
      default: 10,
    }),
  },
  { description: 'The PostgreSQL server (14 or later) that is replicated: the primary.', rules: [caIsUsed] },
)

export const postgresDestination = object(
  {
    ...server,
    database: string({
      description: 'Name of the database. Cannot be changed once tables were applied.',
      maxLength: IDENTIFIER_LENGTH,
    }),
    ...access,
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
  {
    description: 'A PostgreSQL database (14 or later).',
    rules: [caIsUsed],
  },
)

export type PostgresSource = Infer<typeof postgresSource>
export type PostgresReplica = Infer<typeof replica>
export type PostgresDestination = Infer<typeof postgresDestination>
