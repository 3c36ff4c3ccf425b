import { MillraceError } from '../../../lib/errors.ts'
import type {
  Fetched,
  Placement,
  Placements,
  Queue,
  QueueReader,
  QueueRecord,
  ReaderOptions,
  TopicBatch,
} from '../../../workers/queue/queue.ts'
import { type Call, call, currentProcess } from '../process.ts'
import { world } from '../world.ts'

// Stands in for workers/queue/kafka.ts: topics of one partition in memory.

export interface Topic {
  base: bigint
  readonly records: QueueRecord[]
}

const endOf = (topic: Topic) => topic.base + BigInt(topic.records.length)

function append(batches: readonly TopicBatch[], limit: number): Placements {
  const placed = new Map<string, Placement>()
  let left = limit
  for (const { topic: name, records } of batches) {
    const topic = world().topics.get(name)
    if (!topic) throw new MillraceError('QueueUnavailable', `no topic ${name}`)
    for (const { value, key, headers } of records) {
      if (left <= 0) return placed
      left -= 1
      placed.set(name, { first: placed.get(name)?.first ?? endOf(topic), end: endOf(topic) + 1n })
      if (!name.endsWith('.__capture')) {
        const lines = value.toString().trim().replaceAll('\n', '\n        ')
        world().log.push(`      ${name} ${endOf(topic)}:\n        ${lines}`)
      }
      topic.records.push({
        topic: name,
        offset: endOf(topic),
        timestamp: Date.now(),
        key,
        // Who reads a run may write over it.
        value: Buffer.from(value),
        headers: headers ?? {},
      })
    }
  }
  return placed
}

export function createKafkaQueue(): Queue {
  const closing = new AbortController()
  const either = (signal: AbortSignal) => AbortSignal.any([signal, closing.signal])
  const lingering = {
    lingers: true,
    abandoned: (sent: Call) => void world().late.push(sent),
  }
  const find = (name: string) => world().topics.get(name)

  return {
    ensureTopic: (name, signal) =>
      call(
        `make topic ${name}`,
        () => {
          if (find(name)) return { created: false }
          world().topics.set(name, { base: 0n, records: [] })
          return { created: true }
        },
        { signal: either(signal), ...lingering },
      ),
    offsets: (name, signal) =>
      call(
        `offsets of ${name}`,
        () => {
          const topic = find(name)
          return topic && { earliest: topic.base, end: endOf(topic) }
        },
        { signal: either(signal) },
      ),
    deleteBefore(name, offset, signal) {
      const owner = currentProcess()
      return call(
        `delete ${name} before ${offset}`,
        () => {
          const topic = find(name)
          if (!topic) return
          if (offset > endOf(topic)) throw new MillraceError('QueueUnavailable', 'OFFSET_OUT_OF_RANGE')
          // What a process that was given up deletes of a topic that somebody made anew is found to be lost.
          const isStale = owner?.dead === true || world().ghosts.some((ghost) => ghost === owner)
          if (!isStale || !world().check.remade) world().check.deleted(name, offset)
          while (topic.base < offset && topic.records.length > 0) {
            topic.records.shift()
            topic.base += 1n
          }
        },
        { signal: either(signal), ...lingering },
      )
    },
    send(batches, signal) {
      let isAbandoned = false
      const count = batches.reduce((sum, { records }) => sum + records.length, 0)
      return call(
        `send ${batches.map(({ topic, records }) => `${records.length} to ${topic}`).join(', ')}`,
        (random) => append(batches, isAbandoned || world().isLate ? random % (count + 1) : count),
        {
          signal: either(signal),
          lingers: true,
          abandoned(sent) {
            isAbandoned = true
            world().late.push(sent)
          },
        },
      )
    },
    readAll: (name, signal) =>
      call(`read all of ${name}`, () => [...(find(name)?.records ?? [])], { signal: either(signal) }),
    openReader: (options) => createReader(options, closing.signal),
    async close() {
      closing.abort(new Error('the queue was closed'))
    },
  }
}

function createReader(options: ReaderOptions, closing: AbortSignal): QueueReader {
  const places = new Map<string, { offset: bigint; paused: boolean }>()
  let woken = false

  const hasNews = (name: string, place: { offset: bigint; paused: boolean }) => {
    const topic = world().topics.get(name)
    return !place.paused && (!topic || place.offset !== endOf(topic))
  }

  function fetch(random: number): Fetched {
    woken = false
    const records: QueueRecord[] = []
    const lost: Fetched['lost'][number][] = []
    const ends = new Map<string, bigint>()
    for (const [name, place] of places) {
      if (place.paused) continue
      const topic = world().topics.get(name)
      if (!topic || place.offset < topic.base || place.offset > endOf(topic)) {
        lost.push({
          topic: name,
          wanted: place.offset,
          offsets: topic && { earliest: topic.base, end: endOf(topic) },
        })
        place.paused = true
        continue
      }
      const from = Number(place.offset - topic.base)
      const taken = topic.records.slice(from, from + 1 + (random % 4))
      records.push(...taken.map((record) => ({ ...record, value: Buffer.from(record.value) })))
      place.offset += BigInt(taken.length)
      ends.set(name, endOf(topic))
    }
    return { records, lost, failed: [], ends }
  }

  return {
    seek: (name, offset) => void places.set(name, { offset, paused: false }),
    remove: (name) => void places.delete(name),
    pause(name) {
      const place = places.get(name)
      if (place) place.paused = true
    },
    resume(name) {
      const place = places.get(name)
      if (place) place.paused = false
    },
    next(signal) {
      let expired = false
      const timer = setTimeout(() => {
        expired = true
      }, options.maxWaitMilliseconds)
      return call('fetch', fetch, {
        signal: AbortSignal.any([signal, closing]),
        ready: () => woken || expired || [...places].some(([name, place]) => hasNews(name, place)),
      }).finally(() => clearTimeout(timer))
    },
    wake() {
      woken = true
    },
    async close() {},
  }
}
