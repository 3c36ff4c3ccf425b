import { edit, integration, type Mutant, model, unit } from '../mutant.ts'
import { NO_REPLAY_CHECK, NO_REPLAY_WAIT, REPLICA, SLOW } from './worlds.ts'

export const INVARIANTS: readonly Mutant[] = [
  {
    rule: 'I1',
    without: 'keeping writers out of the join, and waiting before the hold for those who were in it',
    edits: [
      ...edit('workers/source/publication.ts', [
        '      await connection.query(`LOCK TABLE ${fromClause(seen)} IN SHARE ROW EXCLUSIVE MODE`)\n',
        '',
      ]),
      ...edit('workers/backfill/hold.ts', ['    await waitForOlderWriters(attempt)\n', '']),
    ],
    killer: model(900, {
      oldMinor: false,
      seedRows: 4,
      weights: { capture: 90, backfill: 240, operator: 16, commit: 0.3, begin: 8, write: 14, cancel: 0 },
    }),
  },
  {
    rule: 'I2',
    without: 'waiting for a replica to have the hold',
    edits: [...NO_REPLAY_WAIT, ...NO_REPLAY_CHECK],
    killer: model(300, { ...REPLICA, weights: SLOW }),
  },
  {
    rule: 'I2',
    without: 'looking, after a reconnect, whether it is the same server',
    edits: [
      ...NO_REPLAY_CHECK,
      ...edit('workers/backfill/server.ts', [
        'if (isSameServer(identity, await readServerIdentity(connection))) return connection',
        'if (identity) return connection',
      ]),
    ],
    killer: model(1200, {
      ...REPLICA,
      weights: { ...SLOW, backfill: 60, switchReplica: 10, breakSession: 10, write: 20, commit: 12 },
    }),
  },
  {
    rule: 'I2',
    without: 'waiting, on the primary, for transactions that others do not see yet',
    edits: edit('workers/backfill/server.ts', [
      'await waitForOlderTransactions(control, {',
      'if (control === undefined) await waitForOlderTransactions(control, {',
    ]),
    killer: integration('backfill-hold', 'once all that ran at the hold has ended there'),
  },
  {
    rule: 'I3',
    without: 'refusing, in the transaction of a flush, what a backfill holds',
    edits: edit('workers/destination/postgres/flush.ts', [", `held_by = ''`)", ", 'true')"]),
    killer: integration('destination-postgres-ledger', 'lets nothing be applied'),
  },
  {
    rule: 'I4',
    without: 'the version in the compare-and-set of the ledger',
    edits: edit('workers/destination/postgres/ledger-tables.ts', [
      'AND source_table = $3 AND version = $4 AND ${only}',
      'AND source_table = $3 AND version <= greatest(version, $4) AND ${only}',
    ]),
    killer: integration('destination-postgres-races', 'with the same version'),
  },
  {
    rule: 'I5',
    without: 'looking at the slot again once nobody else can move it',
    edits: edit('workers/source/slot.ts', [
      'if (slot.confirmed <= from) return',
      'if (slot.confirmed > 0n) return',
    ]),
    killer: integration('capture-gaps', 'is found when the slot is moved between the look at it'),
  },
  {
    rule: 'I5',
    without: 'confirming to the source only what the record says',
    edits: edit('workers/capture/sender.ts', [
      '    const records = options.records(lsn)\n',
      '    options.onRecorded(lsn)\n    const records = options.records(lsn)\n',
    ]),
    killer: model(100),
  },
  {
    rule: 'I5',
    without: 'noticing a slot that is ahead of the record',
    edits: edit('workers/capture/start.ts', ['slot.confirmed > record.lsn', 'slot.confirmed < 0n']),
    killer: unit('workers/capture/start.test.ts', 'finds a gap when the slot is ahead of the record'),
  },
  {
    rule: 'I6',
    without: 'noticing records that are gone',
    edits: edit('workers/apply/dispatcher.ts', [
      'workers.get(topic)?.lost(wanted, offsets)',
      'workers.get(topic)?.reached(offsets?.end ?? wanted)',
    ]),
    killer: model(300, { weights: { expire: 4 } }),
  },
  {
    rule: 'I6',
    without: 'keeping records that the ledger has not passed',
    edits: edit('workers/apply/session.ts', [
      'retention.passed(state.row.nextOffset, now)',
      'retention.passed(state.row.nextOffset + 3n, now)',
    ]),
    killer: model(300),
  },
  {
    rule: 'I7',
    without: 'telling an unchanged value from NULL',
    edits: edit('workers/apply/layout.ts', [
      'return value === 0 ? undefined : value',
      'return value === 0 ? null : value',
    ]),
    killer: model(200),
  },
  {
    rule: 'I8',
    without: 'doing the destination action once',
    edits: edit('workers/destination/postgres/action.ts', [
      "if (locked[0].action_done === 't') return result([])",
      "if (locked[0].action_done === 'x') return result([])",
    ]),
    killer: integration('destination-postgres-races', 'the second call of an attempt does nothing'),
  },
  {
    rule: 'I9',
    without: 'writing the ledger row of a chunk once only',
    edits: edit('workers/destination/postgres/chunk.ts', [
      "if (done.length === 0) throw stale(request, 'it was written or split by somebody else at the same time')",
      '',
    ]),
    killer: integration('destination-postgres-races', 'written twice at once is there once'),
  },
  {
    rule: 'I10',
    without: 'reading a value for a backfill as the log writes it',
    edits: edit('workers/destination/postgres/destination.ts', [
      'columnExpression: (_column, source) => source,',
      'columnExpression: (_column, source) => `${source}::text`,',
    ]),
    killer: integration('destination-postgres-types', 'has the same values by chunk and by flush'),
  },
]
