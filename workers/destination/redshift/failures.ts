import { MillraceError } from '../../../lib/errors.ts'

/** A statement that Redshift has refused or given up. What it wrote, and its transaction, is rolled back. */
export class StatementFailure extends Error {
  readonly status: 'FAILED' | 'ABORTED'
  /** Which of a batch's statements, from 0; undefined when none of them is to blame. */
  readonly index: number | undefined
  /** Redshift's number of the query, for its system views; undefined when it has none. */
  readonly queryId: string | undefined

  constructor(
    message: string,
    facts: Pick<StatementFailure, 'status'> & Partial<Pick<StatementFailure, 'index' | 'queryId'>>,
  ) {
    super(message)
    this.name = 'StatementFailure'
    this.status = facts.status
    this.index = facts.index
    this.queryId = facts.queryId
  }
}

const FIELD = 'spec.destination.redshift'

/** What an answer of the Data API other than a result means for who asked. */
export type CallVerdict =
  /** The account's rate is used up. */
  | 'throttled'
  /** Too many statements at work. */
  | 'busy'
  /** Too many calls wait for this statement: ask without waiting. */
  | 'waiting'
  /** No answer, or one that says nothing: the call may have been heard. */
  | 'lost'
  /** There is no such statement (any more). */
  | 'gone'
  | 'refused'

/** Judges what a call threw. */
export function judgeCall(thrown: unknown): CallVerdict {
  const { name, message, $metadata } = thrown as {
    name?: string
    message?: string
    $metadata?: { httpStatusCode?: number }
  }
  switch (name) {
    case 'ActiveStatementsExceededException':
    case 'ActiveSessionsExceededException':
      return 'busy'
    case 'ActiveWaitingRequestsExceededException':
      return 'waiting'
    case 'ThrottlingException':
    case 'Throttling':
    case 'TooManyRequestsException':
    case 'RequestLimitExceeded':
    case 'SlowDown':
      return 'throttled'
  }
  if (/rate exceeded/i.test(message ?? '')) return 'throttled'
  if (name === 'CredentialsProviderError' || thrown instanceof MillraceError) return 'refused'
  if (name === 'ResourceNotFoundException') return 'gone'
  const status = $metadata?.httpStatusCode
  // The Data API answers 500 for what went wrong in a statement's surroundings, too.
  if (status === undefined || status >= 500) return 'lost'
  return status === 429 ? 'throttled' : 'refused'
}

const UNREACHABLE = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ERR_INVALID_URL',
])

/** Whether nobody was there to hear the call. */
export function isUnreachable(thrown: unknown): boolean {
  const { code, name, errors, cause } = thrown as {
    code?: unknown
    name?: unknown
    errors?: readonly unknown[]
    cause?: unknown
  }
  if (UNREACHABLE.has(String(code)) || UNREACHABLE.has(String(name))) return true
  // Node tries every address of a name and reports all of the failures.
  if (errors?.some(isUnreachable)) return true
  return cause !== undefined && cause !== null && isUnreachable(cause)
}

/** The error for a call that was refused; `what` names the service. */
export function refusal(thrown: unknown, what: 'the Data API' | 'S3'): MillraceError {
  if (thrown instanceof MillraceError) return thrown
  const { name = 'Error', message = String(thrown) } = thrown as { name?: string; message?: string }
  const said = `${what} says: ${name}: ${message}`
  const make = (code: ConstructorParameters<typeof MillraceError>[0], field: string, cure: string) =>
    new MillraceError(code, `${field}: ${said}. ${cure}`, { field, cause: thrown })
  if (isUnreachable(thrown)) {
    const [region, endpoint] =
      what === 'S3' ? ['s3.region', 'endpoints.s3'] : ['region', 'endpoints.redshiftData']
    return make(
      'HostUnreachable',
      `${FIELD}.endpoints`,
      `Check ${FIELD}.${region} and, where it is set, ${endpoint}, and that the pods may connect to it`,
    )
  }
  const verdict = judgeCall(thrown)
  if (verdict === 'throttled' || verdict === 'busy') {
    return make('Throttled', FIELD, 'It is tried again; if this stays, ask AWS for a higher quota')
  }
  switch (name) {
    case 'CredentialsProviderError':
      return make(
        'AuthenticationFailed',
        FIELD,
        'The pods have no AWS identity: annotate their service account for EKS pod identity or IRSA, or set credentialsSecretRef',
      )
    case 'UnrecognizedClientException':
    case 'InvalidSignatureException':
    case 'InvalidAccessKeyId':
    case 'SignatureDoesNotMatch':
    case 'ExpiredTokenException':
    case 'ExpiredToken':
    case 'InvalidClientTokenId':
      return make(
        'AuthenticationFailed',
        `${FIELD}.credentialsSecretRef`,
        'Renew the access key in the Secret',
      )
    case 'AccessDeniedException':
    case 'AccessDenied':
    case 'Forbidden':
      return make(
        'PermissionDenied',
        what === 'S3' ? `${FIELD}.s3` : FIELD,
        'Give the identity of the pods the rights that docs/redshift.md lists',
      )
    case 'NoSuchBucket':
    case 'NotFound':
      return make('HostUnreachable', `${FIELD}.s3.bucket`, 'Create the bucket, or name another one')
    case 'PermanentRedirect':
      return make('HostUnreachable', `${FIELD}.s3.region`, 'Set it to the region of the bucket')
    case 'ResourceNotFoundException':
    case 'ValidationException':
      if (/database \S+ (does not|doesn't) exist/i.test(message)) {
        return make('DatabaseNotFound', `${FIELD}.database`, 'Create the database, or name another one')
      }
      return /cluster|workgroup|endpoint/i.test(message)
        ? make(
            'HostUnreachable',
            `${FIELD}.${/workgroup/i.test(message) ? 'workgroupName' : 'clusterIdentifier'}`,
            'Name one that exists in spec.destination.redshift.region',
          )
        : new MillraceError('Internal', said, { cause: thrown })
    default:
      return new MillraceError('DestinationUnavailable', said, { cause: thrown, field: FIELD })
  }
}

/** Whether a transaction lost against another one and may come through when it is tried again. */
export function isConflict(failure: StatementFailure): boolean {
  return /\b1023\b|serializable isolation violation|conflict with concurrent transaction|could not serialize|deadlock detected|\b1018\b/i.test(
    failure.message,
  )
}

/** Whether a guard has found what it guards against. */
export function isGuardFailure(failure: StatementFailure): boolean {
  return /divi(de|sion) by zero/i.test(failure.message)
}

/** Redshift says only where it has written down what was wrong with a file. */
export function isLoadFailure(failure: StatementFailure): boolean {
  return /_load_error/i.test(failure.message)
}

export const isAlreadyThere = (failure: StatementFailure) => /already exists/i.test(failure.message)
export const isMissingTable = (failure: StatementFailure) =>
  /relation .* does not exist|table .* does not exist/i.test(failure.message)
export const isMissingColumn = (failure: StatementFailure) =>
  /column .* (of relation .* )?does not exist/i.test(failure.message)

/** The error for a statement that failed. Redshift's text may hold a value, so only what is known not to is passed on. */
export function statementError(failure: StatementFailure, what: string): MillraceError {
  const said = failure.message
  const retry = (
    code: ConstructorParameters<typeof MillraceError>[0],
    text: string,
    field = FIELD,
  ): MillraceError => new MillraceError(code, text, { field, cause: undefined })
  if (isConflict(failure)) {
    return retry(
      'DestinationUnavailable',
      `${what}: lost again and again against other transactions: ${said}`,
    )
  }
  const denied = /permission denied (for|to) [^.\n]*|must be owner of [^.\n]*/i.exec(said)
  if (denied) {
    return retry(
      'PermissionDenied',
      `${what}: ${denied[0]}. Grant it to the database user of ${FIELD}; docs/redshift.md lists what is needed`,
    )
  }
  if (/password authentication failed|authentication failed|IAM authentication/i.test(said)) {
    return retry('AuthenticationFailed', `${what}: ${said}. Check dbUser or the secret of secretArn`)
  }
  const database = /database "[^"]*" does not exist/i.exec(said)
  if (database) {
    return retry(
      'DatabaseNotFound',
      `${FIELD}.database: ${database[0]}. Create it, or name another one`,
      `${FIELD}.database`,
    )
  }
  if (
    /S3ServiceException.*(Status 0|Status 5\d\d|CanRetry 1)|S3.*(reset|timed? ?out|unexpected end|truncated|slow ?down)/is.test(
      said,
    )
  ) {
    return retry('DestinationUnavailable', `${what}: COPY could not read a file: ${firstLine(said)}`)
  }
  if (/S3ServiceException|not authorized to assume|Access Denied|AccessDenied/i.test(said)) {
    return retry(
      'PermissionDenied',
      `${what}: COPY cannot read the bucket: ${firstLine(said)}. Give the role of ${FIELD}.iamRoleArn (or the default role of the cluster) s3:GetObject on it, and set s3.region when the bucket is in another region`,
      `${FIELD}.iamRoleArn`,
    )
  }
  const value = VALUE.exec(said)
  if (value) {
    return new MillraceError(
      'ValueRejected',
      `${what}: Redshift refuses a value (${value[0]}). Alter the destination column, or exclude the column by the table's columns.exclude`,
    )
  }
  if (failure.status === 'ABORTED' || UNAVAILABLE.test(said)) {
    return retry('DestinationUnavailable', `${what}: ${firstLine(said)}`)
  }
  if (isMissingTable(failure)) {
    return new MillraceError('TableNotFound', `${what}: ${firstLine(said)}`, { field: FIELD })
  }
  return new MillraceError('Internal', `${what}: ${firstLine(said)}`)
}

const VALUE =
  /value too long for type [^\n"']*|numeric data overflow|overflow|value out of range|out of range|cannot insert a null value into column \S+|null value in column \S+|invalid (input syntax|digit|date|timestamp|hexadecimal)\b|exceeds the max[^\n"']*|exceeds DDL length/i

const UNAVAILABLE =
  /cancel|terminat|timed? ?out|connection|disk full|resum|restart|maintenance|unavailable|out of memory|internal error|service error|server closed/i

/** Redshift's details come on lines of their own, and may quote rows. */
function firstLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').slice(0, 500)
}
