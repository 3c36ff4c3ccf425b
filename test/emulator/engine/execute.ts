import type { Statement } from '../sql/ast.ts'
import { RedshiftError } from '../sql/errors.ts'
import { sqlTable } from '../sql/names.ts'
import { runAlterTable } from './alter.ts'
import {
  runComment,
  runCreateTable,
  runCreateTableAs,
  runCreateView,
  runDropTables,
  runSchema,
} from './ddl.ts'
import { runDelete, runInsert, runMerge, runUpdate } from './dml.ts'
import { runQuery } from './query.ts'
import { refusesBlock } from './session.ts'
import { noRows, type Outcome, type StatementContext } from './statement.ts'
import { runAnalyze, runGrant, runLock, runSet, runShow } from './utility.ts'

type Control = { readonly kind: 'begin' } | { readonly kind: 'commit' } | { readonly kind: 'rollback' }

/**
 * Runs one statement in its session: in the transaction that is open, or in one of its own. Fails with what Redshift
 * reports; an open transaction then takes nothing but its end.
 */
export async function runStatement(statement: Statement, ctx: StatementContext): Promise<Outcome> {
  const { session } = ctx
  const open = session.transaction()
  if (statement.kind === 'begin' || statement.kind === 'commit' || statement.kind === 'rollback') {
    return control(statement.kind, ctx)
  }
  if (open?.failed) {
    throw new RedshiftError(
      '25P02',
      'current transaction is aborted, commands ignored until end of transaction block',
    )
  }
  const refused = refusesBlock(statement)
  if (refused && open?.explicit) {
    open.failed = true
    throw new RedshiftError('25001', `${refused} cannot run inside a transaction block`)
  }
  if (!open) await session.begin(false)
  try {
    const outcome = await dispatch(statement, ctx)
    await ctx.afterwards()
    // TRUNCATE commits what came before it, too.
    if (!open || statement.kind === 'truncate') await session.commit()
    return outcome
  } catch (error) {
    const current = session.transaction()
    if (current) current.failed = true
    if (!open) await session.rollback().catch(() => {})
    throw session.translate(error)
  }
}

async function control(
  kind: 'begin' | 'commit' | 'rollback',
  { session }: StatementContext,
): Promise<Outcome> {
  const open = session.transaction()
  if (kind === 'begin') {
    // A second BEGIN is a warning only.
    if (!open) await session.begin(true)
  } else if (kind === 'commit') {
    await session.commit()
  } else if (open) {
    await session.rollback()
  }
  return noRows
}

async function dispatch(statement: Exclude<Statement, Control>, ctx: StatementContext): Promise<Outcome> {
  switch (statement.kind) {
    case 'query':
      return runQuery(statement.query, ctx)
    case 'insert':
      return runInsert(statement, ctx)
    case 'update':
      return runUpdate(statement, ctx)
    case 'delete':
      return runDelete(statement, ctx)
    case 'merge':
      return runMerge(statement, ctx)
    case 'copy':
      return { rowCount: await ctx.copy(statement, ctx) }
    case 'create table':
      return runCreateTable(statement, ctx)
    case 'create table as':
      return runCreateTableAs(statement, ctx)
    case 'create view':
      return runCreateView(statement, ctx)
    case 'create schema':
    case 'drop schema':
      return runSchema(statement, ctx)
    case 'drop table':
    case 'drop view':
      return runDropTables(statement, ctx)
    case 'alter table':
      return runAlterTable(statement, ctx)
    case 'truncate':
      await ctx.session.prepare({ reads: [], writes: [{ table: statement.table, lock: 'exclusive' }] })
      await ctx.session.run(`TRUNCATE TABLE ${sqlTable(statement.table)}`)
      return noRows
    case 'comment':
      return runComment(statement, ctx)
    case 'grant':
    case 'revoke':
      return runGrant(statement, ctx)
    case 'lock':
      return runLock(statement, ctx)
    case 'set':
      return runSet(statement.name, statement.value, ctx)
    case 'reset':
      return runSet(statement.name, statement.name === 'search_path' ? 'public' : 'off', ctx)
    case 'show':
      return runShow(statement.name, ctx)
    case 'analyze':
    case 'vacuum':
      return runAnalyze(statement, ctx)
    case 'cancel':
      await ctx.cancel(statement.pid)
      return noRows
  }
}
