/** PostgreSQL as the source and as a destination. */

import { SSL_MODES } from './api.ts'
import { type Infer, integer, listMap, object, oneOf, optional, type Rule, string } from './schema.ts'
import { caRef, credentialsRef } from './secrets.ts'
import { hostname, IDENTIFIER_LENGTH, identifier, port } from './shapes.ts'

// A CA that is not looked at gives a false sense of safety, so it is refused rather than ignored.
const caIsUsed: Rule = {
  rule: "!has(self.caSecretRef) || self.sslMode in ['VerifyCA', 'VerifyFull']",
  message:
    'sslMode must be VerifyFull or VerifyCA when caSecretRef is set, since the other modes verify nothing: change sslMode or remove caSecretRef',
  fieldPath: '.sslMode',
}

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

const sourceRules: readonly Rule[] = [
  caIsUsed,
  fixed('publication', 'what it held is not known to another one'),
  fixed('slot', 'another slot does not have the changes since this one began'),
]

/** Unset means the derived name, so setting a name later is a change like any other. */
function fixed(field: string, why: string): Rule {
  return {
    rule: `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || self.${field} == oldSelf.${field})`,
    message: `${field} cannot be changed, because ${why}: restore the old value, or create another Pipeline`,
    fieldPath: `.${field}`,
  }
}

export const postgresSource = object(
  {
    ...server,
    database: string({
      description: 'Name of the database. Cannot be changed.',
      maxLength: IDENTIFIER_LENGTH,
      rules: [
        {
          rule: 'self == oldSelf',
          message:
            'database cannot be changed, because another database has another history: create another Pipeline',
        },
      ],
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
        'Name of the publication, made and kept by Millrace. By default millrace_<namespace>_<name>, with every other character than a-z, 0-9 and _ replaced, and shortened with a hash to 63 characters. Cannot be changed.',
      ),
    ),
    slot: optional(
      string({
        description:
          'Name of the replication slot, made and kept by Millrace. By default the same as that of the publication. Cannot be changed.',
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
  { description: 'The PostgreSQL server (14 or later) that is replicated: the primary.', rules: sourceRules },
)

export const postgresDestination = object(
  {
    ...server,
    database: string({
      description: 'Name of the database. Cannot be changed.',
      maxLength: IDENTIFIER_LENGTH,
      rules: [destinationFixed('database')],
    }),
    ...access,
    schema: optional(
      identifier(
        'Schema of all tables that do not name one. By default each keeps the schema it has in the source. Cannot be changed.',
      ),
    ),
    ledgerSchema: string({
      description:
        'Schema of the tables in which Millrace records what is durably in the destination. Cannot be changed.',
      maxLength: IDENTIFIER_LENGTH,
      default: 'millrace',
      rules: [destinationFixed('ledgerSchema')],
    }),
  },
  { description: 'A PostgreSQL database (14 or later).', rules: [caIsUsed, schemaFixed()] },
)

/** For a required field of a destination. */
export function destinationFixed(field: string): Rule {
  return {
    rule: 'self == oldSelf',
    message: `${field} cannot be changed, because the record of what was applied is kept there: create another Pipeline`,
  }
}

/** For the default schema of a destination: changing it would move tables away from their rows. */
export function schemaFixed(): Rule {
  return {
    rule: 'has(self.schema) == has(oldSelf.schema) && (!has(self.schema) || self.schema == oldSelf.schema)',
    message:
      'schema cannot be changed, because the tables would be left behind: restore the old value, or create another Pipeline',
    fieldPath: '.schema',
  }
}

export type PostgresSource = Infer<typeof postgresSource>
export type PostgresReplica = Infer<typeof replica>
export type PostgresDestination = Infer<typeof postgresDestination>
