/**
 * The rules of a Pipeline that look at more than one part of it.
 *
 * What may not change is fixed only from the moment that there is something to lose: a mistyped name can be corrected
 * as long as nothing has been found under it.
 */

import { showing } from './rules.ts'
import type { Rule } from './schema.ts'

const CAPTURING = {
  when: 'oldSelf.?status.?capture.?systemIdentifier.hasValue()',
  words: 'once capture was connected',
}

const APPLYING = {
  when: 'size(oldSelf.?status.?apply.?tables.orValue([])) > 0',
  words: 'once tables were applied',
}

const ANOTHER = 'create another Pipeline'
const RESTORE = 'restore the old value, or create another Pipeline'
const LEDGER = 'the record of what was applied is kept there'
const LEFT_BEHIND = 'the tables would be left behind'

/** For the root of a Pipeline, where spec and status are both in sight. */
export const pipelineRules: readonly Rule[] = [
  fixed('spec.source.postgres.database', CAPTURING, 'another database has another history', ANOTHER),
  fixed(
    'spec.source.postgres.slot',
    CAPTURING,
    'another slot lacks the changes since this one began',
    RESTORE,
  ),
  fixed('spec.source.postgres.publication', CAPTURING, 'another one publishes other changes', RESTORE),
  fixed('spec.queue.kafka.topicPrefix', CAPTURING, 'what the old topics hold would be lost', RESTORE),
  {
    rule: unless(
      APPLYING.when,
      'has(self.spec.destination.postgres) == has(oldSelf.spec.destination.postgres)',
    ),
    message: `destination cannot be changed to another kind ${APPLYING.words}, because it would begin empty: ${ANOTHER}`,
    fieldPath: '.spec.destination',
  },
  ...['postgres', 'redshift'].flatMap((kind) => [
    fixed(`spec.destination.${kind}.database`, APPLYING, LEDGER, ANOTHER),
    fixed(`spec.destination.${kind}.ledgerSchema`, APPLYING, LEDGER, ANOTHER),
    fixed(`spec.destination.${kind}.schema`, APPLYING, LEFT_BEHIND, RESTORE),
  ]),
]

const HAS_REPLICAS = 'size(self.source.postgres.?replicas.orValue([])) > 0'

const REPLICA_NEEDED =
  'readFrom Replica needs a replica: list one in source.postgres.replicas, or set readFrom to Primary'

// The name that a table has in the destination, quoted so that no two different tables give the same text. It is spelt
// out with `has`, because optional values take from the API server what it knows about the length of the text.
const DESTINATION_SCHEMA = [
  'has(t.destination) && has(t.destination.schema) ? t.destination.schema',
  'has(self.destination.postgres) && has(self.destination.postgres.schema) ? self.destination.postgres.schema',
  'has(self.destination.redshift) && has(self.destination.redshift.schema) ? self.destination.redshift.schema',
  't.schema',
].join(' : ')
const DESTINATION_TABLE = 'has(t.destination) && has(t.destination.name) ? t.destination.name : t.name'
const DESTINATION_NAME = `'"' + (${DESTINATION_SCHEMA}) + '"."' + (${DESTINATION_TABLE}) + '"'`

/** For the spec of a Pipeline. */
export const pipelineSpecRules: readonly Rule[] = [
  {
    rule: `self.backfill.?readFrom.orValue('') != 'Replica' || ${HAS_REPLICAS}`,
    message: REPLICA_NEEDED,
    fieldPath: '.backfill.readFrom',
  },
  {
    // Which table it is cannot be said: the API server takes the name of a table found so to be of any length.
    rule: `!self.tables.exists(t, t.?backfill.?readFrom.orValue('') == 'Replica') || ${HAS_REPLICAS}`,
    message: REPLICA_NEEDED,
    fieldPath: '.tables',
  },
  {
    // Comparing each with each exceeds what a rule may cost. A map refuses a second entry of the same name, and the
    // API server reports that refusal, name included, together with the message.
    rule: `size(self.tables.transformMapEntry(i, t, {${DESTINATION_NAME}: i})) == size(self.tables)`,
    message:
      'two entries of tables have the same destination: remove one, or give it another destination.schema or destination.name',
    fieldPath: '.tables',
  },
]

function fixed(path: string, since: { when: string; words: string }, why: string, cure: string): Rule {
  const field = path.slice(path.lastIndexOf('.') + 1)
  const parent = path.slice(0, path.lastIndexOf('.'))
  const both = `has(self.${parent}) && has(oldSelf.${parent})`
  const same = `has(self.${path}) == has(oldSelf.${path}) && (!has(self.${path}) || self.${path} == oldSelf.${path})`
  const rule = {
    rule: unless(`${since.when} && ${both}`, same),
    message: `${field} cannot be changed ${since.words}, because ${why}: ${cure}`,
    fieldPath: `.${path}`,
  }
  const [was, is] = ['oldSelf', 'self'].map(
    (it) => `(has(${it}.${path}) ? '"' + ${it}.${path} + '"' : 'unset')`,
  )
  return showing(rule, `'was ' + ${was} + ', found ' + ${is}`)
}

function unless(condition: string, rule: string): string {
  return `!(${condition}) || (${rule})`
}
