import type { ErrorCode, MillraceError } from '../../lib/errors.ts'
import type { TableDefinition } from '../source/table.ts'

/** What to do about a chunk that failed. */
export type ChunkVerdict =
  /** The same again after a while. */
  | 'retry'
  /** Again in two halves. */
  | 'split'
  /** The server has to prove itself again, or the snapshot is gone: no new chunks until then, those at work may end. */
  | 'reopen'
  /** Block ranges mean nothing any more: all chunks are void (rule R12). */
  | 'replan'
  /** Nothing that more tries of this chunk would help. */
  | 'stop'

/**
 * How long chunks may fail, all of them, before everything is looked at again from the start, milliseconds. Long enough for a
 * server to restart: the snapshot that the copy is read under does not survive the end of an attempt.
 */
export const CHUNK_PATIENCE_MILLISECONDS = 10 * 60 * 1000

/**
 * @param failingMilliseconds since the last chunk that succeeded, or since the copying began
 */
export function judgeChunk(
  error: MillraceError,
  scan: 'Key' | 'Ctid',
  failingMilliseconds: number,
): ChunkVerdict {
  if (error.code === 'SnapshotLost' || error.code === 'ReplicaBehind') return 'reopen'
  if (error.code === 'TableRewritten') return 'replan'
  // A partition that was dropped; of a whole table the next look at the catalog will tell.
  if (error.code === 'TableNotFound' && scan === 'Ctid') return 'replan'
  if (!error.retryable || ENDS_ATTEMPT.has(error.code)) return 'stop'
  if (failingMilliseconds >= CHUNK_PATIENCE_MILLISECONDS) return 'stop'
  return error.code === 'ReplicaConflict' || error.code === 'DeadlineExceeded' ? 'split' : 'retry'
}

// What the ledger or the catalog has to be asked about, or a person.
const ENDS_ATTEMPT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LedgerConflict',
  'ReplicaMismatch',
  'TableNotFound',
  'PermissionDenied',
  'ColumnNotFound',
])

/** Whether rows of a table may have columns, or values in them, that an earlier definition of it does not tell of. */
export function hasOtherColumns(
  before: Pick<TableDefinition, 'columns'>,
  now: Pick<TableDefinition, 'columns'>,
): boolean {
  const shape = ({ columns }: Pick<TableDefinition, 'columns'>) =>
    JSON.stringify(columns.map(({ name, type, baseType }) => [name, type, baseType]))
  return shape(before) !== shape(now)
}

/** What to do about an attempt that failed. */
export type AttemptVerdict =
  /** Look at everything again after a while. */
  | 'again'
  /** Somebody else may have ended it: what the ledger says decides. */
  | 'ask'
  /** This process gives up; the Job may start another. */
  | 'give up'

/** How long a backfill that gets nowhere goes on trying, milliseconds. */
export const PATIENCE_MILLISECONDS = 2 * 60 * 60 * 1000

/**
 * @param idleMilliseconds since the backfill last came closer to its end
 */
export function judgeAttempt(error: MillraceError, idleMilliseconds: number): AttemptVerdict {
  if (error.code === 'Fenced' || error.code === 'NotHeld') return 'ask'
  if (!error.retryable) return 'give up'
  // Its time limit was the patience that one has with it.
  if (error.code === 'DeadlineExceeded') return 'give up'
  // A person may need days; nothing is lost meanwhile, and it goes on by itself.
  if (WAITS_FOR_A_PERSON.has(error.code)) return 'again'
  return idleMilliseconds >= PATIENCE_MILLISECONDS ? 'give up' : 'again'
}

const WAITS_FOR_A_PERSON: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'InvalidSpec',
  'SecretMissing',
  'AuthenticationFailed',
  'HostUnreachable',
  'TLSFailed',
  'PermissionDenied',
  'DatabaseNotFound',
  'WrongWALLevel',
  'TableNotFound',
  'ColumnNotFound',
  'NoReplicaIdentity',
  'ReplicaMismatch',
  'ReplicaBehind',
])

/** Milliseconds after which a hold that had no effect is written again (rule R4); the queue should not fill with copies. */
export function holdPatience(writtenBefore: number): number {
  return Math.min(300_000, 20_000 * 2 ** Math.min(10, writtenBefore))
}
