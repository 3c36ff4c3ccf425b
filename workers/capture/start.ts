import { MillraceError } from '../../lib/errors.ts'
import { formatLSN, type LSN } from '../source/lsn.ts'
import type { Gap, RecordedState } from './record.ts'

export const PREFIX = 'spec.queue.kafka.topicPrefix'

/**
 * Refuses a record that another Pipeline has written after this process wrote its own: it lives, and has the same topic
 * prefix, as two Kubernetes clusters give to equal names. One that stood there before is of a Pipeline that has ended.
 * Throws `QueueConflict`, not retryable: both would go on to write over what the other remembers.
 *
 * @param hasRecorded whether this process has written a record as `owner`
 */
export function assertOwnRecord(
  record: RecordedState | undefined,
  owner: string,
  hasRecorded: boolean,
): void {
  if (!hasRecorded || record?.owner === undefined || record.owner === owner) return
  throw new MillraceError(
    'QueueConflict',
    `${PREFIX}: another Pipeline writes to the same topics (${record.owner}): delete one of the two and make it again with a prefix of its own; then restart the capture of the other`,
    { field: PREFIX, retryable: false },
  )
}

/** What capture finds when it starts. */
export interface Found {
  readonly record: RecordedState | undefined
  readonly slot: { readonly confirmed: LSN; readonly invalidated: string | undefined } | undefined
  readonly systemIdentifier: string
  readonly timeline: number
  /** The Pipeline that captures now. */
  readonly owner: string
  /** End of the log that the source has written. */
  readonly logEnd: LSN
  /** Some table's topic holds something, so this Pipeline has a past. */
  readonly hasPast: boolean
  /** The slot was found to be of no use while it was read, and why. */
  readonly unusable: string | undefined
  /** Milliseconds since 1970. */
  readonly now: number
}

/** How to go on. */
export interface Start {
  readonly epoch: number
  /** What to do about the slot before reading it. */
  readonly slot: 'keep' | 'create' | 'replace'
  /** Where the record says that the queue ends; undefined: a new epoch begins, behind every transaction that runs. */
  readonly from: LSN | undefined
  /** Changes are missing before that point. */
  readonly gap: Gap | undefined
  /** Another Pipeline captured into these topics before, and has ended: its tables left with it. */
  readonly anew?: boolean
}

/**
 * Decides from what is there whether capture may simply go on (invariant I5, rule R23). Whenever it cannot be proven that
 * nothing is missing, there is a gap, and a new epoch begins.
 */
export function decideStart(found: Found): Start {
  const start = decideFor(found)
  const before = found.record?.owner
  const isOthers = before !== undefined && before !== found.owner
  // A deleted Pipeline takes its slot along, and nobody promised anything for the time until there was another.
  return start.gap && isOthers ? { ...start, gap: undefined, anew: true } : start
}

function decideFor(found: Found): Start {
  const { record, slot } = found
  if (!record) return decideWithoutRecord(found)
  const epoch = record.epoch + 1
  const renewed = slot ? (isUsable(found) ? 'keep' : 'replace') : 'create'
  const again = { epoch, slot: renewed, from: undefined } as const
  // It was found before, and what it was found by may be gone: a log that went back grows, and a slot that was lost is there again.
  if (record.gap) return { ...again, gap: record.gap }
  if (record.systemIdentifier !== found.systemIdentifier) {
    return { ...again, gap: sourceChanged(found, record) }
  }
  if (record.timeline !== found.timeline) return { ...again, gap: promoted(found, record) }
  // What the queue has was flushed by the source before it was sent.
  if (found.logEnd < record.lsn) return { ...again, gap: restored(found, record) }
  if (!slot) {
    return {
      ...again,
      gap: lost('the replication slot is gone; its changes since then were never read'),
    }
  }
  const reason = found.unusable ?? slot.invalidated
  if (reason !== undefined) {
    return { ...again, gap: lost(`the source has invalidated the replication slot (${reason})`) }
  }
  if (slot.confirmed > record.lsn) {
    return {
      ...again,
      gap: lost(
        `the replication slot stands at ${formatLSN(slot.confirmed)}, ahead of ${formatLSN(record.lsn)}, up to which the queue has the log`,
      ),
    }
  }
  return { epoch: record.epoch, slot: 'keep', from: record.lsn, gap: undefined }
}

function decideWithoutRecord(found: Found): Start {
  const { slot } = found
  const kept = slot !== undefined && isUsable(found)
  const action = slot ? (kept ? 'keep' : 'replace') : 'create'
  if (!found.hasPast && !slot) return { epoch: 1, slot: action, from: undefined, gap: undefined }
  return {
    // Earlier epochs are not known; they were counted from 1, or began like this one, earlier.
    epoch: Math.floor((found.now - EPOCHS_WITHOUT_RECORD) / 1000),
    slot: action,
    from: undefined,
    gap: found.hasPast
      ? lost("capture's own record in the queue is gone, so nothing proves that the queue is complete")
      : undefined,
  }
}

const EPOCHS_WITHOUT_RECORD = Date.UTC(2026, 0, 1)

function isUsable(found: Found): boolean {
  return found.unusable === undefined && found.slot?.invalidated === undefined
}

function lost(what: string): Gap {
  return {
    code: 'SlotLost',
    message: `${what}. Changes are missing; a backfill that empties the table cures it`,
  }
}

function sourceChanged(found: Found, record: RecordedState): Gap {
  return {
    code: 'SourceChanged',
    message: `spec.source.postgres.host leads to another database cluster (system identifier ${found.systemIdentifier}, before ${record.systemIdentifier}). Changes may be missing; a backfill that empties the table cures it`,
  }
}

function promoted(found: Found, record: RecordedState): Gap {
  return {
    code: 'SourceChanged',
    message: `the source is on timeline ${found.timeline}, before ${record.timeline}: a replica was promoted or a backup restored. Changes may be missing; a backfill that empties the table cures it`,
  }
}

function restored(found: Found, record: RecordedState): Gap {
  return {
    code: 'SourceChanged',
    message: `the log of the source ends at ${formatLSN(found.logEnd)}, before ${formatLSN(record.lsn)}, up to which the queue has it: a backup was restored. The destination may have changes that the source has not; a backfill that empties the table cures it`,
  }
}
