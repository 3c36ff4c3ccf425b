import { edit, integration, type Mutant, model, unit } from '../mutant.ts'

export const GAPS: readonly Mutant[] = [
  {
    rule: 'R22',
    without: 'the facts of a gap',
    edits: edit('workers/apply/facts.ts', ['      return gapFacts(line, table)\n', '      return {}\n']),
    killer: model(300, { seedRows: 4, weights: { loseSlot: 2 } }),
  },
  {
    rule: 'R22',
    without: 'looking for a gap while the copy is still made',
    edits: edit('workers/apply/ahead.ts', ['    find({ why: whyEnded(line), facts })\n', '']),
    killer: integration('apply-hold', 'is ended at once by a gap'),
  },
  {
    rule: 'R22',
    without: 'ending a copy whose hold went with the log of another timeline',
    edits: edit('workers/source/scan-server.ts', [
      'if (logEnd >= holdLSN) return',
      'if (logEnd >= 0n) return',
    ]),
    killer: unit('workers/source/scan-server.test.ts', 'ends a copy whose hold'),
  },
  {
    rule: 'R22',
    without: 'refusing DoNothing after a gap',
    edits: edit('workers/destination/postgres/action.ts', [
      "if (locked[0].action === 'DoNothing' && table.needsEmptying) throw refused(target)",
      '',
    ]),
    killer: integration('destination-postgres-tables', 'DoNothing is refused where rows may be'),
  },
  {
    rule: 'R23',
    without: 'noticing another timeline',
    edits: edit('workers/capture/start.ts', [
      'if (record.timeline !== found.timeline) return',
      'if (record.timeline > found.timeline) return',
    ]),
    killer: unit('workers/capture/start.test.ts', 'finds a gap on a new timeline'),
  },
  {
    rule: 'R23',
    without: 'remembering a gap before anything is done that could hide it',
    edits: edit('workers/capture/begin.ts', [
      'if (gap && record.state && !record.state.gap)',
      'if (gap && record.state === null)',
    ]),
    killer: integration('capture-gaps', 'is told by the next session when the first that found it could not'),
  },
  {
    rule: 'R23',
    without: 'beginning behind every transaction that knows an older catalog',
    edits: edit(
      'workers/capture/prepare.ts',
      ['  await sql.use((connection) => setPublicationOwner(connection, publication, owner))\n', ''],
      [
        "  await waitForEnd(() => sql.use(readRunningTransactions), 'transactions that run at the start', options)\n",
        '  if (tell.length < 0) await waitForEnd(async () => [], publication + owner, options)\n',
      ],
    ),
    killer: integration('capture-start', 'does not keep the log from being read'),
  },
  {
    rule: 'R23',
    without: 'an epoch in the order of positions',
    edits: edit('workers/source/position.ts', [
      'if (a.epoch !== b.epoch) return a.epoch - b.epoch',
      'if (a.epoch < 0) return 0',
    ]),
    killer: model(900, { seedRows: 4, weights: { failOver: 2, visible: 4, replay: 4 } }),
  },
  {
    rule: 'R24',
    without: 'noticing a topic that was made anew',
    edits: edit('workers/apply/stream.ts', [
      "if (incarnation !== '' && next.inc !== incarnation) {",
      "if (incarnation === 'x') {",
    ]),
    killer: model(300, { seedRows: 4, weights: { remakeTopic: 2 } }),
  },
  {
    rule: 'R24',
    without: 'noticing a topic that was made anew under a running capture',
    edits: edit('workers/capture/ends.ts', ['if (first < known) anew', 'if (first < -known) anew']),
    killer: model(300, { seedRows: 4, weights: { remakeTopic: 2 } }),
  },
  {
    rule: 'R24',
    without: 'remembering, after a crash, where a topic ended',
    edits: edit('workers/capture/record.ts', [
      'told.push([topic, incarnation, BigInt(end)])',
      'told.length = 0',
    ]),
    killer: unit('workers/capture/record.test.ts', 'gives back the highest end'),
  },
  {
    rule: 'R25',
    without: 'one owner for each destination table',
    edits: edit('workers/destination/postgres/ledger-schema.ts', [
      'UNIQUE (destination_schema, destination_table)',
      'UNIQUE (pipeline, destination_schema, destination_table)',
    ]),
    killer: integration('destination-postgres-ledger', 'have one owner among pipelines'),
  },
  {
    rule: 'R25',
    without: 'remembering that a table has had its initial backfill',
    edits: edit('operator/pipeline/plan-backfills.ts', [
      'made?.metadata.name ?? recorded.get(key)?.initialBackfill',
      'made?.metadata.name',
    ]),
    killer: unit('operator/pipeline/plan-backfills.test.ts'),
  },
]
