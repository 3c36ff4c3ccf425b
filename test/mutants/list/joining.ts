import { edit, integration, type Mutant, model, unit } from '../mutant.ts'
import { LONG } from './worlds.ts'

export const JOINING: readonly Mutant[] = [
  {
    rule: 'R1',
    without: 'the lock of a join, on a server that then loses all later changes',
    edits: edit('workers/source/publication.ts', [
      '      await connection.query(`LOCK TABLE ${fromClause(seen)} IN SHARE ROW EXCLUSIVE MODE`)\n',
      '',
    ]),
    killer: model(300, { oldMinor: true, weights: LONG }),
  },
  {
    rule: 'R2',
    without: 'waiting for writers before each hold',
    edits: edit('workers/backfill/hold.ts', ['    await waitForOlderWriters(attempt)\n', '']),
    killer: integration('backfill-hold', 'until transactions that have written the table have ended'),
  },
  {
    rule: 'R2',
    without: 'looking at the publication in the transaction of the hold',
    edits: edit('workers/source/watermark.ts', [
      '    await assertMember(connection, names, mark.table)\n',
      '',
    ]),
    killer: integration('source-publication', 'refuse to hold a table that is not in the publication'),
  },
  {
    rule: 'R3',
    without: 'taking the end of the commit for the position of the hold',
    edits: edit(
      'workers/capture/changes.ts',
      [
        'if (ours) messages.push(ours)',
        'if (ours) messages.push({ ...ours, lsn: buffer.readBigUInt64BE(start + 2) } as never)',
      ],
      [
        'controlOf(message, formatLSN(endLSN))',
        'controlOf(message, formatLSN((message as never as { lsn: bigint }).lsn))',
      ],
    ),
    killer: unit('workers/capture/changes.test.ts', 'carry the end of the commit'),
  },
  {
    rule: 'R4',
    without: 'committing watermarks durably',
    edits: edit('workers/source/messages.ts', [
      'SET LOCAL synchronous_commit = on',
      'SET LOCAL synchronous_commit = off',
    ]),
    killer: integration('source-durable', 'watermarks are on disk when they are written'),
  },
  {
    rule: 'R4',
    without: 'writing a hold again that had no effect',
    edits: edit('workers/backfill/hold.ts', [
      'if (left <= 0) return undefined',
      'if (left <= -1e12) return undefined',
    ]),
    killer: integration('backfill-hold', 'the hold is written again when nothing comes of it'),
  },
  {
    rule: 'R4',
    without: 'writing a release again that was lost',
    edits: edit('workers/apply/control.ts', [
      'if (!isReleaseOverdue(uid)) continue',
      'if (isReleaseOverdue(uid) !== undefined) continue',
    ]),
    killer: integration('apply-hold', 'that does not come is written again'),
  },
  {
    rule: 'R5',
    without: 'telling again, after a restart, what the ledger knows',
    edits: [
      ...edit('workers/apply/session.ts', [
        '    for (const backfill of backfills) status.sawBackfill(backfill)\n',
        '',
      ]),
      ...edit('workers/apply/table.ts', ['    for (const backfill of own) env.sawBackfill(backfill)\n', '']),
    ],
    killer: model(300, { weights: { killApply: 6 } }),
  },
  {
    rule: 'R5',
    without: 'leaving copied what a cancel comes too late for',
    edits: edit('workers/destination/postgres/ledger-backfills.ts', [
      'AND attempt = coalesce($3, attempt) AND state = ANY ($4::text[]) FOR UPDATE',
      'AND attempt = coalesce($3, attempt) AND cardinality($4::text[]) > 0 FOR UPDATE',
    ]),
    killer: integration('destination-postgres-ledger', 'cannot come any more after all was copied'),
  },
  {
    rule: 'R6',
    without: 'the shared lock of a chunk on the row of its backfill',
    edits: edit('workers/destination/postgres/chunk.ts', [
      'AND attempt = $3 FOR SHARE`',
      'AND attempt = $3`',
    ]),
    killer: integration('destination-postgres-races', 'that has begun to commit makes a cancel wait'),
  },
  {
    rule: 'R6',
    without: 'the number of the attempt in the fence of a chunk',
    edits: edit('workers/destination/postgres/chunk.ts', [
      "WHERE pipeline = $1 AND uid = $2 AND state = 'held' AND attempt = $3 FOR SHARE",
      "WHERE pipeline = $1 AND uid = $2 AND state = 'held' AND attempt >= $3 FOR SHARE",
    ]),
    killer: integration('destination-postgres-races', 'of an attempt that has been replaced leaves nothing'),
  },
  {
    rule: 'R7',
    without: 'recording the parts of a chunk before they are written',
    edits: edit('workers/backfill/copy.ts', [
      'chunks.replace(chunk, await ledger.splitChunk(fence, row.plan, chunk.chunk, ranges, signal))',
      'chunks.replace(chunk, [...ranges].map((range) => ({ ...chunk, range })), void ledger)',
    ]),
    killer: integration(
      'backfill-faults',
      'ends a query that is in the way of its replay: the chunk is read again in parts',
    ),
  },
  {
    rule: 'R7',
    without: 'deciding about append in the transaction of the chunk',
    edits: edit('workers/destination/postgres/chunk.ts', [
      'SELECT plan = $4 AND (NOT $5::boolean OR append AND snapshot = $6) AS same',
      'SELECT $4::integer > 0 AND ($5::boolean OR $6::text IS NOT NULL) AS same',
    ]),
    killer: integration('destination-postgres-races', 'of a plan that has been replaced leaves nothing'),
  },
  {
    rule: 'R7',
    without: 'putting chunks of blocks one after the other',
    edits: edit('workers/destination/postgres/chunk.ts', [
      "  if (request.range.kind === 'ctid') await takeTurn(session, writing)\n",
      '',
    ]),
    killer: integration(
      'destination-postgres-races',
      'of blocks waits for another, which may have the same row',
    ),
  },
  {
    rule: 'R7',
    without: 'looking whether chunks of the plan were deleted',
    edits: edit('workers/backfill/copy.ts', [
      '  if (isWhole(chunks)) return true\n',
      '  if (isWhole(chunks) || true) return true\n',
    ]),
    killer: integration('backfill-faults', 'begins anew when somebody has deleted'),
  },
  {
    rule: 'R8',
    without: 'asking the API server about an unknown hold, and not a cache',
    edits: edit('workers/apply/control.ts', [
      'env.freshBackfill(line.name, signal)',
      'Promise.resolve(env.seenBackfill(line.uid))',
    ]),
    killer: model(200, { watchLag: 120_000, weights: { ghost: 0, splitApply: 0 } }),
  },
  {
    rule: 'R8',
    without: 'asking the API server, and not a cache, before a table is given free',
    edits: edit('workers/apply/table.ts', [
      "if (!deleting && (listed || (published && row.state === 'active'))) {",
      'if (deleting && listed && published) {',
    ]),
    killer: model(900, { weights: { unlist: 4, splitApply: 8, ghost: 8 } }),
  },
  {
    rule: 'R9',
    without: 'giving a place free when everything is copied',
    edits: edit('operator/backfill/candidates.ts', ['  if (isCopied(backfill, job)) return ended\n', '']),
    killer: unit('operator/backfill/candidates.test.ts'),
  },
  {
    rule: 'R9',
    without: 'waiting for a status that is late before a place is given on',
    edits: edit('operator/backfill/candidates.ts', [
      '(job !== undefined && !isVerification(backfill))',
      'false',
    ]),
    killer: unit('operator/backfill/candidates.test.ts', 'keeps it also when its status is so late'),
  },
]
