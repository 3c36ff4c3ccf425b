import { createBackoff } from '../../../lib/backoff.ts'
import { MillraceError } from '../../../lib/errors.ts'
import { sleep } from '../../../lib/sleep.ts'
import { tableLabel } from '../../source/table.ts'
import { marksDeleted, SOFT_DELETE_COLUMN } from '../names.ts'
import { hasSchema, readTarget, type TargetTable } from './catalog.ts'
import { type ColumnRule, convertValue } from './columns.ts'
import type { RedshiftContext, TableRequest } from './context.ts'
import { derivedToken } from './data-api.ts'
import { isAlreadyThere, isMissingColumn, StatementFailure, statementError } from './failures.ts'
import { checkNames, foldName, foldTable, quoteName, quoteTableName } from './names.ts'
import { planTable, type TablePlan } from './table-plan.ts'
import type { Writing } from './write-sql.ts'

const ATTEMPTS = 5

/** `Destination.ensureTable`; returns the table as it is afterwards. */
export async function ensureTable(
  context: RedshiftContext,
  request: TableRequest,
  signal: AbortSignal,
): Promise<TargetTable> {
  checkNames(request.target, request.definition)
  const backoff = createBackoff(100, 2_000)
  for (let attempt = 1; ; attempt += 1) {
    const found = await readTarget(context.store, request.target, signal)
    const plan = planFor(context, request, found, false)
    if (found && plan.alone.length === 0 && plan.together.length === 0) {
      context.targets.set(quoteTableName(request.target), found)
      return found
    }
    if (attempt > ATTEMPTS) {
      throw new MillraceError(
        'Internal',
        `destination table ${tableLabel(request.target)} is not as it should be after it was altered`,
      )
    }
    if (!found) await ensureSchema(context, request, signal)
    try {
      await alter(context, request, plan, signal)
    } catch (error) {
      // Another process was at the same: what is there now decides.
      const raced = error instanceof StatementFailure && (isAlreadyThere(error) || isMissingColumn(error))
      if (!raced) throw definitionFailure(error, request)
      await sleep(backoff.next(), signal)
    }
  }
}

/** What has to be done so that a table takes rows of the definition. */
export function planFor(
  { rules, settings, policy }: RedshiftContext,
  { target, definition, options }: TableRequest,
  found: TargetTable | undefined,
  emptied: boolean,
): TablePlan {
  const constants = new Map(definition.columns.map((column) => [column.name, column.constantDefault]))
  const constant = (rule: ColumnRule): string | null => {
    const text = constants.get(rule.name)
    return text === undefined ? null : convertValue(rule, text, policy, undefined)
  }
  return planTable({
    target,
    found,
    definition,
    rules: rules(definition),
    options,
    override: settings.table(definition),
    emptied,
    constant,
  })
}

export async function ensureSchema(
  { store }: RedshiftContext,
  { target }: Pick<TableRequest, 'target'>,
  signal: AbortSignal,
): Promise<void> {
  const { schema } = foldTable(target)
  // CREATE SCHEMA IF NOT EXISTS asks for the right to create even where there is nothing to create.
  if (await hasSchema(store, schema, signal)) return
  try {
    await store.execute(`CREATE SCHEMA IF NOT EXISTS ${quoteName(schema)}`, 'millrace create schema', signal)
  } catch (error) {
    if (!(error instanceof StatementFailure)) throw error
    if (!isAlreadyThere(error)) throw statementError(error, `schema ${schema} of the destination`)
  }
}

/** Runs a plan's statements; those that stand together as one transaction. */
export async function alter(
  { store, log }: RedshiftContext,
  { target }: Pick<TableRequest, 'target'>,
  plan: TablePlan,
  signal: AbortSignal,
): Promise<void> {
  for (const sql of plan.alone) await store.execute(sql, 'millrace alter table', signal)
  for (const group of plan.together) {
    await store.transaction(group, plan.create ? 'millrace create table' : 'millrace alter table', signal)
  }
  log.info({ table: tableLabel(target), created: plan.create }, 'Made the destination table fit')
}

export function definitionFailure(error: unknown, { target }: Pick<TableRequest, 'target'>): unknown {
  if (!(error instanceof StatementFailure)) return error
  const what = `destination table ${tableLabel(target)}`
  if (
    /depend|cannot alter|cannot drop|not supported|target column size|bytedict|encoding/i.test(error.message)
  ) {
    return new MillraceError(
      'SchemaChangeUnsupported',
      `${what} cannot be altered: ${error.message.split('\n', 1)[0]}. Drop what depends on it, or apply a TableBackfill with destinationTable Drop`,
    )
  }
  return statementError(error, what)
}

/**
 * How to write rows of the request's definition; the table is conformed first when it lacks a column. Asks the catalog only when
 * this process does not know the table yet.
 */
export async function writingFor(
  context: RedshiftContext,
  request: TableRequest,
  signal: AbortSignal,
): Promise<Writing> {
  const name = quoteTableName(request.target)
  const known = context.targets.get(name)
  const ready = known && tryWriting(context, known, request)
  if (ready) return ready
  const found = await readTarget(context.store, request.target, signal)
  if (!found) throw tableGone(request)
  const writing =
    tryWriting(context, found, request) ??
    tryWriting(context, await ensureTable(context, request, signal), request)
  if (!writing) {
    throw new MillraceError(
      'Internal',
      `destination table ${tableLabel(request.target)} lacks columns after it was altered`,
    )
  }
  context.targets.set(name, writing.table)
  return writing
}

function tryWriting(
  { rules }: RedshiftContext,
  table: TargetTable,
  { definition, options }: TableRequest,
): Writing | undefined {
  const there = new Map(table.columns.map((column) => [column.name, column]))
  const softColumn = marksDeleted(
    [...there.keys()],
    definition.columns.map(({ name }) => foldName(name)),
  )
  if (options.deletes === 'Soft' && !softColumn) return undefined
  const columns = rules(definition).flatMap(({ name, type }) => {
    const found = there.get(foldName(name))
    return found ? [{ name, type: found.type ?? type }] : []
  })
  if (columns.length < definition.columns.length) return undefined
  const key = definition.key.map((name) => columns.findIndex((column) => column.name === name))
  const written = new Set([...definition.columns.map(({ name }) => foldName(name)), SOFT_DELETE_COLUMN])
  const own = table.columns.flatMap(({ name, type, identity }) =>
    written.has(name) || identity || !type ? [] : [{ name, type }],
  )
  return { table, columns, key, softColumn, own }
}

export function tableGone({ target }: Pick<TableRequest, 'target'>): MillraceError {
  return new MillraceError(
    'TableNotFound',
    `destination table ${tableLabel(target)} is gone: apply a TableBackfill with destinationTable Drop, which makes it anew`,
    { field: 'spec.tables[].destination' },
  )
}

/** Name for the files and tokens of one piece of work. */
export function workName(...facts: readonly (string | number | bigint)[]): string {
  return derivedToken(...facts).slice(0, 24)
}
