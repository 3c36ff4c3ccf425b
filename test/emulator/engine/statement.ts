import type { CopyStatement, TableRef } from '../sql/ast.ts'
import { collectReferences } from '../sql/collect.ts'
import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { FUNCTIONS } from '../sql/functions.ts'
import { leaderOnly, type RenderContext, renderTable } from '../sql/render.ts'
import type { History } from './history.ts'
import type { ResultLimits, ResultSet } from './result.ts'
import type { Session } from './session.ts'
import { renderSystemView, systemView } from './system-tables.ts'

/** Everything that running one statement needs. */
export interface StatementContext {
  readonly session: Session
  readonly parameters: ReadonlyMap<string, string>
  readonly history: History
  readonly limits: ResultLimits
  readonly queryId: number
  readonly signal: AbortSignal
  /** Loads the files of a COPY; returns the number of rows. */
  copy(statement: CopyStatement, ctx: StatementContext): Promise<number>
  /** Runs when the statement has done its work, before a commit. Faults happen here. */
  afterwards(): Promise<void>
  /** CANCEL and its like. */
  cancel(pid: number): Promise<void>
}

export interface Outcome {
  /** Rows returned or affected; -1 when the statement has no such number. */
  readonly rowCount: number
  readonly result?: ResultSet
}

export const noRows: Outcome = { rowCount: -1 }

export function renderContext(ctx: StatementContext): RenderContext {
  return {
    parameters: ctx.parameters,
    table: (ref, alias) => {
      const view = systemView(ref)
      return view === undefined
        ? renderTable(ref, alias)
        : renderSystemView(view, alias ?? ref.name, ctx.history)
    },
  }
}

/**
 * The user tables that a part of a statement reads. Refuses another database, and user tables together with what only the
 * leader node knows.
 */
export function userTables(
  part: object,
  ctx: StatementContext,
  others: readonly TableRef[] = [],
): TableRef[] {
  const { tables, functions } = collectReferences(part)
  const user = tables.filter((ref) => systemView(ref) === undefined)
  for (const ref of [...user, ...others]) checkDatabase(ref, ctx.session.database)
  if (user.length + others.length > 0) {
    if ([...functions].some((name) => FUNCTIONS.get(name)?.where === 'leader')) throw leaderOnly()
    const system = tables.find((ref) => systemView(ref) !== undefined)
    if (system) {
      throw system.schema === 'information_schema' || system.name.startsWith('pg_')
        ? leaderOnly()
        : new UnknownToEmulator(`a statement that uses ${system.name} together with user tables`)
    }
  }
  return user
}

export function checkDatabase(ref: TableRef, database: string) {
  if (ref.database !== undefined && ref.database !== database) {
    throw new RedshiftError(
      '0A000',
      `cross-database reference to ${ref.database} is not supported: the session is in ${database}`,
    )
  }
}
