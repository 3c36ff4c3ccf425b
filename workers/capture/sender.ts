import { around } from '../../lib/failpoints.ts'
import { sleep } from '../../lib/sleep.ts'
import type { OutgoingRecord, Placements, Queue, TopicBatch } from '../queue/queue.ts'
import { collector } from '../runtime/collector.ts'
import type { LSN } from '../source/lsn.ts'
import { type Channel, type Outgoing, toPortions } from './outgoing.ts'

/** Brings what is written into the queue, and keeps account of what is safe there. */
export interface Sender {
  /** Runs until the signal aborts or something cannot be sent. */
  run(signal: AbortSignal): Promise<never>
  /** To be called after something was written, or the position or what is to be remembered has changed. */
  notify(): void
  /** Calls back when the queue has acknowledged all that is written now. */
  afterSent(callback: () => void): void
  /** Records the position as soon as it can, because somebody waits for it. */
  hurry(): void
  /** Resolves when no more than `bytes` are unacknowledged. */
  below(bytes: number, signal: AbortSignal): Promise<void>
  /** Sends and records everything that is written now. */
  drain(signal: AbortSignal): Promise<void>
  /** Does something while nothing is sent or recorded. */
  alone<T>(work: () => Promise<T>): Promise<T>
  /** Up to here the queue has everything and says so in capture's record: the source may forget it. */
  recorded(): LSN
  /** Bytes that the queue has not acknowledged. */
  unacknowledged(): number
  /** Milliseconds since something that was written waits to be acknowledged; 0 when nothing does. */
  waitingFor(): number
}

export interface SenderOptions {
  readonly queue: Queue
  readonly outgoing: Outgoing
  /** Everything that ends at or before this is written. */
  readonly through: () => LSN
  readonly captureTopic: string
  readonly start: LSN
  /** Up to where capture's record says so already; 0 when a new record has to be written first. */
  readonly recorded: LSN
  /** Capture's record of a position, with whatever else has to be remembered. */
  readonly records: (lsn: LSN) => readonly OutgoingRecord[]
  /** Whether there is something to remember although the position has not moved. */
  readonly hasNews: () => boolean
  /** To be done before what was sent counts as sent; rejects when it does not count. */
  readonly onPlaced: (placements: Placements, signal: AbortSignal) => Promise<void>
  readonly onSent: (channels: readonly Channel[], bytes: number) => void
  /** A new position is recorded. */
  readonly onRecorded: (lsn: LSN) => void
}

/** Bytes that are handed to the queue at once. */
const PORTION = 4 * 1024 * 1024
/** Waited for more changes before a few are sent, milliseconds. */
const LINGER = 10
/** Bytes that are sent without waiting for more. */
const ENOUGH = 512 * 1024
/** Shortest time between two records while changes come, milliseconds. */
const RECORD_BUSY = 1_000
/** The same while only the position moves, because others write to the source. */
const RECORD_IDLE = 10_000

export function createSender(options: SenderOptions): Sender {
  const { queue, outgoing } = options
  let sleepers: (() => void)[] = []
  let waiters: { readonly bytes: number; readonly resolve: () => void }[] = []
  let callbacks: (() => void)[] = []
  let last: Promise<unknown> = Promise.resolve()
  let inFlight = 0
  let oldest = 0
  let acknowledged = options.start
  let recorded = options.recorded
  let recordedAt = Number.NEGATIVE_INFINITY
  let sentSinceRecord = false
  let isUrgent = false

  const unacknowledged = () => outgoing.bytes() + inFlight

  function wake(): void {
    const woken = sleepers
    sleepers = []
    for (const resolve of woken) resolve()
  }

  async function nextChange(milliseconds: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController()
    const woken = new Promise<void>((resolve) => sleepers.push(resolve))
    const slept = sleep(milliseconds, AbortSignal.any([signal, over.signal])).catch(() => {})
    await Promise.race([woken, slept])
    over.abort()
    signal.throwIfAborted()
  }

  /** One after the other, whoever asks. */
  function alone<T>(work: () => Promise<T>): Promise<T> {
    const result = last.then(work)
    last = result.catch(() => {})
    return result
  }

  async function send(signal: AbortSignal): Promise<void> {
    const through = options.through()
    const { batches, channels, bytes } = outgoing.take()
    const portions = toPortions(batches.splice(0), PORTION)
    const done = callbacks
    callbacks = []
    if (portions.length > 0) {
      inFlight = bytes
      await sendPortions(portions, signal)
      inFlight = 0
      oldest = outgoing.bytes() > 0 ? performance.now() : 0
      sentSinceRecord = true
      options.onSent(channels, bytes)
      const left = unacknowledged()
      for (const waiter of waiters) if (left <= waiter.bytes) waiter.resolve()
      waiters = waiters.filter((waiter) => left > waiter.bytes)
    }
    acknowledged = through
    for (const callback of done) callback()
  }

  /** Takes each portion out of the list, so that what was sent can be freed. */
  async function sendPortions(portions: TopicBatch[][], signal: AbortSignal): Promise<void> {
    const isHuge = portions.length > 1 && portions.some((portion) => portion.some(hasParts))
    for (let portion = portions.shift(); portion; portion = portions.shift()) {
      const batches = portion
      const placements = await around('capture.send', () => queue.send(batches, signal))
      await options.onPlaced(placements, signal)
      portion.length = 0
      if (isHuge) collector.everything()
    }
  }

  async function record(signal: AbortSignal): Promise<void> {
    const lsn = acknowledged
    isUrgent = false
    const records = options.records(lsn)
    await around('capture.record', () => queue.send([{ topic: options.captureTopic, records }], signal))
    recorded = lsn
    recordedAt = performance.now()
    sentSinceRecord = false
    options.onRecorded(lsn)
  }

  /** Milliseconds until the record should be written; Infinity when it would say nothing new. */
  function recordDue(): number {
    const isBehind = options.through() !== recorded
    if (!isBehind && !options.hasNews()) return Number.POSITIVE_INFINITY
    if (isUrgent) return 0
    return recordedAt + (sentSinceRecord ? RECORD_BUSY : RECORD_IDLE) - performance.now()
  }

  return {
    async run(signal) {
      for (;;) {
        const due = recordDue()
        if (outgoing.bytes() === 0 && due > 0) {
          await nextChange(Math.min(due, 60_000), signal)
          continue
        }
        if (outgoing.bytes() > 0 && outgoing.bytes() < ENOUGH) await sleep(LINGER, signal)
        await alone(() => send(signal))
        if (recordDue() <= 0 && (acknowledged !== recorded || options.hasNews())) {
          await alone(() => record(signal))
        } else if (isUrgent && acknowledged === recorded) {
          isUrgent = false
        }
      }
    },
    notify() {
      if (oldest === 0 && outgoing.bytes() > 0) oldest = performance.now()
      wake()
    },
    afterSent(callback) {
      callbacks.push(callback)
    },
    hurry() {
      isUrgent = true
      wake()
    },
    below(bytes, signal) {
      if (unacknowledged() <= bytes) return Promise.resolve()
      return new Promise((resolve, reject) => {
        const onAbort = () => reject(signal.reason)
        if (signal.aborted) return onAbort()
        signal.addEventListener('abort', onAbort, { once: true })
        waiters.push({
          bytes,
          resolve() {
            signal.removeEventListener('abort', onAbort)
            resolve()
          },
        })
      })
    },
    drain(signal) {
      return alone(async () => {
        await send(signal)
        if (acknowledged !== recorded || options.hasNews()) await record(signal)
      })
    },
    alone,
    recorded: () => recorded,
    unacknowledged,
    waitingFor: () => (oldest === 0 ? 0 : performance.now() - oldest),
  }
}

function hasParts(batch: TopicBatch): boolean {
  return batch.records.some((record) => record.headers !== undefined)
}
