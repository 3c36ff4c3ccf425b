import { edit, integration, type Mutant, model, unit } from '../mutant.ts'
import { LONG, NO_REPLAY_WAIT, PRIMARY, REPLICA } from './worlds.ts'

export const READING: readonly Mutant[] = [
  {
    rule: 'R10',
    without: 'asking for the replay before the snapshot is taken',
    edits: [
      ...NO_REPLAY_WAIT,
      ...edit(
        'workers/backfill/plan.ts',
        [
          '  await server.assertCurrent(connection)\n  const snapshot = await exportSnapshot(connection, signal)\n',
          '  const snapshot = await exportSnapshot(connection, signal)\n  await server.assertCurrent(connection)\n',
        ],
        ['  try {\n    await server.assertCurrent(connection)\n', '  try {\n'],
      ),
      ...edit('workers/backfill/attempt.ts', ['    await server.assertCurrent(connection)\n', '']),
    ],
    killer: unit('workers/backfill/plan.test.ts', 'before the snapshot is taken'),
  },
  {
    rule: 'R10',
    without: 'looking whether a replica has a snapshot that may be shared',
    edits: edit('workers/source/scan-snapshot.ts', ['WHEN replica AND', 'WHEN false AND']),
    killer: integration('backfill-scans', 'shares no snapshot of a replica'),
  },
  {
    rule: 'R11',
    without: 'the open end of the last range',
    edits: edit('workers/source/scan-plan.ts', [
      'keyRange(bounds[index - 1], bounds[index]))',
      'keyRange(bounds[index - 1], bounds[index] ?? bounds.at(-1)))',
    ]),
    killer: model(200, { ...REPLICA, scans: ['Key'] }),
  },
  {
    rule: 'R11',
    without: 'reading the columns after the proof of the server',
    edits: edit('workers/backfill/attempt.ts', [
      'const definition = await attempt.readDefinition(connection)',
      'const { definition } = attempt',
    ]),
    killer: model(900, { ...REPLICA, weights: { ...LONG, addColumn: 6 } }),
  },
  {
    rule: 'R12',
    without: 'looking after the read whether block ranges still mean the same file',
    edits: edit('workers/source/scan-read.ts', [
      "if (range.kind === 'ctid' && row?.filenode !== range.filenode) {",
      "if (range.kind === 'ctid' && row === undefined) {",
    ]),
    killer: model(600, { scans: ['Ctid'], seedRows: 4, weights: { rewrite: 12, backfill: 40 } }),
  },
  {
    rule: 'R13',
    without: 'waiting, on the primary, until what was read is safe on disk',
    edits: edit('workers/backfill/reader.ts', [
      'await waitForFlush(attempt, connection, end.logEnd)',
      'await Promise.resolve(waitForFlush)',
    ]),
    killer: model(300, { ...PRIMARY, asynchronous: true, weights: { crashPrimary: 4, flush: 2 } }),
  },
  {
    rule: 'R14',
    without: 'leaving out what the scan of a table without a key has seen',
    edits: edit('workers/apply/stream.ts', [
      'return seen.some((snapshot) => wasSeen(snapshot, xid))',
      'return seen.length < 0',
    ]),
    killer: model(300, { keyless: true, actions: ['Truncate'], scans: ['Ctid'], stale: false, foreign: 0 }),
  },
  {
    rule: 'R14',
    without: 'knowing of the copy that has just ended what it has seen',
    edits: edit('workers/apply/table.ts', ['        await findBackfills()\n', '']),
    killer: model(300, { keyless: true, actions: ['Truncate'], scans: ['Ctid'], stale: false, foreign: 0 }),
  },
  {
    rule: 'R14',
    without: 'reading the ledger of one moment at the start',
    edits: edit('workers/destination/postgres/sessions.ts', [
      'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
      'BEGIN READ ONLY',
    ]),
    killer: integration('destination-postgres-races', 'is of one moment, whoever is waited for'),
  },
  {
    rule: 'R14',
    without: 'beginning anew when the snapshot of such a scan is lost',
    edits: edit('workers/backfill/attempt.ts', [
      "if (snapshot && !isVoid) return 'resume'",
      "if (keyed === false) return 'resume'",
    ]),
    killer: model(300, {
      keyless: true,
      actions: ['Truncate'],
      scans: ['Ctid'],
      stale: false,
      foreign: 0,
      seedRows: 4,
      weights: { loseSnapshot: 6, killBackfill: 4 },
    }),
  },
]
