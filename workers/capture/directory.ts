import { randomBytes } from 'node:crypto'
import { MillraceError } from '../../lib/errors.ts'
import { around } from '../../lib/failpoints.ts'
import type { OutgoingRecord, Placements, Queue } from '../queue/queue.ts'
import { tableTopic } from '../queue/topics.ts'
import type { TableName } from '../source/table.ts'
import { createEnds } from './ends.ts'
import type { Fingerprint } from './fingerprint.ts'
import { type Channel, createChannel } from './outgoing.ts'
import { type Gap, type RecordedEnds, type RecordedTopic, topicRecord } from './record.ts'
import { PREFIX } from './start.ts'

/** The tables' topics and what is remembered of them. */
export interface Directory {
  /**
   * The table's channel, with its topic made and its incarnation recorded: nothing is ever written under an incarnation that
   * a restart would not find again.
   */
  channel(table: TableName, signal: AbortSignal): Promise<Channel>
  /** The channel if `channel` was called for the table before. */
  known(table: TableName): Channel | undefined
  fingerprint(table: TableName): Fingerprint | undefined
  setFingerprint(table: TableName, fingerprint: Fingerprint): void
  /** The table's membership in the publication as last seen, by `Member.entry`. */
  membership(table: TableName): string | undefined
  setMembership(table: TableName, entry: string | undefined): void
  /** Something of these is in the queue. */
  markWritten(channels: readonly Channel[]): void
  /**
   * Something was sent. Rejects with `QueueLost`, retryable, when it came into a topic that was made anew; that is then
   * remembered, and the next session begins another incarnation. Rejects with `QueueConflict`, retryable, when somebody else
   * has written to the topic: a capture that was replaced and whose last records came late does so once, another Pipeline
   * again and again; what the next session finds in capture's record tells the two apart.
   */
  placed(placements: Placements, signal: AbortSignal): Promise<void>
  /** Ends that have moved since they were last taken; with `all` those of all topics. */
  ends(which: 'moved' | 'all'): RecordedEnds
  hasChanged(): boolean
  /** Entries that changed since they were last taken. */
  takeChanged(): OutgoingRecord[]
  /** All entries. */
  records(): OutgoingRecord[]
  /** Writes the entries that changed at once, instead of with the next record of the position. */
  save(signal: AbortSignal): Promise<void>
}

export interface DirectoryOptions {
  readonly queue: Queue
  readonly prefix: string
  readonly captureTopic: string
  readonly topics: ReadonlyMap<string, RecordedTopic>
  /** Where the topics ended once, by capture's record. */
  readonly ends: ReadonlyMap<string, bigint>
  /** A topic was lost: it was made again, or is empty although something was written (rule R24). */
  readonly onLost: (channel: Channel, gap: Gap) => void
}

export function createDirectory(options: DirectoryOptions): Directory {
  const { queue, prefix } = options
  const entries = new Map(options.topics)
  const channels = new Map<string, Channel>()
  const making = new Map<string, Promise<Channel>>()
  const changed = new Set<string>()
  const ends = createEnds()

  function update(topic: string, change: Partial<RecordedTopic>): void {
    const entry = entries.get(topic)
    if (!entry) return
    entries.set(topic, { ...entry, ...change, version: entry.version + 1 })
    changed.add(topic)
  }

  async function make(table: TableName, topic: string, signal: AbortSignal): Promise<Channel> {
    const known = entries.get(topic)
    const { created } = await queue.ensureTopic(topic, signal)
    const end = created ? 0n : ((await queue.offsets(topic, signal))?.end ?? 0n)
    const isLost =
      (known?.written === true && end === 0n) || known?.lost === true || end < (options.ends.get(topic) ?? 0n)
    if (!known || isLost) {
      const entry: RecordedTopic = {
        topic,
        table: { schema: table.schema, name: table.name },
        incarnation: randomBytes(9).toString('base64url'),
        written: false,
        fingerprint: known?.fingerprint,
        membership: known?.membership,
        version: (known?.version ?? 0) + 1,
      }
      const remember = { topic: options.captureTopic, records: [topicRecord(entry)] }
      // Known first: what compaction deletes of the topic, it must have among all entries.
      entries.set(topic, entry)
      try {
        await around('capture.incarnation', () => queue.send([remember], signal))
      } catch (error) {
        if (known) entries.set(topic, known)
        else entries.delete(topic)
        throw error
      }
    }
    const { incarnation } = entries.get(topic) as RecordedTopic
    const channel = createChannel(table, topic, incarnation)
    channels.set(topic, channel)
    ends.begin(topic, end)
    if (isLost) options.onLost(channel, topicLost(topic, created ? 'gone' : end === 0n ? 'empty' : 'anew'))
    return channel
  }

  function takeChanged(): OutgoingRecord[] {
    const records = [...changed].flatMap((topic) => {
      const entry = entries.get(topic)
      return entry ? [topicRecord(entry)] : []
    })
    changed.clear()
    return records
  }

  async function save(signal: AbortSignal): Promise<void> {
    const topics = [...changed]
    const records = takeChanged()
    if (records.length === 0) return
    try {
      await queue.send([{ topic: options.captureTopic, records }], signal)
    } catch (error) {
      for (const topic of topics) changed.add(topic)
      throw error
    }
  }

  return {
    channel(table, signal) {
      const topic = tableTopic(prefix, table)
      const channel = channels.get(topic)
      if (channel) return Promise.resolve(channel)
      const made = making.get(topic) ?? make(table, topic, signal).finally(() => making.delete(topic))
      making.set(topic, made)
      return made
    },
    known: (table) => channels.get(tableTopic(prefix, table)),
    fingerprint: (table) => entries.get(tableTopic(prefix, table))?.fingerprint,
    setFingerprint: (table, fingerprint) => update(tableTopic(prefix, table), { fingerprint }),
    membership: (table) => entries.get(tableTopic(prefix, table))?.membership,
    setMembership: (table, membership) => update(tableTopic(prefix, table), { membership }),
    markWritten(written) {
      for (const { topic } of written) {
        if (entries.get(topic)?.written === false) update(topic, { written: true })
      }
    },
    async placed(placements, signal) {
      const { anew, shared } = ends.place(placements)
      if (anew.length === 0 && shared.length > 0) throw topicShared(shared)
      if (anew.length === 0) return
      for (const topic of anew) update(topic, { lost: true })
      await save(signal)
      throw new MillraceError('QueueLost', `topic ${anew.join(', ')} was deleted and made anew`, {
        retryable: true,
      })
    },
    ends: (which) =>
      new Map(
        [...(which === 'all' ? ends.all() : ends.takeMoved())].map(([topic, end]) => [
          topic,
          { incarnation: entries.get(topic)?.incarnation ?? '', end },
        ]),
      ),
    hasChanged: () => changed.size > 0,
    takeChanged,
    records: () => [...entries.values()].map(topicRecord),
    save,
  }
}

function topicShared(topics: readonly string[]): MillraceError {
  return new MillraceError(
    'QueueConflict',
    `${PREFIX}: somebody else has written to topic ${topics.join(', ')}: if that goes on, another Pipeline has the same topic prefix`,
    { field: PREFIX, retryable: true },
  )
}

const LOST = {
  gone: 'was gone and had to be made again',
  empty: 'is empty although changes were written to it',
  anew: 'was deleted and made anew',
} as const

function topicLost(topic: string, how: keyof typeof LOST): Gap {
  return {
    code: 'QueueLost',
    message: `topic ${topic} ${LOST[how]}. Changes are missing; a backfill that empties the table cures it`,
  }
}
