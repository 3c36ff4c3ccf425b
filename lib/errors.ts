/**
 * The one error type that Millrace raises on purpose.
 *
 * `code` is stable and machine-readable: it becomes a condition reason, a metric label and the `code` of a problem in
 * status. `retryable` says whether the same attempt may succeed later without anyone changing anything. `field` names
 * the spec field that a person has to look at. Messages never hold secrets or row data.
 */
export class MillraceError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly field: string | undefined

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = 'MillraceError'
    this.code = code
    this.retryable = facts.retryable ?? RETRYABLE.has(code)
    this.field = facts.field
  }
}

export interface ErrorFacts {
  cause?: unknown
  field?: string
  retryable?: boolean
}

/** Every code, one line each. Add here first; a code that is not listed cannot be raised. */
export const ERROR_CODES = [
  // what a person configured
  'InvalidSpec',
  'SecretMissing',
  'AuthenticationFailed',
  'HostUnreachable',
  'TLSFailed',
  'PermissionDenied',
  'DatabaseNotFound',
  'WrongWALLevel',
  'TableNotFound',
  'NoReplicaIdentity',
  'NoUsableKey',
  'ColumnNotFound',
  'UnsupportedServer',
  'DestinationConflict',
  'ReplicaMismatch',
  'PipelineNotFound',
  // what the world did
  'SlotLost',
  'SlotInUse',
  'QueueLost',
  'QueueConflict',
  'SourceChanged',
  'TableChanged',
  'PublicationChanged',
  'LedgerChanged',
  'DestinationChanged',
  'SchemaChangeUnsupported',
  'ValueRejected',
  'ReplicaBehind',
  'SnapshotLost',
  'ReplicaConflict',
  'TableRewritten',
  'TooManyConnections',
  'LockTimeout',
  'ConnectionLost',
  'QueueUnavailable',
  'DestinationUnavailable',
  'KubernetesUnavailable',
  'Throttled',
  // what the protocol forbids
  'Fenced',
  'LedgerConflict',
  'NotHeld',
  'ActionRefused',
  'Cancelled',
  'DeadlineExceeded',
  'Internal',
] as const
export type ErrorCode = (typeof ERROR_CODES)[number]

const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'SecretMissing',
  'AuthenticationFailed',
  'HostUnreachable',
  'TLSFailed',
  'PermissionDenied',
  'DatabaseNotFound',
  'WrongWALLevel',
  'TableNotFound',
  'NoReplicaIdentity',
  'SlotInUse',
  'ReplicaMismatch',
  'ReplicaBehind',
  'SnapshotLost',
  'ReplicaConflict',
  'TableRewritten',
  'TooManyConnections',
  'LockTimeout',
  'ConnectionLost',
  'QueueUnavailable',
  'DestinationUnavailable',
  'KubernetesUnavailable',
  'Throttled',
  'LedgerConflict',
])

/** Turns anything that was thrown into a MillraceError, keeping the original as its cause. */
export function toMillraceError(thrown: unknown, code: ErrorCode = 'Internal'): MillraceError {
  if (thrown instanceof MillraceError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new MillraceError(code, message, { cause: thrown })
}
