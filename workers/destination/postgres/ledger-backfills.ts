import { MillraceError } from '../../../lib/errors.ts'
import { formatLSN } from '../../source/lsn.ts'
import { type TableName, tableLabel } from '../../source/table.ts'
import type { Fence, HeldFacts, Ledger, LedgerBackfill, LedgerTable, LedgerTableFacts } from '../ledger.ts'
import type { LedgerContext } from './ledger.ts'
import { toBackfill } from './ledger-rows.ts'
import type { LedgerNames } from './ledger-schema.ts'
import { changed, compareAndSet } from './ledger-tables.ts'
import type { Session } from './sessions.ts'

type BackfillPart = Pick<
  Ledger,
  'readBackfill' | 'readBackfills' | 'recordHeld' | 'closeBackfill' | 'beginAttempt' | 'recordCopied'
>

/** How long ended backfills are listed. */
const LISTED = '7 days'

/** The part of the ledger that is about the states of a backfill: held → copied → drained, or held → closed. */
export function ledgerBackfills(context: LedgerContext): BackfillPart {
  const { sessions, names, pipeline } = context

  // Waits for the transactions that have the row shared: a chunk that got there first is durable, one that comes later
  // finds the hold gone (rule R6). A statement of its own, since what those chunks wrote is seen only by the next one.
  async function lockIn(states: readonly string[], session: Session, mine: string[], attempt?: number) {
    const rows = await session.query(
      `SELECT 1 FROM ${names.backfills}
       WHERE pipeline = $1 AND uid = $2 AND attempt = coalesce($3, attempt) AND state = ANY ($4::text[]) FOR UPDATE`,
      [...mine, attempt === undefined ? null : String(attempt), `{${states.join()}}`],
    )
    return rows.length > 0
  }

  return {
    readBackfill: (uid, signal) =>
      sessions.use(signal, (session) => findBackfill(session, names, pipeline, uid)),

    readBackfills: ({ schema, name }, signal) =>
      sessions.use(signal, (session) =>
        listBackfills(session, names, 'b.pipeline = $1 AND b.source_schema = $2 AND b.source_table = $3', [
          pipeline,
          schema,
          name,
        ]),
      ),

    recordHeld: (row, hold, signal) =>
      sessions.transaction(signal, (session) => recordHeld(session, names, row, hold)),

    closeBackfill: (closed, signal) =>
      sessions.transaction(signal, async (session) => {
        await lockTable(session, names, pipeline, closed.table)
        const mine = [pipeline, closed.uid]
        const facts = [closed.code, closed.message]
        const inserted = await session.query(
          `INSERT INTO ${names.backfills}
             (pipeline, uid, close_code, close_message, name, source_schema, source_table, state, action)
           VALUES ($1, $2, $3, $4, $5, $6, $7, 'closed', $8) ON CONFLICT DO NOTHING RETURNING 1`,
          [...mine, ...facts, closed.name, closed.table.schema, closed.table.name, closed.action],
        )
        const open = closed.evenCopied ? ['held', 'copied'] : ['held']
        if (inserted.length === 0 && (await lockIn(open, session, mine))) {
          await session.query(
            `UPDATE ${names.backfills} b SET state = 'closed', close_code = $3, close_message = $4,
               rows = ${doneSum(names, 'rows')}, bytes = ${doneSum(names, 'bytes')},
               version = version + 1, changed_at = now()
             WHERE pipeline = $1 AND uid = $2`,
            [...mine, ...facts],
          )
          await freeTable(session, names, pipeline, closed.uid)
        }
        return existing(await findBackfill(session, names, pipeline, closed.uid), closed.uid)
      }),

    beginAttempt: (uid, signal) =>
      sessions.transaction(signal, async (session) => {
        const begun = await session.query(
          `UPDATE ${names.backfills} SET attempt = attempt + 1, version = version + 1, changed_at = now()
           WHERE pipeline = $1 AND uid = $2 AND state = 'held' RETURNING 1`,
          [pipeline, uid],
        )
        const found = await findBackfill(session, names, pipeline, uid)
        if (begun.length === 0) throw notHeld(uid, found)
        return existing(found, uid)
      }),

    recordCopied: (fence, signal) =>
      sessions.transaction(signal, async (session) => {
        const before = await findBackfill(session, names, pipeline, fence.uid)
        // Said twice, because the answer to the first time was lost.
        if (before && before.attempt === fence.attempt && /copied|drained/.test(before.state)) return before
        if (before) await lockTable(session, names, pipeline, before.table)
        const mine = [pipeline, fence.uid]
        if (!(await lockIn(['held'], session, mine, fence.attempt)))
          throw await fenced(session, names, pipeline, fence)
        const copied = await session.query(
          `UPDATE ${names.backfills} b SET state = 'copied',
             rows = ${doneSum(names, 'rows')}, bytes = ${doneSum(names, 'bytes')},
             version = version + 1, changed_at = now()
           WHERE pipeline = $1 AND uid = $2 AND action_done AND plan > 0 AND NOT EXISTS (
             SELECT FROM ${names.chunks} c
             WHERE c.pipeline = b.pipeline AND c.uid = b.uid AND c.plan = b.plan AND c.state = 'planned')
           RETURNING 1`,
          mine,
        )
        if (copied.length === 0) {
          throw new MillraceError(
            'Internal',
            `backfill ${fence.uid} is not copied: its action is not done, or chunks of its plan are not`,
          )
        }
        await freeTable(session, names, pipeline, fence.uid)
        return existing(await findBackfill(session, names, pipeline, fence.uid), fence.uid)
      }),
  }
}

async function recordHeld(
  session: Session,
  names: LedgerNames,
  row: LedgerTable,
  hold: HeldFacts,
): Promise<LedgerTable> {
  if (row.state === 'stopped' && hold.action === 'DoNothing') {
    throw new MillraceError(
      'ActionRefused',
      `table ${tableLabel(row.table)} has stopped (${row.stopCode}): a backfill with destinationTable DoNothing does not cure that; use Truncate or Drop`,
      { field: 'spec.destinationTable' },
    )
  }
  // A table that goes on behind the change that it could not apply has lost what was in between (rule R21).
  const skipped: Partial<LedgerTableFacts> =
    row.state === 'stopped'
      ? {
          state: 'active',
          unknownHistory: true,
          needsEmptying: true,
          historyComplete: false,
        }
      : {}
  // A copy of the same hold, or the same call made again: there is nothing to do (rule R4).
  if (row.heldBy === hold.uid) {
    const found = await findBackfill(session, names, row.pipeline, hold.uid)
    if (found?.state === 'held') return row
    throw changed(row)
  }
  const held = await compareAndSet(
    session,
    names.tables,
    row,
    { ...skipped, heldBy: hold.uid, nextOffset: hold.holdOffset, position: hold.position },
    `held_by = ''`,
  )
  const recorded = await session.query(
    `INSERT INTO ${names.backfills}
       (pipeline, uid, name, source_schema, source_table, state, action, hold_lsn, hold_offset)
     VALUES ($1, $2, $3, $4, $5, 'held', $6, $7, $8) ON CONFLICT DO NOTHING RETURNING 1`,
    [
      row.pipeline,
      hold.uid,
      hold.name,
      row.table.schema,
      row.table.name,
      hold.action,
      formatLSN(hold.holdLSN),
      hold.holdOffset.toString(),
    ],
  )
  if (recorded.length === 0) {
    throw notHeld(hold.uid, await findBackfill(session, names, row.pipeline, hold.uid))
  }
  return held
}

/** The backfill as the session's transaction sees it. */
export async function findBackfill(
  session: Pick<Session, 'query'>,
  names: LedgerNames,
  pipeline: string,
  uid: string,
): Promise<LedgerBackfill | undefined> {
  const rows = await session.query(`${selectBackfills(names)} WHERE b.pipeline = $1 AND b.uid = $2`, [
    pipeline,
    uid,
  ])
  return rows[0] && toBackfill(rows[0])
}

/** Takes the table's row first, as the order of locks asks. There may be none. */
export async function lockTable(
  session: Pick<Session, 'query'>,
  names: LedgerNames,
  pipeline: string,
  table: TableName,
): Promise<void> {
  await session.query(
    `SELECT 1 FROM ${names.tables} WHERE pipeline = $1 AND source_schema = $2 AND source_table = $3 FOR UPDATE`,
    [pipeline, table.schema, table.name],
  )
}

/** The error for a write whose fence does not hold any more. */
export async function fenced(
  session: Pick<Session, 'query'>,
  names: LedgerNames,
  pipeline: string,
  fence: Fence,
): Promise<MillraceError> {
  const found = await findBackfill(session, names, pipeline, fence.uid)
  return new MillraceError(
    'Fenced',
    found
      ? `backfill ${found.name} may not write any more: it is ${found.state}, attempt ${found.attempt}; this is attempt ${fence.attempt}`
      : `backfill ${fence.uid} may not write: the ledger does not know it`,
  )
}

async function freeTable(session: Session, names: LedgerNames, pipeline: string, uid: string): Promise<void> {
  await session.query(
    `UPDATE ${names.tables} SET held_by = '', version = version + 1, changed_at = now()
     WHERE pipeline = $1 AND held_by = $2`,
    [pipeline, uid],
  )
}

/** Those that are going on and the ended ones of the last days, the oldest first. */
export async function listBackfills(
  session: Pick<Session, 'query'>,
  names: LedgerNames,
  condition: string,
  values: readonly string[],
): Promise<LedgerBackfill[]> {
  const rows = await session.query(
    `${selectBackfills(names)} WHERE ${condition}
       AND (b.state IN ('held', 'copied') OR b.changed_at > now() - interval '${LISTED}')
     ORDER BY b.changed_at, b.uid`,
    values,
  )
  return rows.map(toBackfill)
}

function selectBackfills(names: LedgerNames): string {
  return `SELECT b.*, ${doneSum(names, 'rows')} AS done_rows, ${doneSum(names, 'bytes')} AS done_bytes FROM ${names.backfills} b`
}

function doneSum(names: LedgerNames, column: 'rows' | 'bytes'): string {
  return `(SELECT coalesce(sum(c.${column}), 0) FROM ${names.chunks} c
    WHERE c.pipeline = b.pipeline AND c.uid = b.uid AND c.plan = b.plan AND c.state = 'done')`
}

function existing(backfill: LedgerBackfill | undefined, uid: string): LedgerBackfill {
  if (!backfill) throw new MillraceError('LedgerConflict', `the ledger's row of backfill ${uid} is gone`)
  return backfill
}

function notHeld(uid: string, found: LedgerBackfill | undefined): MillraceError {
  return new MillraceError(
    'NotHeld',
    found
      ? `backfill ${found.name} does not hold its table: it is ${found.state}${found.closeMessage && ` (${found.closeMessage})`}`
      : `backfill ${uid} does not hold its table: apply has not come to its hold`,
  )
}
