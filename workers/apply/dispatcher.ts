import { createBackoff } from '../../lib/backoff.ts'
import { type MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { Queue, ReaderOptions } from '../queue/queue.ts'
import type { Memory } from '../runtime/memory.ts'
import type { TopicControl } from './env.ts'
import type { TableWorker } from './table.ts'

/** Reads the topics of all tables and hands the records out, as far as memory allows. */
export interface Dispatcher {
  readonly topics: TopicControl
  /** Rejects only when the signal aborts. */
  run(workers: ReadonlyMap<string, TableWorker>, signal: AbortSignal): Promise<never>
  /** Milliseconds since it last went round, which it does every few seconds whatever happens. */
  sinceRound(): number
}

/** Few enough that many topics at once stay within memory, enough that one is read at full speed. */
const READER: ReaderOptions = { maxBytesPerTopic: 2_000_000, maxBytes: 4_000_000, maxWaitMilliseconds: 1_000 }
const SHORT_CHECK = 1_000

/** @param report what is wrong with the queue at present; undefined when nothing */
export function createDispatcher(
  queue: Queue,
  memory: Memory,
  report: (error: MillraceError | undefined) => void,
): Dispatcher {
  const reader = queue.openReader(READER)
  const open = new Set<string>()
  const paused = new Set<string>()
  /** While memory is short, the only topic that is read: a run of it is not complete yet. */
  let focus: string | undefined
  let lastRound = performance.now()

  function apply(topic: string): void {
    if (paused.has(topic) || (focus !== undefined && focus !== topic)) reader.pause(topic)
    else reader.resume(topic)
  }

  function setFocus(topic: string | undefined): void {
    if (focus === topic) return
    focus = topic
    for (const each of open) apply(each)
  }

  const topics: TopicControl = {
    open(topic, offset) {
      open.add(topic)
      paused.delete(topic)
      reader.seek(topic, offset)
      apply(topic)
    },
    close(topic) {
      open.delete(topic)
      paused.delete(topic)
      reader.remove(topic)
    },
    pause(topic) {
      if (paused.has(topic)) return
      paused.add(topic)
      apply(topic)
    },
    resume(topic) {
      if (paused.delete(topic)) apply(topic)
    },
  }

  /** Whether it has to be waited until something that was read is durable. */
  function mustWait(workers: readonly TableWorker[]): boolean {
    if (!memory.isShort()) {
      setFocus(undefined)
      return false
    }
    for (const worker of workers) worker.relieve()
    if (workers.some((worker) => worker.isBusy())) return true
    // All of it are runs of which records are missing, so one of them has to be completed.
    const largest = workers.reduce<TableWorker | undefined>((most, worker) => {
      return worker.incompleteBytes() > (most?.incompleteBytes() ?? 0) ? worker : most
    }, undefined)
    setFocus(largest?.topic)
    return false
  }

  async function run(workers: ReadonlyMap<string, TableWorker>, signal: AbortSignal): Promise<never> {
    const backoff = createBackoff(500, 10_000)
    for (;;) {
      signal.throwIfAborted()
      lastRound = performance.now()
      try {
        if (mustWait([...workers.values()])) {
          await Promise.race([memory.changed(signal), sleep(SHORT_CHECK, signal)])
          continue
        }
        const fetched = await reader.next(signal)
        // First the ends, so that a table knows how far it is when it has taken the last record.
        for (const [topic, end] of fetched.ends) workers.get(topic)?.reached(end)
        for (const record of fetched.records) workers.get(record.topic)?.push(record)
        for (const { topic, wanted, offsets } of fetched.lost) workers.get(topic)?.lost(wanted, offsets)
        for (const { topic, error } of fetched.failed) workers.get(topic)?.failed(error)
        report(undefined)
        backoff.reset()
      } catch (thrown) {
        signal.throwIfAborted()
        report(toMillraceError(thrown))
        await sleep(backoff.next(), signal)
      }
    }
  }

  return {
    topics,
    run: (workers, signal) => run(workers, signal).finally(() => reader.close()),
    sinceRound: () => performance.now() - lastRound,
  }
}
