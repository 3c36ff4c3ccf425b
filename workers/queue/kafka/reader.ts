import { sleep } from '../../../lib/sleep.ts'
import type { Fetched, QueueReader, QueueRecord, ReaderOptions, TopicOffsets } from '../queue.ts'
import type { Cluster } from './cluster.ts'
import { type FetchedTopic, unpackBatch } from './driver.ts'
import { brokerError, isTransient } from './errors.ts'

/**
 * Fetches in flight to one broker. With one, a topic that is resumed would have to wait until the long poll for the idle
 * ones has ended.
 */
const LANES = ['fetch-0', 'fetch-1']
/** A broker that restarts may not know its topics at once; only after this long is a topic reported as gone. */
const ABSENCE = 10_000
const PAUSE_AFTER_ERROR = 250

interface Place {
  readonly topic: string
  /** Next offset to deliver, which is also where the next fetch begins once `batches` is empty. */
  offset: bigint
  paused: boolean
  inFlight: boolean
  /** Fetched and not yet delivered, compressed. */
  batches: Buffer
  /** When it was last delivered, as a count: those that wait longest are asked for first. */
  served: number
  absentSince: number | undefined
  notBefore: number
}

/** Reads many topics by offset. Nothing is fetched unless the caller calls `next`, one fetch ahead. */
export function createReader(
  cluster: Cluster,
  offsetsOf: (topic: string, signal: AbortSignal) => Promise<TopicOffsets | undefined>,
  options: ReaderOptions,
): QueueReader {
  const places = new Map<string, Place>()
  const busy = new Set<string>()
  const closing = new AbortController()
  let ends = new Map<string, bigint>()
  let lost: Fetched['lost'][number][] = []
  let failed: Fetched['failed'][number][] = []
  let failure: unknown
  let failures = 0
  let served = 0
  let woken = false
  let notify = () => {}

  const current = (place: Place) => places.get(place.topic) === place

  /** Starts fetches for all topics that have none in flight, as far as lanes are free. */
  async function pump(): Promise<void> {
    const now = performance.now()
    const ready = [...places.values()]
      .filter(
        (place) => !place.paused && !place.inFlight && place.batches.length === 0 && place.notBefore <= now,
      )
      .sort((a, b) => a.served - b.served)
    if (ready.length === 0 || failure !== undefined || closing.signal.aborted) return
    for (const place of ready) place.inFlight = true
    try {
      const facts = await cluster.topics(
        ready.map(({ topic }) => topic),
        closing.signal,
      )
      const leaders = Map.groupBy(ready, ({ topic }) => facts.get(topic)?.leader)
      for (const place of leaders.get(undefined) ?? [])
        settle(place, facts.get(place.topic)?.error || 'LEADER_NOT_AVAILABLE')
      leaders.delete(undefined)
      for (const [leader, group] of leaders) {
        const lane = LANES.find((name) => !busy.has(`${leader} ${name}`))
        if (lane === undefined || leader === undefined) for (const place of group) place.inFlight = false
        else void fetch(leader, lane, group)
      }
    } catch (thrown) {
      fail(ready, thrown)
    }
  }

  async function fetch(leader: number, lane: string, group: readonly Place[]): Promise<void> {
    const key = `${leader} ${lane}`
    busy.add(key)
    try {
      const connection = await cluster.connection(leader, lane, closing.signal)
      const request = {
        topics: group.map(({ topic, offset }) => ({ topic, offset })),
        maxBytes: options.maxBytes,
        maxBytesPerTopic: options.maxBytesPerTopic,
        maxWait: options.maxWaitMilliseconds,
      }
      const answers = await cluster.translate(() => connection.fetch(request, closing.signal))
      const byTopic = new Map(answers.map((answer) => [answer.topic, answer]))
      failures = 0
      for (const place of group) accept(place, byTopic.get(place.topic))
    } catch (thrown) {
      fail(group, thrown)
    } finally {
      busy.delete(key)
      notify()
    }
    if (!closing.signal.aborted) void pump()
  }

  function accept(place: Place, answer: FetchedTopic | undefined): void {
    if (!current(place)) return
    if (answer === undefined || answer.error !== '') {
      settle(place, answer?.error ?? 'UNKNOWN_TOPIC_OR_PARTITION')
      return
    }
    place.inFlight = false
    place.absentSince = undefined
    place.batches = answer.batches
    ends.set(place.topic, answer.end)
  }

  /** What an error for one topic means. Loss is believed only after asking for the topic's offsets. */
  function settle(place: Place, error: string): void {
    if (!current(place)) return
    cluster.forget([place.topic])
    const now = performance.now()
    if (error === 'UNKNOWN_TOPIC_OR_PARTITION') place.absentSince ??= now
    const absent = place.absentSince !== undefined && now - place.absentSince >= ABSENCE
    if (error === 'OFFSET_OUT_OF_RANGE' || absent) {
      void examine(place)
      return
    }
    if (isTransient(error)) {
      postpone(place)
      return
    }
    places.delete(place.topic)
    failed.push({ topic: place.topic, error: brokerError(error, 'read', place.topic) })
    notify()
  }

  async function examine(place: Place): Promise<void> {
    try {
      const offsets = await offsetsOf(place.topic, closing.signal)
      if (!current(place)) return
      if (offsets && offsets.earliest <= place.offset && place.offset <= offsets.end) return postpone(place)
      places.delete(place.topic)
      lost.push({ topic: place.topic, wanted: place.offset, offsets })
      notify()
    } catch (thrown) {
      fail([place], thrown)
    }
  }

  function postpone(place: Place): void {
    place.inFlight = false
    place.notBefore = performance.now() + PAUSE_AFTER_ERROR
    sleep(PAUSE_AFTER_ERROR + 1, closing.signal).then(pump, () => {})
    notify()
  }

  /** A broken connection is made again without a word; when that fails too the caller hears of it. */
  function fail(group: readonly Place[], thrown: unknown): void {
    cluster.forget()
    failures += 1
    if (failures > 1 && !closing.signal.aborted) failure = thrown
    for (const place of group) if (current(place)) postpone(place)
    notify()
  }

  /** Unpacks what was fetched, topics that waited longest first, up to `maxBytes` unpacked. */
  async function deliver(): Promise<QueueRecord[]> {
    const records: { place: Place; record: QueueRecord }[] = []
    let bytes = 0
    const waiting = [...places.values()]
      .filter((place) => !place.paused && place.batches.length > 0)
      .sort((a, b) => a.served - b.served)
    for (const place of waiting) {
      place.served = served += 1
      while (place.batches.length > 0 && bytes < options.maxBytes) {
        const batch = await unpackBatch(place.topic, place.batches)
        // Moved, removed or paused while the batch was unpacked: nothing of it may come out any more.
        if (!current(place) || place.paused) break
        place.batches = batch?.rest ?? Buffer.alloc(0)
        if (!batch) break
        for (const record of batch.records) {
          if (record.offset < place.offset) continue
          records.push({ place, record })
          bytes += record.value.length
        }
        place.offset = batch.nextOffset
      }
    }
    return records.filter(({ place }) => current(place)).map(({ record }) => record)
  }

  function put(topic: string, offset: bigint): void {
    const batches = Buffer.alloc(0)
    const state = { paused: false, inFlight: false, served: 0, absentSince: undefined, notBefore: 0 }
    places.set(topic, { topic, offset, batches, ...state })
    forget(topic)
    void pump()
  }

  function forget(topic: string): void {
    ends.delete(topic)
    lost = lost.filter((entry) => entry.topic !== topic)
    failed = failed.filter((entry) => entry.topic !== topic)
  }

  return {
    seek: put,
    remove(topic) {
      places.delete(topic)
      forget(topic)
    },
    pause(topic) {
      const place = places.get(topic)
      if (place) place.paused = true
    },
    resume(topic) {
      const place = places.get(topic)
      if (!place?.paused) return
      place.paused = false
      notify()
      void pump()
    },
    async next(signal) {
      const deadline = performance.now() + options.maxWaitMilliseconds
      for (;;) {
        signal.throwIfAborted()
        closing.signal.throwIfAborted()
        if (failure !== undefined) {
          const thrown = failure
          failure = undefined
          throw thrown
        }
        const records = await deliver()
        void pump()
        const left = deadline - performance.now()
        if (records.length + lost.length + failed.length > 0 || woken || left <= 0) {
          const fetched = { records, lost, failed, ends }
          lost = []
          failed = []
          ends = new Map()
          woken = false
          return fetched
        }
        await changed(left, signal)
      }
    },
    wake() {
      woken = true
      notify()
    },
    async close() {
      closing.abort(new Error('the reader was closed'))
      places.clear()
      notify()
    },
  }

  /** Resolves when something happened or the time is up; rejects when the signal aborts. */
  function changed(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const done = (settle: () => void) => {
        clearTimeout(timer)
        signal.removeEventListener('abort', onAbort)
        notify = () => {}
        settle()
      }
      const onAbort = () => done(() => reject(signal.reason))
      const timer = setTimeout(() => done(resolve), milliseconds)
      signal.addEventListener('abort', onAbort, { once: true })
      notify = () => done(resolve)
    })
  }
}
