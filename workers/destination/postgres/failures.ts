import { MillraceError } from '../../../lib/errors.ts'
import { type TableName, tableLabel } from '../../source/table.ts'

/** What PostgreSQL says about a failed statement; the part that never holds a row's data. */
interface ServerError {
  readonly code: string
  /** May quote a value, except where the statement itself is at fault. */
  readonly message: string
  readonly column?: string
  readonly constraint?: string
  readonly where?: string
}

const VALUE_PROBLEMS: Readonly<Record<string, string>> = {
  '22001': 'is too long for its type',
  '22003': 'is out of the range of its type',
  '22007': 'is not a date or time of its type',
  '22008': 'is a date or time out of range',
  '22021': "has a character that the destination's encoding lacks",
  '22P02': 'is not valid text for its type',
  '22P05': "has a character that the destination's encoding lacks",
  '23502': 'is NULL, which the destination column refuses',
  '54000': "is too large for the destination's index",
}

const CONSTRAINT_PROBLEMS: Readonly<Record<string, string>> = {
  '23503': 'the foreign key',
  '23505': 'the unique index',
  '23514': 'the check constraint',
  '23P01': 'the exclusion constraint',
}

/**
 * Turns a failure of a write into `table` into the error to throw on. What the server refuses because of a value becomes
 * `ValueRejected`, which names table and column but neither quotes the server nor keeps its error as a cause: both hold
 * the row.
 *
 * @param columnOf the column behind a name of a staging table
 */
export function writeFailure(
  thrown: unknown,
  table: TableName,
  columnOf: (name: string) => string = (name) => name,
): unknown {
  const error = serverError(thrown)
  if (!error) return unavailable(thrown)
  const { code, constraint } = error
  const lead = `destination table ${tableLabel(table)}`
  if (constraint !== undefined && CONSTRAINT_PROBLEMS[code]) {
    return rejected(
      `${lead}: a row violates ${CONSTRAINT_PROBLEMS[code]} ${JSON.stringify(constraint)} of the destination (SQLSTATE ${code}). Drop it there, or mend the rows`,
    )
  }
  const named = error.column ?? columnOfCopy(error.where)
  const subject = named === undefined ? 'a value' : `a value of column ${JSON.stringify(columnOf(named))}`
  if (/^(22|23|54)/.test(code)) {
    return rejected(
      `${lead}: ${subject} ${VALUE_PROBLEMS[code] ?? 'is refused by the destination'} (SQLSTATE ${code}). Alter the destination column, or exclude the column by the table's columns.exclude`,
    )
  }
  if (/^P0/.test(code)) {
    return rejected(
      `${lead}: a trigger of the destination refuses a row (SQLSTATE ${code}). Drop or mend the trigger`,
    )
  }
  // What such an error says is about tables, columns and functions, never about a row.
  if (/^42|^0A/.test(code) && code !== '42501') {
    const said = error.message
    return new MillraceError(
      'DestinationConflict',
      `${lead} cannot be written to (SQLSTATE ${code}): ${said}`,
    )
  }
  return unavailable(thrown)
}

/** SQLSTATE of the server's error behind `thrown`. */
export function serverCode(thrown: unknown): string | undefined {
  return serverError(thrown)?.code
}

/** Name of the column, or of the constraint, that the server's error is about. */
export function serverColumn(thrown: unknown): string | undefined {
  return serverError(thrown)?.column
}

/** To callers of a destination a lost connection is a destination that is away. */
export function unavailable(thrown: unknown): unknown {
  if (!(thrown instanceof MillraceError) || thrown.code !== 'ConnectionLost') return thrown
  return new MillraceError('DestinationUnavailable', thrown.message, {
    cause: thrown.cause,
    ...(thrown.field === undefined ? {} : { field: thrown.field }),
  })
}

function rejected(message: string): MillraceError {
  return new MillraceError('ValueRejected', message)
}

// PostgreSQL names the column of a COPY in the error's context only: `COPY t, line 3, column c: "its value"`.
function columnOfCopy(where: string | undefined): string | undefined {
  return where === undefined ? undefined : /^COPY .*?, line \d+, column ([^:]+)/.exec(where)?.[1]
}

function serverError(thrown: unknown): ServerError | undefined {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    const { code } = error as Error & { code?: unknown }
    if ('severity' in error && typeof code === 'string' && !(error instanceof MillraceError)) {
      return error as unknown as ServerError
    }
  }
  return undefined
}
