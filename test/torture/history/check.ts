import { backfillsGoForward, chunksAreWrittenOnce, ledgerMovesForward } from './check-ledger.ts'
import {
  acknowledgedAfterRecorded,
  deletedAfterApplied,
  queueIsComplete,
  queueIsInOrder,
  recordedAfterSent,
} from './check-queue.ts'
import { neverStale } from './check-rows.ts'
import { neverTooManyAtOnce, phasesGoForward, primaryIsNotRead, statusFollowsLedger } from './check-status.ts'
import { writesHaveTheirReason } from './check-writes.ts'
import type { Check, History } from './events.ts'

const CHECKS: Readonly<Record<string, Check>> = {
  'I4 R15 R24 the ledger moves forward': ledgerMovesForward,
  'I8 R5 backfills go forward': backfillsGoForward,
  'I9 R6 R7 chunks are written once': chunksAreWrittenOnce,
  'I3 I4 I8 I9 writes have their reason': writesHaveTheirReason,
  'I1 I2 I4 I7 I10 never stale': neverStale,
  'I1 R15 the queue is in order': queueIsInOrder,
  'I1 the queue is complete': queueIsComplete,
  'I5 recorded after sent': recordedAfterSent,
  'I5 acknowledged after recorded': acknowledgedAfterRecorded,
  'I6 R24 deleted after applied': deletedAfterApplied,
  'phases go forward': phasesGoForward,
  'R9 never too many at once': neverTooManyAtOnce,
  'R5 status follows the ledger': statusFollowsLedger,
  'the primary is not read': primaryIsNotRead,
}

/** Whatever a recorded history breaks, each line beginning with the rule. */
export function checkHistory(history: History): string[] {
  return Object.entries(CHECKS).flatMap(([name, check]) => check(history).map((what) => `${name}: ${what}`))
}
