import { MillraceError } from '../../../lib/errors.ts'
import { type TableName, tableLabel } from '../../source/table.ts'
import type { RedshiftContext } from './context.ts'
import { isLoadFailure, type StatementFailure, statementError } from './failures.ts'
import { stagedColumn, type Writing } from './write-sql.ts'

/**
 * The error for a transaction that failed while rows were written. Where COPY was refused, Redshift is asked which column it was
 * about; the row itself is never read.
 */
export async function writeFailure(
  { store }: RedshiftContext,
  failure: StatementFailure,
  target: TableName,
  writing: Writing | undefined,
  signal: AbortSignal,
): Promise<MillraceError> {
  const what = `destination table ${tableLabel(target)}`
  if (!isLoadFailure(failure)) return statementError(failure, what)
  const detail = failure.queryId === undefined ? undefined : await details(failure.queryId)
  const column = detail?.column && writing ? stagedColumn(writing, detail.column) : detail?.column
  const subject = column ? `a value of column ${JSON.stringify(column)}` : 'a row'
  const why = detail ? ` (${detail.reason}, error ${detail.code})` : ''
  return new MillraceError(
    'ValueRejected',
    `${what}: COPY refuses ${subject}${why}. Alter the destination column, set another type in spec.destination.redshift.tables[].columns, or exclude the column by the table's columns.exclude`,
  )

  async function details(queryId: string) {
    try {
      const rows = await store.query(
        `SELECT column_name, error_code, error_message FROM sys_load_error_detail WHERE query_id = ${queryId} LIMIT 1`,
        'millrace read load error',
        signal,
      )
      const row = rows[0]
      if (!row) return undefined
      return {
        column: (row.column_name ?? '').trim(),
        code: row.error_code ?? '?',
        reason: withoutValues((row.error_message ?? '').trim()),
      }
    } catch (error) {
      // A right to see it may be missing; the failure is told all the same.
      if (signal.aborted) throw error
      return undefined
    }
  }
}

/** Messages such as `Invalid digit, Value 'x', Pos 0` quote a part of the row. */
function withoutValues(text: string): string {
  return text
    .replace(/,? ?Value '[^']*'?/gi, '')
    .replace(/(hex sequence|char):.*$/i, '$1')
    .slice(0, 200)
}
