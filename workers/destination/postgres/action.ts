import { MillraceError } from '../../../lib/errors.ts'
import { quoteTable } from '../../../lib/sql.ts'
import { type TableName, tableLabel } from '../../source/table.ts'
import type { ActionRequest, ActionResult } from '../destination.ts'
import { readTarget } from './catalog.ts'
import { conform, lockDefinition } from './ensure-table.ts'
import { serverCode, unavailable } from './failures.ts'
import type { LedgerContext } from './ledger.ts'
import { fenced, findBackfill, lockTable } from './ledger-backfills.ts'
import { sameTable, TABLE_COLUMNS, toTable } from './ledger-rows.ts'
import type { Session } from './sessions.ts'

/** What an action did to the table. */
interface Outcome {
  /** No row is in it, and the transaction keeps everybody else from putting one there. */
  readonly empty: boolean
  /** Rows that were there may have been taken away. */
  readonly emptied: boolean
  readonly warnings: readonly string[]
}

/** `Destination.runAction`. Its lock on the backfill's row lets neither a cancel nor another attempt in between (rule R6). */
export async function runAction(
  { sessions, names, pipeline }: LedgerContext,
  request: ActionRequest,
  signal: AbortSignal,
): Promise<ActionResult> {
  const { fence, target } = request
  const mine = [pipeline, fence.uid]
  return sessions
    .transaction(signal, async (session) => {
      await lockTable(session, names, pipeline, request.backfill.table)
      const locked = await session.query(
        `SELECT action, action_done FROM ${names.backfills}
         WHERE pipeline = $1 AND uid = $2 AND state = 'held' AND attempt = $3 FOR UPDATE`,
        [...mine, String(fence.attempt)],
      )
      if (!locked[0]) throw await fenced(session, names, pipeline, fence)
      if (locked[0].action_done === 't') return result([])

      const rows = await session.query(
        `SELECT ${TABLE_COLUMNS} FROM ${names.tables} WHERE pipeline = $1 AND held_by = $2`,
        mine,
      )
      const table = rows[0] && toTable(rows[0])
      if (!table || !sameTable(table.destination, target)) {
        throw new MillraceError(
          'NotHeld',
          `backfill ${request.backfill.name} does not hold a table that is written to ${tableLabel(target)}`,
        )
      }
      if (locked[0].action === 'DoNothing' && table.needsEmptying) throw refused(target)
      const outcome = await act(session, request, locked[0].action ?? '')

      // What nobody knows the history of is gone with the rows (rule R17).
      if (outcome.empty) {
        await session.query(
          `UPDATE ${names.tables} SET unknown_history = false, needs_emptying = false,
             history_complete = history_complete AND NOT $3::boolean, version = version + 1, changed_at = now()
           WHERE pipeline = $1 AND held_by = $2`,
          [...mine, String(outcome.emptied)],
        )
      }
      await session.query(
        `UPDATE ${names.backfills} SET action_done = true, append = $3::boolean, version = version + 1, changed_at = now()
         WHERE pipeline = $1 AND uid = $2`,
        [...mine, String(outcome.empty)],
      )
      return result(outcome.warnings)

      async function result(warnings: readonly string[]): Promise<ActionResult> {
        const backfill = await findBackfill(session, names, pipeline, fence.uid)
        if (!backfill)
          throw new MillraceError('LedgerConflict', `the ledger's row of backfill ${fence.uid} is gone`)
        return { backfill, warnings }
      }
    })
    .catch((error) => {
      throw unavailable(error)
    })
}

async function act(session: Session, request: ActionRequest, action: string): Promise<Outcome> {
  const { target } = request
  await lockDefinition(session, target)
  const found = await readTarget(session, target)
  if (!found || found.kind === 'other') {
    const { created } = await conform(session, request, false)
    return { empty: created, emptied: false, warnings: [] }
  }
  const table = quoteTable(target)
  switch (action) {
    case 'Drop': {
      const warnings = await dependents(session, target)
      // CASCADE: views on a table that is made anew from the source cannot stay valid, and whoever chose Drop accepted
      // that. Refusing would leave the backfill failing until a person drops the same views by hand.
      await session.query(`DROP TABLE ${table} CASCADE`)
      await conform(session, request, true)
      return { empty: true, emptied: true, warnings }
    }
    case 'Truncate': {
      await session.query(`TRUNCATE ${table}`).catch((error) => {
        throw serverCode(error) === '0A000' ? referenced(error, target) : error
      })
      await conform(session, request, true)
      return { empty: true, emptied: true, warnings: [] }
    }
    default: {
      // An empty table is as good as a truncated one, if nobody is just now writing to it.
      await session.query(`LOCK TABLE ${table} IN SHARE ROW EXCLUSIVE MODE`)
      const empty = (await session.query(`SELECT 1 FROM ${table} LIMIT 1`)).length === 0
      if (!empty && request.definition.key.length === 0) throw keyless(target)
      await conform(session, request, empty)
      return { empty, emptied: false, warnings: [] }
    }
  }
}

async function dependents(session: Session, target: TableName): Promise<string[]> {
  const views = await session.query(
    `WITH RECURSIVE dependent (oid) AS (
       SELECT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
       WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
         AND d.refobjid = to_regclass($1) AND r.ev_class <> d.refobjid
       UNION
       SELECT r.ev_class FROM dependent p
       JOIN pg_depend d ON d.refobjid = p.oid AND d.classid = 'pg_rewrite'::regclass
         AND d.refclassid = 'pg_class'::regclass
       JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> p.oid)
     SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind
     FROM dependent d JOIN pg_class c ON c.oid = d.oid JOIN pg_namespace n ON n.oid = c.relnamespace
     ORDER BY 1, 2`,
    [quoteTable(target)],
  )
  const keys = await session.query(
    `SELECT k.conname AS constraint, n.nspname AS schema, c.relname AS name
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE k.contype = 'f' AND k.confrelid = to_regclass($1) AND k.conrelid <> k.confrelid ORDER BY 2, 3, 1`,
    [quoteTable(target)],
  )
  const label = (row: { schema?: string | null; name?: string | null }) =>
    tableLabel({ schema: row.schema ?? '', name: row.name ?? '' })
  return [
    ...views.map(
      (row) =>
        `${row.kind === 'm' ? 'materialized view' : 'view'} ${label(row)} depended on destination table ${tableLabel(target)} and was dropped with it`,
    ),
    ...keys.map(
      (row) =>
        `foreign key ${row.constraint} of table ${label(row)} referenced destination table ${tableLabel(target)} and was dropped with it`,
    ),
  ]
}

function refused(target: TableName): MillraceError {
  return new MillraceError(
    'ActionRefused',
    `spec.destinationTable: DoNothing would keep rows of ${tableLabel(target)} that the source has deleted, because changes were lost: use Truncate or Drop`,
    { field: 'spec.destinationTable' },
  )
}

function keyless(target: TableName): MillraceError {
  return new MillraceError(
    'ActionRefused',
    `spec.destinationTable: with DoNothing rows cannot be put upon those of ${tableLabel(target)}, because the table has no key: use Truncate or Drop, or give it a primary key in the source`,
    { field: 'spec.destinationTable' },
  )
}

function referenced(error: unknown, target: TableName): MillraceError {
  return new MillraceError(
    'DestinationConflict',
    `destination table ${tableLabel(target)} cannot be truncated because a foreign key of another table there references it: drop the foreign key, since replicated tables arrive independently of each other`,
    { field: 'spec.tables[].destination', cause: error },
  )
}
