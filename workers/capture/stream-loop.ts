import { MillraceError } from '../../lib/errors.ts'
import type { Changes, Pending } from './changes.ts'
import type { ReplicationStream } from './replication.ts'
import type { Sender } from './sender.ts'
import { createFrameParser } from './wire.ts'

/** Bytes that may be written and not acknowledged by the queue; then reading pauses. */
export const MAX_UNACKNOWLEDGED = 16 * 1024 * 1024

/** Looks up what the stream cannot go on without. */
export interface Lookups {
  relation(pending: Extract<Pending, { kind: 'relation' }>, signal: AbortSignal): Promise<void>
  messages(pending: Extract<Pending, { kind: 'messages' }>, signal: AbortSignal): Promise<void>
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
    for await (const chunk of stream.chunks) {
      let offset = 0
      do {
        offset = parser.feed(chunk, offset)
        const pending = changes.pending()
        if (pending) await answer(pending)
      } while (offset < chunk.length)
      sender.notify()
      if (sender.unacknowledged() > MAX_UNACKNOWLEDGED) await sender.below(MAX_UNACKNOWLEDGED / 2, signal)
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
