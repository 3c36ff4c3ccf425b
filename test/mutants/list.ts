import { edit, integration, type Mutant, model, unit } from './mutant.ts'

// Worlds in which one thing matters: what is rare otherwise is made frequent, and what would hide it is left out.
const LONG = { commit: 2, begin: 6, write: 12 }
const SLOW = { replay: 1.5 }
const RETYPE = { retype: 0.6 }
const REPLICA = { readFrom: 'Replica', seedRows: 4 } as const
const PRIMARY = { readFrom: 'Primary', seedRows: 4 } as const

/** Replicas are read without waiting until they have everything. */
const NO_REPLAY_WAIT = edit('workers/backfill/server.ts', [
  '    if (wait === undefined) return true\n',
  '    if (wait !== null) return true\n',
])
const NO_REPLAY_CHECK = edit('workers/backfill/server.ts', [
  "      if (wait !== undefined) throw new MillraceError('ReplicaBehind', wait)\n",
  '',
])

const INVARIANTS: readonly Mutant[] = [
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
    killer: model(300, {
      oldMinor: false,
      seedRows: 4,
      weights: { capture: 90, backfill: 160, commit: 0.4, begin: 6, write: 12, cancel: 0 },
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
    killer: model(300, {
      ...REPLICA,
      weights: { ...SLOW, restartReplica: 4, switchReplica: 6, breakSession: 6 },
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
    killer: integration('capture-faults', 'is found when the slot is moved between the look at it'),
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

const JOINING: readonly Mutant[] = [
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
    killer: integration('source', 'refuse to hold a table that is not in the publication'),
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
    killer: model(300, { ...REPLICA, scans: ['Key'], weights: { rewrite: 3, truncate: 2 } }),
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
    killer: model(300, { weights: { unlist: 4, splitApply: 8, ghost: 8 } }),
  },
  {
    rule: 'R9',
    without: 'giving a place free when everything is copied',
    edits: edit('operator/backfill/candidates.ts', ['  if (isCopied(backfill, job)) return ended\n', '']),
    killer: unit('operator/backfill/candidates.test.ts'),
  },
]

const READING: readonly Mutant[] = [
  {
    rule: 'R10',
    without: 'asking for the replay before the snapshot is taken',
    edits: [
      ...NO_REPLAY_WAIT,
      ...edit(
        'workers/backfill/plan.ts',
        [
          '  await server.assertCurrent(connection)\n  const snapshot = await exportSnapshot(connection)\n',
          '  const snapshot = await exportSnapshot(connection)\n  await server.assertCurrent(connection)\n',
        ],
        ['  try {\n    await server.assertCurrent(connection)\n', '  try {\n'],
      ),
      ...edit('workers/backfill/attempt.ts', ['    await server.assertCurrent(connection)\n', '']),
    ],
    killer: unit('workers/backfill/plan.test.ts', 'before the snapshot is taken'),
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
    killer: model(300, { ...REPLICA, weights: { ...LONG, addColumn: 6 } }),
  },
  {
    rule: 'R12',
    without: 'looking after the read whether block ranges still mean the same file',
    edits: edit('workers/source/scan-read.ts', [
      "if (range.kind === 'ctid' && row?.filenode !== range.filenode) {",
      "if (range.kind === 'ctid' && row === undefined) {",
    ]),
    killer: model(300, { scans: ['Ctid'], seedRows: 4, weights: { rewrite: 5 } }),
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

const APPLYING: readonly Mutant[] = [
  {
    rule: 'R15',
    without: 'skipping changes at or below the last position',
    edits: edit('workers/apply/stream.ts', [
      'if (comparePositions(place, position) <= 0) return undefined\n    const row',
      'if (comparePositions(place, position) < -1e9) return undefined\n    const row',
    ]),
    killer: model(300, { weights: { killCapture: 6, splitCapture: 3 } }),
  },
  {
    rule: 'R16',
    without: 'reading again what a key change left unchanged',
    edits: edit('workers/apply/compact.ts', ['    if (moved) reread = true\n', '']),
    killer: unit('workers/apply/compact.test.ts'),
  },
  {
    rule: 'R17',
    without: 'distrust of rows of unknown history',
    edits: edit('workers/apply/stream.ts', ['unknownHistory: row.unknownHistory', 'unknownHistory: false']),
    killer: model(300, { stale: true, actions: ['DoNothing'] }),
  },
  {
    rule: 'R18',
    without: 'waiting for a replica to be past the change that is read again',
    edits: edit('workers/apply/reread.ts', [
      'if (replayed > wanted) return true',
      'if (replayed > 0n) return true',
    ]),
    killer: model(300, { ...REPLICA, weights: { ...SLOW, cancel: 2 } }),
  },
  {
    rule: 'R18',
    without: 'waiting for the transaction to end on the primary that is read again',
    edits: edit('workers/apply/reread.ts', [
      'while (await isAnyRunning(connection, xids))',
      'while (xids.length < 0 && (await isAnyRunning(connection, xids)))',
    ]),
    killer: model(300, { ...PRIMARY, weights: { visible: 1, cancel: 2 } }),
  },
  {
    rule: 'R18',
    without: 'dropping a change whose row is gone',
    edits: edit(
      'workers/apply/write.ts',
      ['if (!found) {', 'if (!values) {'],
      ['entry.image[index] = found[place] ?? null', 'entry.image[index] = found?.[place] ?? null'],
    ),
    killer: integration('apply', 'come from the row in the destination, else from the source'),
  },
  {
    rule: 'R18',
    without: 'taking away what stood under the key of a row that is gone',
    edits: edit('workers/apply/write.ts', ['gone.push(entry)', '']),
    killer: integration('apply', 'leaves none of before under its key'),
  },
  {
    rule: 'R19',
    without: 'taking a column for unchanged that a change lacks',
    edits: edit('workers/apply/definition.ts', [
      'return further.length === 0 ? definition :',
      'return further.length < 100 ? definition :',
    ]),
    killer: model(200, { seedRows: 4, weights: { addColumn: 1 } }),
  },
  {
    rule: 'R19',
    without: 'the default of an added column in the rows that are there',
    edits: edit('workers/destination/postgres/table-plan.ts', [
      'column.constantDefault === undefined ?',
      'column.constantDefault !== null ?',
    ]),
    killer: unit('workers/destination/postgres/table-plan.test.ts'),
  },
  {
    rule: 'R20',
    without: 'telling of a change that rows do not show',
    edits: edit('workers/capture/catalog-watch.ts', [
      'options.onChange(table, change, remember)',
      'remember()',
    ]),
    killer: model(300, { seedRows: 4, weights: RETYPE }),
  },
  {
    rule: 'R20',
    without: 'never skipping, as known already, what was seen in the catalog',
    edits: edit('workers/apply/facts.ts', [
      "return line.control === 'changed' ? position : undefined",
      'return undefined',
    ]),
    killer: unit('workers/apply/hold.test.ts', 'never skips one, and never moves back'),
  },
  {
    rule: 'R20',
    without: 'carrying on the names of dropped columns',
    edits: edit('workers/capture/fingerprint.ts', [
      '[...(before?.formerNames ?? []), ...known]',
      '[...known]',
    ]),
    killer: unit('workers/capture/fingerprint.test.ts', 'keeps the name of a dropped column'),
  },
  {
    rule: 'R20',
    without: 'remembering what a table looks like before it joins',
    edits: edit('workers/capture/tables.ts', ['    await directory.save(signal)\n', '']),
    killer: model(300, { seedRows: 4, weights: { ...RETYPE, killCapture: 12, write: 14 } }),
  },
  {
    rule: 'R21',
    without: 'stopping at a change that cannot be applied',
    edits: edit('workers/apply/facts.ts', [
      '      return stopFacts(line.code, line.message)\n',
      '      return {}\n',
    ]),
    killer: model(300, { seedRows: 4, weights: RETYPE }),
  },
  {
    rule: 'R21',
    without: 'failing what is being drained when its table stops',
    edits: edit('workers/apply/facts.ts', [
      "line.control === 'gap' || line.control === 'changed' || line.control === 'leave'",
      "line.control === 'leave'",
    ]),
    killer: integration('apply-hold', 'a gap fails what is being drained'),
  },
]

const GAPS: readonly Mutant[] = [
  {
    rule: 'R22',
    without: 'the facts of a gap',
    edits: edit('workers/apply/facts.ts', [
      "    case 'gap':\n      return lostFacts(line.code, line.message)\n",
      "    case 'gap':\n      return {}\n",
    ]),
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
    without: 'an epoch in the order of positions',
    edits: edit('workers/source/position.ts', [
      'if (a.epoch !== b.epoch) return a.epoch - b.epoch',
      'if (a.epoch < 0) return 0',
    ]),
    killer: model(300, { seedRows: 4, weights: { failOver: 2 } }),
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

export const MUTANTS: readonly Mutant[] = [...INVARIANTS, ...JOINING, ...READING, ...APPLYING, ...GAPS]
