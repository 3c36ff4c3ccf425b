import { MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sqlState } from '../source/postgres-errors.ts'
import { slotInUse } from '../source/slot.ts'
import { explainReplication } from './prepare.ts'

/** Says that the slot cannot be read on, although the server does not say so by itself. */
export function slotReason(thrown: unknown): string | undefined {
  const error = toMillraceError(thrown)
  // The publication was dropped and made again: the log before that cannot be decoded any more.
  const isMissing = sqlState(error) === '42704' && /publication .* does not exist/.test(error.message)
  return isMissing ? 'its publication was dropped' : undefined
}

/** An error of the stream, said of the slot where it is about that. */
export function explainStream(thrown: unknown, slot: string): unknown {
  const error = toMillraceError(thrown)
  if (sqlState(error) === '55006') {
    const pid = /PID (\d+)/.exec(error.message)?.[1]
    return slotInUse(slot, pid === undefined ? undefined : Number(pid))
  }
  if (error.code !== 'PermissionDenied' && sqlState(error) === '55000') {
    return new MillraceError('SlotLost', error.message, {
      cause: error,
      retryable: true,
      field: 'spec.source.postgres.slot',
    })
  }
  return explainReplication(thrown)
}
