import { MillraceError } from '../../lib/errors.ts'
import { PART_HEADER, RUN_HEADER } from './format.ts'
import type { QueueRecord } from './queue.ts'

/** A run as it was written, put together from its records. */
export interface Run {
  readonly topic: string
  /** Offset of its last record. */
  readonly lastOffset: bigint
  /**
   * Where reading has to begin again once everything up to and including this run is applied: behind it, or at the first
   * part of another run that is not complete yet.
   */
  readonly resumeOffset: bigint
  /** Who reads it takes it away, since it can be large. */
  value: Buffer
}

/** Puts the runs of one topic together. */
export interface RunJoiner {
  /**
   * Takes the next record; returns the run that it completes. Throws `QueueLost` when a part is missing before it: parts of a
   * run come in order, so the one before is gone.
   */
  push(record: QueueRecord): Run | undefined
  /** Bytes of runs that are not complete. */
  bytes(): number
  /** Forgets everything; for a new place in the topic. */
  reset(): void
}

interface Partial {
  readonly run: string
  readonly firstOffset: bigint
  readonly count: number
  readonly parts: Buffer[]
  bytes: number
  timestamp: number
}

/**
 * What a capture left incomplete when it was replaced stays incomplete, because its successor writes all of it again. Two
 * captures can be at work for a moment, each with one run that is split; when another run comes after this time (milliseconds,
 * by the records' times), nothing more is expected of an incomplete one, and keeping it would only hold back where reading begins
 * again. Should more come of it nevertheless, nobody can say whether it was written again: that is a loss.
 */
const LIFETIME = 10 * 60_000
const MOST_INCOMPLETE = 3

export function createRunJoiner(): RunJoiner {
  let incomplete: Partial[] = []
  let bytes = 0

  function drop(partial: Partial): void {
    incomplete = incomplete.filter((each) => each !== partial)
    bytes -= partial.bytes
  }

  function complete(record: QueueRecord, value: Buffer): Run {
    const behind = record.offset + 1n
    const first = incomplete.map(({ firstOffset }) => firstOffset).reduce(min, behind)
    return { topic: record.topic, lastOffset: record.offset, resumeOffset: first, value }
  }

  return {
    push(record) {
      const part = readPart(record)
      for (const each of incomplete) {
        // Its own next part shows that its writer was only held up, and nobody writes again what that goes on with.
        if (each.run !== part?.run && record.timestamp - each.timestamp > LIFETIME) drop(each)
      }
      if (!part) return complete(record, record.value)
      let partial = incomplete.find(({ run }) => run === part.run)
      if (part.index === 1) {
        if (partial) drop(partial)
        if (incomplete.length >= MOST_INCOMPLETE && incomplete[0]) drop(incomplete[0])
        const { offset: firstOffset, timestamp } = record
        partial = { run: part.run, firstOffset, count: part.count, parts: [], bytes: 0, timestamp }
        incomplete.push(partial)
      }
      if (!partial || partial.parts.length !== part.index - 1) {
        throw new MillraceError(
          'QueueLost',
          `topic ${record.topic}: offset ${record.offset} holds part ${part.index} of ${part.count} of a run, and the part before it is gone`,
        )
      }
      partial.parts.push(record.value)
      partial.bytes += record.value.length
      partial.timestamp = record.timestamp
      bytes += record.value.length
      if (partial.parts.length < partial.count) return undefined
      drop(partial)
      return complete(record, Buffer.concat(partial.parts, partial.bytes))
    },
    bytes: () => bytes,
    reset() {
      incomplete = []
      bytes = 0
    },
  }
}

/** Which part of which run a record is; undefined: a whole one. Throws `Internal` when its header says neither. */
export function readPart(record: QueueRecord): { run: string; index: number; count: number } | undefined {
  const header = record.headers[PART_HEADER]
  if (header === undefined) return undefined
  const match = /^(\d+)\/(\d+)$/.exec(header)
  const [index, count] = [Number(match?.[1]), Number(match?.[2])]
  if (match && index >= 1 && index <= count) return { run: record.headers[RUN_HEADER] ?? '', index, count }
  throw new MillraceError(
    'Internal',
    `queue: topic ${record.topic}, offset ${record.offset}: header ${PART_HEADER} is not <index>/<count>`,
  )
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}
