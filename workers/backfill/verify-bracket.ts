import { MillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Comparison } from '../destination/destination.ts'
import type { LedgerTable } from '../destination/ledger.ts'
import type { Connection } from '../source/connect.ts'
import { readLogEnd, readReplayPosition } from '../source/identity.ts'
import type { LSN } from '../source/lsn.ts'
import { type TableName, tableLabel } from '../source/table.ts'
import { type RowDigest, readByKeys } from '../source/verify-read.ts'
import { waitForVisible, writeMark } from '../source/watermark.ts'
import type { Attempt } from './context.ts'
import { type Bracket, keyText, type Suspect } from './suspects.ts'

/** How often the ledger is looked at; where each look is a statement that is paid for, less and less often. */
const POLL = 100
const DEAR_POLL = 500
const DEAREST_POLL = 5_000
const REPLAY_DEADLINE = 60_000
/** A mark that was lost in a crash is written again after this, milliseconds. */
const MARK_PATIENCE = 15_000
const DEAR_PATIENCE = 120_000
const MARK_DEADLINE = 600_000

/** Reads each row at the source, at the destination, and at the source again; see `Bracket`. */
export async function readBracket(
  attempt: Attempt,
  comparison: Comparison,
  source: Connection,
  isPrimary: boolean,
  suspects: readonly Suspect[],
): Promise<Bracket[]> {
  const { control, names, settings, destination, signal } = attempt
  const keys = suspects.map(({ key }) => key)
  const before = await readByKeys(source.query, comparison.source, keys)
  const mark = await writeMark(control, names, settings.table)
  let written = performance.now()
  const deadline = written + MARK_DEADLINE
  const isDear = destination.kind === 'redshift'
  const patience = isDear ? DEAR_PATIENCE : MARK_PATIENCE
  for (let poll = isDear ? DEAR_POLL : POLL; ; poll = isDear ? Math.min(DEAREST_POLL, 1.5 * poll) : POLL) {
    const row = await destination.ledger.readTable(settings.table, signal)
    assertComparable(row, settings.table)
    if (row && row.position.lsn >= mark) break
    if (performance.now() > deadline) {
      throw new MillraceError(
        'DeadlineExceeded',
        `apply has not come to a mark in the log for ${MARK_DEADLINE / 60_000} minutes: look at the lag of the Pipeline`,
        { retryable: true },
      )
    }
    if (performance.now() - written > patience) {
      await writeMark(control, names, settings.table)
      written = performance.now()
    }
    await sleep(poll, signal)
  }
  const there = await comparison.byKeys(keys, signal)
  const isAllVisible = !isPrimary || (await waitForVisible(control, attempt.definition, signal))
  if (!isPrimary) await untilReplayed(source, (await readLogEnd(control)).flushed, signal)
  const after = await readByKeys(source.query, comparison.source, keys)
  const [first, between, last] = [before, there, after].map(byKey)
  return keys.map((key) => {
    const text = keyText(key)
    return { before: first?.get(text), destination: between?.get(text), after: last?.get(text), isAllVisible }
  })
}

/**
 * Throws when the table's rows are not meant to be the source's: `LedgerConflict` while a backfill has it, `ActionRefused` when
 * a backfill is needed first.
 */
export function assertComparable(row: LedgerTable | undefined, table: TableName): void {
  const label = tableLabel(table)
  if (!row) throw new MillraceError('LedgerConflict', `table ${label} is not in the ledger yet`)
  if (row.heldBy !== '') {
    throw new MillraceError('LedgerConflict', `table ${label} is being backfilled, waiting for its end`)
  }
  if (row.state !== 'active' || row.needsEmptying || !row.historyComplete) {
    const why = row.stopMessage || 'its history in the destination is not complete'
    throw new MillraceError(
      'ActionRefused',
      `table ${label} cannot be verified: ${why}; run a backfill before, with destinationTable Truncate or Drop`,
    )
  }
}

/**
 * Waits until a replica has everything up to `wanted`. Throws `ReplicaBehind` (retryable: then a server is looked for anew) when it
 * does not come to it, or is a server of its own by now, which never will.
 */
export async function untilReplayed(
  replica: Pick<Connection, 'query' | 'place'>,
  wanted: LSN,
  signal: AbortSignal,
): Promise<void> {
  const deadline = performance.now() + REPLAY_DEADLINE
  for (;;) {
    const { inRecovery, replayed } = await readReplayPosition(replica)
    if (!inRecovery) {
      const { field, host, port } = replica.place
      throw new MillraceError('ReplicaBehind', `${field}.host: ${host}:${port} is not a replica any more`)
    }
    if (replayed >= wanted) return
    if (performance.now() > deadline) {
      throw new MillraceError('ReplicaBehind', 'the replica that is read does not follow its primary')
    }
    await sleep(POLL / 2, signal)
  }
}

function byKey(rows: readonly RowDigest[]): Map<string, RowDigest> {
  return new Map(rows.map((row) => [keyText(row.key), row]))
}
