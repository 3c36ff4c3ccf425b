import { RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { HOME, redshiftName } from '../sql/names.ts'
import { checkError } from './columns.ts'
import { serializationError } from './tracker.ts'

/** What PostgreSQL's errors carry beside the message. */
interface PostgresError extends Error {
  readonly code?: string
  readonly detail?: string
  readonly hint?: string
  readonly position?: string
  readonly constraint?: string
  readonly table?: string
}

/** The connection to PostgreSQL broke while a statement ran: nobody knows whether it came through. */
export class BackendLost extends Error {
  constructor(cause: unknown) {
    super('the connection to the database was lost', { cause })
    this.name = 'BackendLost'
  }
}

export type Isolation = 'serializable' | 'snapshot'

/** Turns what was thrown while a statement ran into what Redshift reports. */
export function translateError(thrown: unknown, isolation: Isolation): Error {
  if (thrown instanceof RedshiftError || thrown instanceof BackendLost || !(thrown instanceof Error)) {
    return thrown instanceof Error ? thrown : new Error(String(thrown))
  }
  const error = thrown as PostgresError
  if (/^Connection terminated|connection is closed|not queryable|ECONNRESET|EPIPE/i.test(error.message)) {
    return new BackendLost(error)
  }
  if (error.code === undefined || !/^[0-9A-Z]{5}$/.test(error.code)) return thrown
  return translate(error, error.code, isolation)
}

function translate(error: PostgresError, code: string, isolation: Isolation): Error {
  switch (code) {
    case '23514':
      return checkError(error.constraint ?? '') ?? plain(error, code)
    case '40001':
      return isolation === 'serializable'
        ? serializationError(`Serializable isolation violation on table - ${error.table ?? 'unknown'}`)
        : new RedshiftError('XX000', 'could not complete because of conflict with concurrent transaction')
    case '21000':
      return error.message.startsWith('MERGE')
        ? new RedshiftError('21000', 'Found multiple matches to update the same tuple')
        : plain(error, code)
    case '22P02':
      return /type json/.test(error.message) ? jsonError(error) : plain(error, code)
    case '22P05':
      // A \u0000 or half a surrogate pair in JSON.
      return jsonError(error)
    case '23505':
      return raced(error) ?? plain(error, code)
    case '42710':
      return racedType(error) ?? plain(error, code)
    case '57P01':
    case '57P02':
    case '57P03':
      return new BackendLost(error)
    case 'P0001':
      return error.message.startsWith('the Redshift emulator does not know ')
        ? new UnknownToEmulator(error.message.slice('the Redshift emulator does not know '.length))
        : plain(error, code)
    default:
      return plain(error, code)
  }
}

const jsonError = (error: PostgresError) =>
  new RedshiftError('XX000', `JSON_PARSE() error: ${error.detail ?? error.message}`)

/** Two sessions made an object of one name: PostgreSQL notices it in its catalog's indexes. */
function raced(error: PostgresError): RedshiftError | undefined {
  const name =
    /\(\w*name, \w+\)=\(([^,]+), /.exec(error.detail ?? '')?.[1] ??
    /\(nspname\)=\((.+)\)/.exec(error.detail ?? '')?.[1]
  const what = error.table === 'pg_namespace' ? 'schema' : 'relation'
  return name === undefined || !/^pg_(class|type|namespace)$/.test(error.table ?? '')
    ? undefined
    : new RedshiftError('42P07', `${what} "${redshiftName(name)}" already exists`)
}

/** A session that comes a moment later meets the other table's row type before the table. */
function racedType(error: PostgresError): RedshiftError | undefined {
  const name = /^type "(.+)" already exists$/.exec(error.message)?.[1]
  return name === undefined
    ? undefined
    : new RedshiftError('42P07', `relation "${redshiftName(name)}" already exists`)
}

function plain(error: PostgresError, code: string): RedshiftError {
  const message = error.message
    .replaceAll(`${HOME}.`, '')
    .replaceAll(/[^\s"()]*\u00a7[0-9a-f]{20}/g, redshiftName)
  const hint = error.hint === undefined ? undefined : `Hint: ${error.hint}`
  return new RedshiftError(code, message, code.startsWith('42') || code === '2BP01' ? hint : undefined)
}
