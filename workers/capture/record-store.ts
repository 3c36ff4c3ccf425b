import { around } from '../../lib/failpoints.ts'
import type { OutgoingRecord, Queue } from '../queue/queue.ts'
import { type CaptureRecord, foldRecords } from './record.ts'

/** Capture's own topic. */
export interface RecordStore {
  read(signal: AbortSignal): Promise<CaptureRecord>
  /** Writes what has to be remembered before the session begins. */
  write(record: OutgoingRecord, signal: AbortSignal): Promise<void>
  /** Counts what was written elsewhere. */
  wrote(records: number): void
  /** It is time for `compact`. */
  isLong(): boolean
  /**
   * Writes all that counts once more and deletes what stands before. `all` is asked for once it is settled what that is, so that
   * it has whatever is deleted; nothing of capture's position may be written meanwhile.
   */
  compact(all: () => readonly OutgoingRecord[], signal: AbortSignal): Promise<void>
}

/** The topic is read whole at each start, so it is kept about this short. */
const COMPACT_AFTER = 2_000

export function createRecordStore(queue: Queue, topic: string): RecordStore {
  let written = 0
  return {
    async read(signal) {
      await queue.ensureTopic(topic, signal)
      const records = await queue.readAll(topic, signal)
      written = records.length
      return foldRecords(records)
    },
    async write(record, signal) {
      await queue.send([{ topic, records: [record] }], signal)
      written += 1
    },
    wrote(records) {
      written += records
    },
    isLong: () => written > COMPACT_AFTER,
    async compact(all, signal) {
      const before = await queue.offsets(topic, signal)
      // What is written from here on stays, so only what is written twice is deleted.
      const records = all()
      await around('capture.compact', () => queue.send([{ topic, records }], signal))
      if (before) await queue.deleteBefore(topic, before.end, signal)
      written = records.length
    },
  }
}
