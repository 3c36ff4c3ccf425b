import { MillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { LSN } from '../source/lsn.ts'
import type { Changes, Pending } from './changes.ts'
import type { ReplicationStream } from './replication.ts'
import type { Sender } from './sender.ts'
import { createFrameParser } from './wire.ts'

/** Bytes that may be written and not acknowledged by the queue; then reading pauses. */
export const MAX_UNACKNOWLEDGED = 16 * 1024 * 1024

/** How often the source hears from us, and is asked to answer, milliseconds; it gives up after a minute. */
const FEEDBACK = 10_000
/** Without a byte for this long the source is not there any more, milliseconds. */
const SILENCE = 60_000

/** Since when the stream is waited for, milliseconds of `performance.now()`; undefined while nothing is read. */
export interface Reading {
  since: number | undefined
}

/** Looks up what the stream cannot go on without. */
export interface Lookups {
  relation(pending: Extract<Pending, { kind: 'relation' }>, signal: AbortSignal): Promise<void>
  messages(pending: Extract<Pending, { kind: 'messages' }>, signal: AbortSignal): Promise<void>
}

/**
 * Tells the source again and again what is safe, whatever else goes on; notices when it does not answer. Silence while
 * nothing is read means nothing.
 */
export async function keepInTouch(
  stream: ReplicationStream,
  recorded: () => LSN,
  reading: Reading,
  signal: AbortSignal,
): Promise<never> {
  for (;;) {
    await sleep(FEEDBACK, signal)
    if (reading.since !== undefined && performance.now() - reading.since > SILENCE) {
      throw new MillraceError(
        'ConnectionLost',
        `the source has not answered for ${SILENCE / 1000} s on the replication connection`,
      )
    }
    stream.confirm(recorded(), true)
  }
}

/**
 * Reads the stream until it breaks. While the queue is slow nothing more is read, so that memory stays bounded; what is
 * confirmed to the source does not pass through here, so the source does not lose patience meanwhile.
 */
export async function readStream(
  stream: ReplicationStream,
  changes: Changes,
  sender: Sender,
  lookups: Lookups,
  reading: Reading,
  signal: AbortSignal,
): Promise<never> {
  const parser = createFrameParser(changes.handler)

  async function answer(pending: Pending): Promise<void> {
    if (pending.kind === 'relation') return lookups.relation(pending, signal)
    if (pending.kind === 'messages') return lookups.messages(pending, signal)
    sender.notify()
    await sender.below(0, signal)
    changes.resolveDrain()
  }

  try {
    reading.since = performance.now()
    for await (const chunk of stream.chunks) {
      reading.since = undefined
      let offset = 0
      do {
        offset = parser.feed(chunk, offset)
        for (let next = changes.pending(); next; next = changes.pending()) await answer(next)
      } while (offset < chunk.length)
      sender.notify()
      if (sender.unacknowledged() > MAX_UNACKNOWLEDGED) await sender.below(MAX_UNACKNOWLEDGED / 2, signal)
      reading.since = performance.now()
    }
  } catch (error) {
    signal.throwIfAborted()
    throw stream.failure(error)
  }
  signal.throwIfAborted()
  throw stream.failure(
    new MillraceError('ConnectionLost', 'the source has closed the replication connection'),
  )
}
