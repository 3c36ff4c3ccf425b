import { type ErrorCode, MillraceError } from '../../lib/errors.ts'

/** Where an error happened; names the spec fields that a person would look at. */
export interface ErrorPlace {
  /** Path of the object with host, port and database, such as `spec.source.postgres`. */
  readonly field: string
  readonly credentialsField: string
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user?: string
  /** True until the server has accepted the session. */
  readonly connecting: boolean
}

interface DriverError {
  readonly code?: unknown
  readonly message?: unknown
  readonly errors?: unknown
  readonly severity?: unknown
}

interface Finding {
  readonly code: ErrorCode
  /** Path below the place's field; empty for the object itself, undefined when no field is at fault. */
  readonly field?: string
  readonly text?: string
  readonly retryable?: boolean
}

const NETWORK = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_NODATA',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'ENETDOWN',
  'ETIMEDOUT',
])
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_DESTROYED'])
const TLS =
  /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|ERR_OSSL|CRL_)/

const BY_SQLSTATE: Readonly<Record<string, Finding>> = {
  '28P01': { code: 'AuthenticationFailed', field: 'credentials' },
  '28000': { code: 'AuthenticationFailed', field: 'credentials' },
  '3D000': { code: 'DatabaseNotFound', field: 'database' },
  '53300': { code: 'TooManyConnections', field: '' },
  '42501': { code: 'PermissionDenied', field: 'credentials' },
  '42P01': { code: 'TableNotFound' },
  '42703': { code: 'ColumnNotFound' },
  '55006': { code: 'SlotInUse', field: 'slot' },
  '55P03': { code: 'LockTimeout' },
  '40P01': { code: 'LockTimeout' },
  '40001': { code: 'LockTimeout' },
  '57014': { code: 'DeadlineExceeded', retryable: true },
  '57P01': { code: 'ConnectionLost', field: 'host' },
  '57P02': { code: 'ConnectionLost', field: 'host' },
  '57P03': { code: 'ConnectionLost', field: 'host' },
  '57P05': { code: 'ConnectionLost', field: 'host' },
  '25P03': { code: 'ConnectionLost', field: 'host' },
  '25P04': { code: 'ConnectionLost', field: 'host' },
}

/**
 * Turns what the driver threw into a MillraceError with a code, the spec field to look at, and a message for people.
 *
 * What the server says about a *value* (classes 22 and 23) is left out: it quotes the row.
 */
export function postgresError(thrown: unknown, place: ErrorPlace): MillraceError {
  if (thrown instanceof MillraceError) return thrown
  const error = unwrap(thrown)
  const finding = judge(error, place)
  const field =
    finding.field === undefined
      ? undefined
      : finding.field === 'credentials'
        ? place.credentialsField
        : finding.field === ''
          ? place.field
          : `${place.field}.${finding.field}`
  return new MillraceError(finding.code, describe(error, finding, field, place), {
    cause: thrown,
    ...(field === undefined ? {} : { field }),
    ...(finding.retryable === undefined ? {} : { retryable: finding.retryable }),
  })
}

/** SQLSTATE of what the server reported, as far as it stands behind this error. */
export function sqlState(thrown: unknown): string | undefined {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    const code = (error as DriverError).code
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && 'severity' in error) return code
  }
  return undefined
}

function judge(error: DriverError, place: ErrorPlace): Finding {
  const code = typeof error.code === 'string' ? error.code : ''
  const text = textOf(error)
  if (/conflict with recovery/.test(text)) return { code: 'ReplicaConflict' }
  if (/invalid snapshot identifier|^snapshot ".*" does not exist/.test(text)) return { code: 'SnapshotLost' }
  if (/unrecognized configuration parameter "idle_session_timeout"/.test(text)) {
    return {
      code: 'UnsupportedServer',
      field: 'host',
      text: 'the server is older than PostgreSQL 14; upgrade it',
    }
  }
  const known = BY_SQLSTATE[code]
  if (known) return known
  if (/^08/.test(code)) return { code: 'ConnectionLost', field: 'host' }
  if (/^53|^58/.test(code)) return { code: 'Internal', retryable: true }
  if (/does not support SSL/.test(text)) {
    return { code: 'TLSFailed', field: 'sslMode', text: 'the server does not speak TLS' }
  }
  if (TLS.test(code) || /establishing an SSL connection|altnames/.test(text)) {
    return { code: 'TLSFailed', field: 'sslMode' }
  }
  if (NETWORK.has(code))
    return { code: place.connecting ? 'HostUnreachable' : 'ConnectionLost', field: 'host' }
  if (/timeout expired/.test(text)) {
    return { code: 'HostUnreachable', field: 'host', text: 'no answer in time' }
  }
  if (/^Query read timeout$/.test(text)) {
    return { code: 'ConnectionLost', field: 'host', text: 'no answer to a statement' }
  }
  if (BROKEN.has(code) || /Connection terminated|Client has encountered a connection error/.test(text)) {
    return { code: place.connecting ? 'HostUnreachable' : 'ConnectionLost', field: 'host' }
  }
  return { code: 'Internal', ...(code === '' ? {} : { retryable: false }) }
}

function describe(
  error: DriverError,
  finding: Finding,
  field: string | undefined,
  place: ErrorPlace,
): string {
  const server = `PostgreSQL at ${place.host}:${place.port}`
  const said = finding.text ?? spoken(error)
  const lead = field === undefined ? '' : `${field}: `
  switch (finding.code) {
    case 'HostUnreachable':
      return `${lead}cannot reach ${server}: ${said}. Check host and port, and that the network lets this namespace through`
    case 'AuthenticationFailed':
      return `${lead}${server} refuses the login${place.user ? ` of user ${place.user}` : ''}: ${said}. Check the Secret's user name and password, and the server's pg_hba.conf`
    case 'DatabaseNotFound':
      return `${lead}${server} has no database ${JSON.stringify(place.database)}: ${said}`
    case 'TLSFailed':
      return `${lead}no TLS connection to ${server}: ${said}. Check sslMode and caSecretRef`
    case 'TooManyConnections':
      return `${lead}${server} has no free connection: ${said}. Raise max_connections (or max_wal_senders), or lower parallelism`
    case 'PermissionDenied':
      return `${lead}${server} refuses: ${said}. Grant the privilege to user ${place.user ?? 'of the Secret'}`
    case 'ConnectionLost':
      return `${lead}lost the connection to ${server}: ${said}`
    default:
      return `${lead}${server}: ${said}`
  }
}

function spoken(error: DriverError): string {
  const code = typeof error.code === 'string' ? error.code : ''
  if (/^2[23]/.test(code) && error.severity !== undefined) return `it refused a value (SQLSTATE ${code})`
  const text = textOf(error).split('\n')[0]?.replace(/\.$/, '') ?? ''
  return text === '' ? code || 'no reason given' : text
}

function textOf(error: DriverError): string {
  return typeof error.message === 'string' ? error.message : ''
}

// A host with several addresses fails with an AggregateError that says nothing itself.
function unwrap(thrown: unknown): DriverError {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return thrown.errors[0] as DriverError
  return typeof thrown === 'object' && thrown !== null ? thrown : { message: String(thrown) }
}
