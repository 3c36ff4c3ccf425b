import { MillraceError } from '../../lib/errors.ts'
import type { HoldLine } from '../queue/format.ts'
import { leafTables } from './catalog.ts'
import { type Connection, inTransaction } from './connect.ts'
import { readLogEnd } from './identity.ts'
import type { LSN } from './lsn.ts'
import { commitDurably, emitMessage } from './messages.ts'
import { isMember, type SourceNames } from './publication.ts'
import { type TableName, tableLabel } from './table.ts'
import { readRunningTransactions, readWriters, type WaitOptions, waitForEnd } from './writers.ts'

/** What both watermarks of a backfill carry. */
export interface Watermark {
  /** metadata.uid of the TableBackfill. */
  readonly uid: string
  readonly table: TableName
}

export interface HoldMark extends Watermark {
  /** metadata.name of the TableBackfill. */
  readonly name: string
  readonly action: HoldLine['action']
}

/**
 * Waits until every transaction that has written the table, or one of its partitions, up to now has ended, prepared ones
 * included (rule R2). `oid` is the table's, or the partition root's. Throws `DeadlineExceeded`.
 */
export async function waitForWriters(
  connection: Connection,
  table: TableName & { readonly oid: number },
  options: WaitOptions,
): Promise<void> {
  const leaves = await leafTables(connection, table.oid)
  const oids = [...new Set([table.oid, ...leaves.map((leaf) => leaf.oid)])]
  await waitForEnd(
    () => readWriters(connection, oids),
    `transactions that write ${tableLabel(table)}`,
    options,
  )
}

/**
 * Waits until every transaction of the database that has written anything up to now has ended for all to see.
 *
 * For scans of the primary (invariant I2), after the hold: there a transaction can be in the log, and in the queue before
 * the hold, and still be invisible. Throws `DeadlineExceeded`.
 */
export async function waitForOlderTransactions(connection: Connection, options: WaitOptions): Promise<void> {
  await waitForEnd(
    () => readRunningTransactions(connection),
    'transactions that began before the hold',
    options,
  )
}

/** On the primary a transaction is in the log a moment before others can see it; longer only while it waits for a standby. */
const VISIBLE_DEADLINE_MILLISECONDS = 1_000

/**
 * Waits until all changes of the table that are in the primary's log by now are visible there. False when that cannot be said: a
 * transaction that has written the table goes on, and may be one that has committed and waits for a synchronous standby.
 */
export async function waitForVisible(
  connection: Connection,
  table: TableName & { readonly oid: number },
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await waitForWriters(connection, table, { signal, deadlineMilliseconds: VISIBLE_DEADLINE_MILLISECONDS })
    return true
  } catch (error) {
    if (!(error instanceof MillraceError && error.code === 'DeadlineExceeded')) throw error
    const [row] = await connection.query(
      "SELECT current_setting('synchronous_standby_names') = '' AS is_alone",
    )
    // Then one that goes on has not committed, and what has not been committed is nowhere else.
    return row?.is_alone === 't'
  }
}

/**
 * Throws `TableNotFound` (retryable: it joins as soon as capture comes to it) when the table is not in the publication.
 */
export async function assertMember(
  connection: Connection,
  names: SourceNames,
  table: TableName,
): Promise<void> {
  if (await isMember(connection, names.publication, table)) return
  throw new MillraceError(
    'TableNotFound',
    `table ${tableLabel(table)} is not in publication ${names.publication} yet; capture adds the tables of the Pipeline to it`,
    { retryable: true },
  )
}

/**
 * Writes the first watermark. Membership is verified in the same transaction, so that a join that was lost in a crash
 * cannot go unnoticed (rules R2, R4). May be repeated: copies are harmless.
 */
export async function writeHold(connection: Connection, names: SourceNames, mark: HoldMark): Promise<void> {
  await inTransaction(connection, async () => {
    await commitDurably(connection)
    await assertMember(connection, names, mark.table)
    await emitMessage(connection, {
      kind: 'hold',
      slot: names.slot,
      schema: mark.table.schema,
      table: mark.table.name,
      uid: mark.uid,
      name: mark.name,
      action: mark.action,
    })
  })
}

/** Writes the second watermark (rule R4). May be repeated. */
export async function writeRelease(
  connection: Connection,
  names: SourceNames,
  mark: Watermark,
): Promise<void> {
  await inTransaction(connection, async () => {
    await commitDurably(connection)
    await emitMessage(connection, {
      kind: 'release',
      slot: names.slot,
      schema: mark.table.schema,
      table: mark.table.name,
      uid: mark.uid,
    })
  })
}

/**
 * Writes a mark for a table. Once the ledger's position has come to the LSN that is returned, everything that was visible
 * anywhere before this call is in the destination.
 */
export async function writeMark(connection: Connection, names: SourceNames, table: TableName): Promise<LSN> {
  const { inserted } = await readLogEnd(connection)
  await inTransaction(connection, async () => {
    await emitMessage(connection, {
      kind: 'mark',
      slot: names.slot,
      schema: table.schema,
      table: table.name,
    })
  })
  return inserted
}
