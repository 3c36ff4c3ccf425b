import { MillraceError } from '../../../lib/errors.ts'
import { type TableName, tableLabel } from '../../source/table.ts'
import type { ActionRequest, ActionResult } from '../destination.ts'
import type { LedgerBackfill, LedgerTable } from '../ledger.ts'
import { dependentViews, readTarget } from './catalog.ts'
import type { RedshiftContext } from './context.ts'
import { alter, definitionFailure, ensureSchema, ensureTable, planFor } from './ensure-table.ts'
import { isAlreadyThere, isMissingTable, StatementFailure } from './failures.ts'
import { backfillContent, backfillId, TABLE_ID, tableContent, toBackfill, toTable } from './ledger-rows.ts'
import { GuardFailed, type LedgerTransaction, type Work } from './ledger-store.ts'
import { checkNames, foldTable, quoteTableName } from './names.ts'
import { assertSQL } from './transaction-sql.ts'
import { assertFence, conflict, notHeld } from './transitions.ts'

/** What an action does to the table, as statements of the transaction that records it. */
interface Act {
  readonly work: readonly Work[]
  readonly last?: string
  /** No row is in it afterwards. */
  readonly empty: boolean
  /** Rows that were there may have been taken away. */
  readonly emptied: boolean
  readonly warnings: readonly string[]
}

const ATTEMPTS = 10
const EMPTY = 'the table is empty'

/**
 * `Destination.runAction`. Reads, decides, and commits if the ledger is still the same: neither a cancel nor another attempt gets
 * in between (rule R6).
 */
export async function runAction(
  context: RedshiftContext,
  request: ActionRequest,
  signal: AbortSignal,
): Promise<ActionResult> {
  checkNames(request.target, request.definition)
  const { store, known, targets } = context
  const { fence, target } = request
  const ledger = store.of(request.backfill.table)
  // A table that is looked at as empty may have rows when the transaction comes: then the next try takes it as it is.
  let trustEmpty = true
  for (let attempt = 1; ; attempt += 1) {
    const rows = await store.readIds(ledger, [TABLE_ID, backfillId(fence.uid)], signal)
    const backfill = found(rows.get(backfillId(fence.uid)), toBackfill)
    const table = found(rows.get(TABLE_ID), toTable)
    if (backfill) known.remember(ledger, backfill)
    assertFence(backfill, fence)
    if (backfill.actionDone) return { backfill, warnings: [] }
    if (table?.heldBy !== fence.uid || quoteTableName(table.destination) !== quoteTableName(target)) {
      throw notHeldHere(backfill, target)
    }
    if (backfill.action === 'DoNothing' && table.needsEmptying) throw refused(target)
    targets.delete(quoteTableName(target))
    const act = await plan(context, request, backfill.action, trustEmpty, signal)
    const next = { ...backfill, actionDone: true, append: act.empty }
    try {
      await store.commit(
        transaction(context, ledger, { backfill, next, table, act }),
        signal,
        (failure) => failure,
      )
    } catch (error) {
      const again =
        error instanceof GuardFailed ||
        (error instanceof StatementFailure && (isAlreadyThere(error) || isMissingTable(error)))
      if (!again || attempt >= ATTEMPTS) {
        throw error instanceof GuardFailed
          ? conflict(`the ledger of ${tableLabel(target)} changes faster than this process can follow`)
          : definitionFailure(error, request)
      }
      if (error instanceof GuardFailed && error.guard === EMPTY) trustEmpty = false
      continue
    }
    const result = { ...next, version: backfill.version + 1n }
    known.remember(ledger, result)
    return { backfill: result, warnings: act.warnings }
  }
}

function transaction(
  { now }: RedshiftContext,
  ledger: string,
  {
    backfill,
    next,
    table,
    act,
  }: { backfill: LedgerBackfill; next: LedgerBackfill; table: LedgerTable; act: Act },
): LedgerTransaction {
  // What nobody knows the history of is gone with the rows (rule R17).
  const cleared = {
    ...table,
    unknownHistory: false,
    needsEmptying: false,
    historyComplete: table.historyComplete && !act.emptied,
  }
  return {
    ledger,
    name: `millrace ${backfill.action} ${tableLabel(table.destination)}`,
    expect: [
      { id: backfillId(backfill.uid), version: backfill.version },
      { id: TABLE_ID, version: table.version },
    ],
    work: act.work,
    writes: [
      { content: backfillContent(next, now()), from: backfill.version },
      ...(act.empty ? [{ content: tableContent(cleared), from: table.version }] : []),
    ],
    ...(act.last !== undefined && { last: act.last }),
  }
}

async function plan(
  context: RedshiftContext,
  request: ActionRequest,
  action: LedgerBackfill['action'],
  trustEmpty: boolean,
  signal: AbortSignal,
): Promise<Act> {
  const { store } = context
  const { target } = request
  const name = quoteTableName(target)
  const table = await readTarget(store, target, signal)
  if (!table) {
    await ensureSchema(context, request, signal)
    const { together } = planFor(context, request, undefined, true)
    // Not IF NOT EXISTS: a table that somebody makes just now is not known to be empty.
    const work = together
      .flat()
      .map((sql) => ({ sql: sql.replace('CREATE TABLE IF NOT EXISTS', 'CREATE TABLE') }))
    return { work, empty: true, emptied: false, warnings: [] }
  }
  switch (action) {
    case 'Drop': {
      const views = await dependentViews(store, target, signal)
      const { together } = planFor(context, request, undefined, true)
      // CASCADE: views on a table that is made anew from the source cannot stay valid, and whoever chose Drop accepted that.
      const work = [`DROP TABLE ${name} CASCADE`, ...together.flat()].map((sql) => ({ sql }))
      return { work, empty: true, emptied: true, warnings: views.map((view) => dropped(view, target)) }
    }
    case 'Truncate': {
      const { alone, together } = planFor(context, request, table, true)
      await alter(context, request, { create: false, alone, together: [] }, signal).catch((error) => {
        throw definitionFailure(error, request)
      })
      const work = together.flat().map((sql) => ({ sql }))
      // Last, because it commits: whatever fails before it fails with it, and after it nothing is left to fail (rule R6).
      return { work, last: `TRUNCATE ${name}`, empty: true, emptied: true, warnings: [] }
    }
    default: {
      await ensureTable(context, request, signal)
      const rows = trustEmpty
        ? await store.query(`SELECT 1 AS found FROM ${name} LIMIT 1`, 'millrace look for rows', signal)
        : [{}]
      if (rows.length > 0) return { work: [], empty: false, emptied: false, warnings: [] }
      const work = [
        { sql: assertSQL('COUNT(*) = 0', `(SELECT 1 AS found FROM ${name} LIMIT 1) AS s`), guard: EMPTY },
      ]
      return { work, empty: true, emptied: false, warnings: [] }
    }
  }
}

function found<R, T>(row: R | undefined, read: (row: R) => T): T | undefined {
  return row === undefined ? undefined : read(row)
}

function dropped(view: TableName, target: TableName): string {
  return `view ${tableLabel(view)} depended on destination table ${tableLabel(foldTable(target))} and was dropped with it`
}

function notHeldHere(backfill: LedgerBackfill, target: TableName): MillraceError {
  return new MillraceError(
    'NotHeld',
    `${notHeld(backfill.uid, undefined).message}: it holds no table that is written to ${tableLabel(target)}`,
  )
}

function refused(target: TableName): MillraceError {
  return new MillraceError(
    'ActionRefused',
    `spec.destinationTable: DoNothing would keep rows of ${tableLabel(target)} that the source has deleted, because changes were lost: use Truncate or Drop`,
    { field: 'spec.destinationTable' },
  )
}
