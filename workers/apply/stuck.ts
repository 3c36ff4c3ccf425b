import type { ErrorCode, MillraceError } from '../../lib/errors.ts'

/** What only a person or a new table can mend, known at first sight; some of it may be mended without the table. */
const AT_ONCE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'SchemaChangeUnsupported',
  'ValueRejected',
  'TableNotFound',
  'DestinationConflict',
  'NoReplicaIdentity',
])

/** Of everything else only what comes back is certain not to go away by itself: `Internal` is also what nobody foresaw. */
const MOST_FAILURES = 3

/**
 * Whether a table that failed gets no further by being tried again, so that a backfill that empties it, or its removal, lets
 * it pass what it failed at (rule R21).
 *
 * @param failures since it last came to the end of its topic, this one included
 */
export function isStuck({ code, retryable }: MillraceError, failures: number): boolean {
  return AT_ONCE.has(code) || (!retryable && failures > MOST_FAILURES)
}
