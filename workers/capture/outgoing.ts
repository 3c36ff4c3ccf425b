import { randomBytes } from 'node:crypto'
import { PART_HEADER, RUN_HEADER } from '../queue/format.ts'
import type { OutgoingRecord, TopicBatch } from '../queue/queue.ts'
import type { TableName } from '../source/table.ts'
import { type ByteSink, createSink, sinkBytes, takeBytes } from './lines.ts'

/** One table's way into its topic. */
export interface Channel {
  readonly table: TableName
  readonly topic: string
  /** Of the topic; in every header (rule R24). */
  readonly incarnation: string
  /** The run that is being written. */
  readonly sink: ByteSink
  /** Runs that are complete and wait to be sent, as pieces of bytes. */
  readonly complete: Buffer[][]
  /** What the open run's last header line said; compared by identity. Undefined: none yet. */
  header: Buffer | undefined
  /** Number of the transaction that the open run's last transaction line named; 0: none yet. */
  transaction: number
  /** Changes written since they were last counted. */
  changes: number
}

export function createChannel(table: TableName, topic: string, incarnation: string): Channel {
  return {
    table,
    topic,
    incarnation,
    sink: createSink(),
    complete: [],
    header: undefined,
    transaction: 0,
    changes: 0,
  }
}

/** Bytes after which a run is complete. */
export const RUN_BYTES = 128 * 1024
/** Largest record; a run that is larger is split. */
export const RECORD_BYTES = 700_000

/** Everything that is written and not yet taken to be sent. */
export interface Outgoing {
  /** To be called after something was written into a channel's sink: counts it, completes a run that is long enough. */
  written(channel: Channel, bytesBefore: number): void
  /** Completes the channel's run now. */
  complete(channel: Channel): void
  /** Bytes that wait. */
  bytes(): number
  /** Completes all runs and hands out everything. */
  take(): { batches: TopicBatch[]; channels: Channel[]; bytes: number }
}

export function createOutgoing(): Outgoing {
  const dirty = new Set<Channel>()
  let bytes = 0

  function complete(channel: Channel): void {
    if (sinkBytes(channel.sink) === 0) return
    channel.complete.push(takeBytes(channel.sink))
    channel.header = undefined
    channel.transaction = 0
  }

  return {
    written(channel, bytesBefore) {
      const now = sinkBytes(channel.sink)
      bytes += now - bytesBefore
      dirty.add(channel)
      if (now >= RUN_BYTES) complete(channel)
    },
    complete,
    bytes: () => bytes,
    take() {
      const channels = [...dirty]
      const batches = channels.map((channel) => {
        complete(channel)
        const runs = channel.complete.splice(0)
        return { topic: channel.topic, records: runs.flatMap(toRecords) }
      })
      const taken = bytes
      dirty.clear()
      bytes = 0
      return { batches, channels, bytes: taken }
    },
  }
}

/**
 * Cuts batches into consecutive sends of about `limit` bytes, in order within each topic: what a huge run needs on its way
 * is then needed for a part of it at a time.
 */
export function toPortions(batches: readonly TopicBatch[], limit: number): TopicBatch[][] {
  const portions: TopicBatch[][] = []
  let portion: TopicBatch[] = []
  let size = 0
  const finish = () => {
    if (portion.length > 0) portions.push(portion)
    portion = []
    size = 0
  }
  for (const { topic, records } of batches) {
    let taken: OutgoingRecord[] = []
    for (const record of records) {
      if (size > 0 && size + record.value.length > limit) {
        if (taken.length > 0) portion.push({ topic, records: taken })
        taken = []
        finish()
      }
      taken.push(record)
      size += record.value.length
    }
    if (taken.length > 0) portion.push({ topic, records: taken })
  }
  finish()
  return portions
}

/** One record, or the parts of a run that is too large for one. Large pieces are passed on without a copy. */
export function toRecords(pieces: readonly Buffer[]): OutgoingRecord[] {
  const values: Buffer[] = []
  let group: Buffer[] = []
  let size = 0
  const finish = () => {
    if (group.length > 0) values.push(group.length === 1 ? (group[0] as Buffer) : Buffer.concat(group, size))
    group = []
    size = 0
  }
  for (const piece of pieces) {
    for (let start = 0; start < piece.length; start += RECORD_BYTES) {
      const slice = piece.subarray(start, start + RECORD_BYTES)
      if (size + slice.length > RECORD_BYTES) finish()
      group.push(slice)
      size += slice.length
    }
  }
  finish()
  if (values.length === 1) return [{ value: values[0] as Buffer }]
  const run = randomBytes(9).toString('base64url')
  return values.map((value, index) => ({
    value,
    headers: { [PART_HEADER]: `${index + 1}/${values.length}`, [RUN_HEADER]: run },
  }))
}
