import { gunzipSync, gzipSync } from 'node:zlib'
import type { ErrorCode } from '../../lib/errors.ts'
import type { OutgoingRecord, QueueRecord } from '../queue/queue.ts'
import { formatLSN, type LSN, parseLSN } from '../source/lsn.ts'
import type { TableName } from '../source/table.ts'
import type { Fingerprint } from './fingerprint.ts'

/**
 * What capture remembers, in its own topic: written before anything is confirmed to the source (invariant I5), read at the
 * start. The latest of each key counts.
 */
export interface CaptureRecord {
  readonly state: RecordedState | undefined
  /** By topic. */
  readonly topics: ReadonlyMap<string, RecordedTopic>
  /** By topic, an end that it had once, as it is now (rule R24). */
  readonly ends: ReadonlyMap<string, bigint>
}

/** How far the queue has the log, and of which source. */
export interface RecordedState {
  readonly epoch: number
  readonly lsn: LSN
  readonly systemIdentifier: string
  readonly timeline: number
  /** The Pipeline that wrote it; undefined in records of before it was remembered. */
  readonly owner: string | undefined
  /** What was found to be missing after this, and may not have been told to every table yet. */
  readonly gap?: Gap | undefined
}

/** Changes that were never read, and why. */
export interface Gap {
  readonly code: Extract<ErrorCode, 'SlotLost' | 'SourceChanged' | 'QueueLost'>
  readonly message: string
}

/** Ends of topics, each with the topic's incarnation. */
export type RecordedEnds = ReadonlyMap<string, { readonly incarnation: string; readonly end: bigint }>

/** What is known of a table's topic. Kept for ever, also when the table has left. */
export interface RecordedTopic {
  readonly topic: string
  readonly table: TableName
  readonly incarnation: string
  /** Something is in it, so that an empty topic is one that was lost (rule R24). */
  readonly written: boolean
  /** It was found to have been made anew while capture ran, whatever it holds (rule R24). */
  readonly lost?: boolean
  /** The table as capture last saw it in the catalog (rule R20). */
  readonly fingerprint: Fingerprint | undefined
  /** Its membership in the publication as capture last saw it; undefined in records of before it was remembered. */
  readonly membership?: string | undefined
  /** Grows with every version of this entry. */
  readonly version: number
}

const STATE_KEY = 'state'

/** @param ends of topics in which something was written since the last such record; of all in the first one of a topic */
export function stateRecord(state: RecordedState, ends: RecordedEnds = new Map()): OutgoingRecord {
  const { lsn, ...rest } = state
  const told = Object.fromEntries(
    [...ends].map(([topic, { incarnation, end }]) => [topic, [incarnation, String(end)]]),
  )
  const content = { kind: 'state', ...rest, lsn: formatLSN(lsn), ...(ends.size > 0 && { ends: told }) }
  return { key: STATE_KEY, value: json(content) }
}

/** Length of a fingerprint, characters, from which on it is packed: that of a table with thousands of partitions would fit in no record. */
const PACKED_FROM = 100_000

export function topicRecord({ fingerprint, ...topic }: RecordedTopic): OutgoingRecord {
  const text = JSON.stringify(fingerprint) ?? ''
  const told = text.length < PACKED_FROM ? { fingerprint } : { packed: gzipSync(text).toString('base64') }
  return { key: `topic:${topic.topic}`, value: json({ kind: 'topic', ...topic, ...told }) }
}

function unpack(packed: string): Fingerprint {
  return JSON.parse(gunzipSync(Buffer.from(packed, 'base64')).toString('utf8')) as Fingerprint
}

/**
 * Folds the records of the topic. A capture that was replaced may still have written late, so it is not the order that
 * counts but the position and the version.
 */
export function foldRecords(records: readonly QueueRecord[]): CaptureRecord {
  let state: RecordedState | undefined
  const gaps = new Map<number, Gap>()
  const topics = new Map<string, RecordedTopic>()
  const told: [topic: string, incarnation: string, end: bigint][] = []
  for (const record of records) {
    const content = JSON.parse(record.value.toString('utf8')) as {
      kind: string
      ends?: Record<string, [string, string]>
    }
    for (const [topic, [incarnation, end]] of Object.entries(content.ends ?? {})) {
      told.push([topic, incarnation, BigInt(end)])
    }
    if (content.kind === 'state') {
      const { epoch, lsn, systemIdentifier, timeline, owner, gap } = content as unknown as Record<
        keyof RecordedState,
        never
      >
      if (gap) gaps.set(epoch, gap)
      const found: RecordedState = { epoch, lsn: parseLSN(lsn), systemIdentifier, timeline, owner }
      if (!state || isLater(found, state)) state = found
    } else if (content.kind === 'topic') {
      const {
        kind: _,
        packed,
        ...topic
      } = content as unknown as RecordedTopic & {
        kind: string
        packed?: string
      }
      const known = topics.get(topic.topic)
      if (known && topic.version < known.version) continue
      topics.set(topic.topic, packed === undefined ? topic : { ...topic, fingerprint: unpack(packed) })
    }
  }
  const ends = new Map<string, bigint>()
  for (const [topic, incarnation, end] of told) {
    if (topics.get(topic)?.incarnation === incarnation && end > (ends.get(topic) ?? 0n)) ends.set(topic, end)
  }
  // Whatever a capture that was replaced wrote later of the same epoch.
  const gap = state && gaps.get(state.epoch)
  return { state: state && gap ? { ...state, gap } : state, topics, ends }
}

function isLater(a: RecordedState, b: RecordedState): boolean {
  return a.epoch === b.epoch ? a.lsn >= b.lsn : a.epoch > b.epoch
}

function json(content: object): Buffer {
  return Buffer.from(JSON.stringify(content))
}
