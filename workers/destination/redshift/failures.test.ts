import { describe, expect, it } from 'vitest'
import { MillraceError } from '../../../lib/errors.ts'
import {
  isConflict,
  isGuardFailure,
  isLoadFailure,
  isMissingColumn,
  isMissingTable,
  judgeCall,
  refusal,
  StatementFailure,
  statementError,
} from './failures.ts'

const thrown = (name: string, httpStatusCode?: number, message = 'm') =>
  Object.assign(new Error(message), { name, $metadata: httpStatusCode ? { httpStatusCode } : {} })

describe('an answer of the Data API', () => {
  it.each([
    [thrown('ThrottlingException', 400), 'throttled'],
    [thrown('TooManyRequestsException', 429), 'throttled'],
    [thrown('ValidationException', 400, 'Rate exceeded'), 'throttled'],
    [thrown('ActiveStatementsExceededException', 400), 'busy'],
    [thrown('ActiveWaitingRequestsExceededException', 400), 'waiting'],
    [thrown('InternalServerException', 500), 'lost'],
    [thrown('BatchExecuteStatementException', 500), 'lost'],
    [thrown('TimeoutError'), 'lost'],
    [thrown('Error', undefined, 'socket hang up'), 'lost'],
    [thrown('ResourceNotFoundException', 404), 'gone'],
    [thrown('ValidationException', 400), 'refused'],
    [thrown('AccessDeniedException', 400), 'refused'],
    [thrown('CredentialsProviderError'), 'refused'],
    [new MillraceError('SecretMissing', 'm'), 'refused'],
  ])('%s is %s', (error, verdict) => {
    expect(judgeCall(error)).toBe(verdict)
  })

  it.each([
    [thrown('CredentialsProviderError'), 'AuthenticationFailed', 'spec.destination.redshift'],
    [
      thrown('ExpiredTokenException', 403),
      'AuthenticationFailed',
      'spec.destination.redshift.credentialsSecretRef',
    ],
    [thrown('AccessDeniedException', 400), 'PermissionDenied', 'spec.destination.redshift'],
    [
      thrown('ValidationException', 400, 'Cluster c1 is not found'),
      'HostUnreachable',
      'spec.destination.redshift.clusterIdentifier',
    ],
    [
      thrown('ResourceNotFoundException', 400, 'workgroup w is not found'),
      'HostUnreachable',
      'spec.destination.redshift.workgroupName',
    ],
    [thrown('TimeoutError'), 'DestinationUnavailable', 'spec.destination.redshift'],
  ])('%s names the field', (error, code, field) => {
    expect(refusal(error, 'the Data API')).toMatchObject({ code, field })
  })

  it.each([
    [thrown('NoSuchBucket', 404), 'HostUnreachable', 'spec.destination.redshift.s3.bucket'],
    [thrown('AccessDenied', 403), 'PermissionDenied', 'spec.destination.redshift.s3'],
    [thrown('PermanentRedirect', 301), 'HostUnreachable', 'spec.destination.redshift.s3.region'],
  ])('of S3, %s names the field', (error, code, field) => {
    expect(refusal(error, 'S3')).toMatchObject({ code, field })
  })
})

const failed = (message: string) => new StatementFailure(message, { status: 'FAILED', index: 0 })

describe('a statement that failed', () => {
  it.each([
    [
      'ERROR: 1023\n  Detail: Serializable isolation violation on table - 1, transactions forming the cycle',
      isConflict,
    ],
    ['ERROR: could not complete because of conflict with concurrent transaction', isConflict],
    ['ERROR: deadlock detected', isConflict],
    ['ERROR: division by zero', isGuardFailure],
    ['ERROR: Divide by zero', isGuardFailure],
    [`ERROR: Load into table 't' failed.  Check 'stl_load_errors' system table for details.`, isLoadFailure],
    [
      `ERROR: Load into table 't' failed. Check 'sys_load_error_detail' system table for details.`,
      isLoadFailure,
    ],
    ['ERROR: relation "public.t" does not exist', isMissingTable],
    ['ERROR: column "a" of relation "t" does not exist', isMissingColumn],
    ['ERROR: column "a" does not exist in t', isMissingColumn],
  ])('%s', (message, predicate) => {
    expect(predicate(failed(message))).toBe(true)
    expect(
      [isConflict, isGuardFailure, isLoadFailure].filter((each) => each(failed(message))).length,
    ).toBeLessThan(2)
  })

  it.each([
    ['ERROR: permission denied for schema public', 'PermissionDenied'],
    ['ERROR: must be owner of relation t', 'PermissionDenied'],
    ['FATAL: database "x" does not exist', 'DatabaseNotFound'],
    ['ERROR: S3ServiceException:Access Denied,Status 403,Error AccessDenied', 'PermissionDenied'],
    [
      'ERROR: User arn:aws:redshift:x is not authorized to assume IAM Role arn:aws:iam::1:role/x',
      'PermissionDenied',
    ],
    ['ERROR: value too long for type character varying(3)', 'ValueRejected'],
    ['ERROR: invalid input syntax for type integer: "secret"', 'ValueRejected'],
    ["ERROR: Query (12) cancelled on user's request", 'DestinationUnavailable'],
    ['ERROR: Disk Full', 'DestinationUnavailable'],
    ['ERROR: something new', 'Internal'],
  ])('%s', (message, code) => {
    const error = statementError(failed(message), 'table t')
    expect(error.code).toBe(code)
    expect(error.message).toContain('')
    expect(error.message).not.toContain('secret')
  })
})
