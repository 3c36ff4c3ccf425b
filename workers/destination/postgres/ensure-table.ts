import pg from 'pg'
import { MillraceError } from '../../../lib/errors.ts'
import { quoteIdentifier, quoteTable } from '../../../lib/sql.ts'
import { type TableDefinition, type TableName, tableLabel } from '../../source/table.ts'
import type { TableOptions } from '../destination.ts'
import { knownTypes, readTarget, type TargetTable } from './catalog.ts'
import { serverCode, unavailable } from './failures.ts'
import type { Session, Sessions } from './sessions.ts'
import { planTable, type TablePlan } from './table-plan.ts'
import { typesToAsk } from './types.ts'

/** The table a definition is written to, and how. */
export interface TableRequest {
  readonly target: TableName
  readonly definition: TableDefinition
  readonly options: TableOptions
}

/** A destination table as it is afterwards, and what was done to it. */
export interface Conformed {
  readonly table: TargetTable
  readonly created: boolean
  readonly altered: boolean
}

/** `Destination.ensureTable`. */
export async function ensureTable(
  sessions: Sessions,
  request: TableRequest,
  signal: AbortSignal,
): Promise<Conformed> {
  // Nearly always there is nothing to do, and then no lock is taken.
  const ready = await sessions.use(signal, async (session) => {
    const { found, plan } = await look(session, request, false)
    return plan.statements.length === 0 ? found : undefined
  })
  if (ready) return { table: ready, created: false, altered: false }
  return sessions.transaction(signal, (session) => conform(session, request, false))
}

/**
 * The same within a transaction.
 *
 * @param empty the transaction has made sure that no row is in the table
 */
export async function conform(session: Session, request: TableRequest, empty: boolean): Promise<Conformed> {
  await lockDefinition(session, request.target)
  const { found, plan } = await look(session, request, empty)
  if (plan.create) await makeSchema(session, request.target.schema)
  for (const statement of plan.statements) {
    await session.query(statement).catch((error) => {
      throw definitionFailure(error, request.target)
    })
  }
  const table = plan.statements.length === 0 ? found : await readTarget(session, request.target)
  if (!table)
    throw new MillraceError('Internal', `destination table ${tableLabel(request.target)} is not there`)
  return { table, created: plan.create, altered: !plan.create && plan.statements.length > 0 }
}

/** Lets only one at a time change the definition of a destination table; held until the transaction ends. */
export async function lockDefinition(session: Session, target: TableName): Promise<void> {
  await session.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
    `millrace table ${quoteTable(target)}`,
  ])
}

async function look(
  session: Session,
  { target, definition, options }: TableRequest,
  empty: boolean,
): Promise<{ found: TargetTable | undefined; plan: TablePlan }> {
  const found = await readTarget(session, target)
  const known = await knownTypes(session, definition.columns.flatMap(typesToAsk))
  const plan = planTable({
    target,
    found,
    definition,
    options,
    empty,
    known: (type) => known.has(type),
    literal: (text) => pg.escapeLiteral(text),
  })
  return { found, plan }
}

async function makeSchema(session: Session, schema: string): Promise<void> {
  const there = await session.query('SELECT 1 FROM pg_namespace WHERE nspname = $1', [schema])
  if (there.length > 0) return
  await session.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`millrace schema ${schema}`])
  const now = await session.query('SELECT 1 FROM pg_namespace WHERE nspname = $1', [schema])
  if (now.length === 0) await session.query(`CREATE SCHEMA ${quoteIdentifier(schema)}`)
}

function definitionFailure(error: unknown, target: TableName): unknown {
  const lead = `destination table ${tableLabel(target)}`
  const said = error instanceof Error ? error.message : String(error)
  switch (serverCode(error)) {
    case '23505':
      return new MillraceError(
        'DestinationConflict',
        `${lead} has several rows with the same key, so that its key cannot be made unique: delete the superfluous ones, or apply a TableBackfill with destinationTable Truncate or Drop`,
      )
    case '0A000':
    case '2BP01':
      return new MillraceError(
        'SchemaChangeUnsupported',
        `${lead} cannot be altered: ${said}. Drop what depends on it, or apply a TableBackfill with destinationTable Drop`,
      )
    case '54011':
      return new MillraceError(
        'SchemaChangeUnsupported',
        `${lead}: ${said}. Exclude columns by columns.exclude`,
      )
    default:
      return unavailable(error)
  }
}
