import { type ErrorCode, toMillraceError } from '../../lib/errors.ts'

/**
 * How a worker ends. The operator's Jobs read it: 2 fails the Job at once, 1 counts as one failed attempt.
 * A backfill that is asked to stop before its copy is complete must reject, else its Job would count as complete.
 */
export const EXIT = { done: 0, failed: 1, wrongInput: 2 } as const

/** Not retryable, and yet nothing that failing the whole Job would be right for: a fault of ours, or of a superseded pod. */
const NEVER_INPUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['Internal', 'Fenced', 'NotHeld'])

/** Exit code for what the main function of a worker threw. */
export function exitCode(thrown: unknown, stopping: boolean): number {
  if (stopping) return EXIT.failed
  const error = toMillraceError(thrown)
  return error.retryable || NEVER_INPUT.has(error.code) ? EXIT.failed : EXIT.wrongInput
}
