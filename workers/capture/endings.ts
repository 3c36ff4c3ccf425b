import { aborted } from '../../lib/aborted.ts'
import { sleep } from '../../lib/sleep.ts'
import type { ReplicationStream } from './replication.ts'
import type { Sender } from './sender.ts'

/** How long the last changes may take to be sent when capture is asked to end, or the source is shut down, milliseconds. */
const FAREWELL = 5_000

/** Brings the session to its end once `stop` aborts: what was read is sent and confirmed first. */
export async function endInOrder(
  stop: AbortSignal,
  stream: ReplicationStream,
  sender: Sender,
  signal: AbortSignal,
): Promise<void> {
  await aborted(stop, signal)
  await settle(stream, sender, signal)
  await stream.finish()
}

/**
 * Lets go of the source once it has refused a new session: throws the refusal. A source that is shut down waits, however
 * long, for the stream's reader to confirm everything. What cannot be confirmed soon, because the queue is away or because
 * the catalog would have to be asked, is read after the restart.
 */
export async function letGo(
  refused: AbortSignal,
  stream: ReplicationStream,
  sender: Sender,
  signal: AbortSignal,
): Promise<never> {
  await aborted(refused, signal)
  await settle(stream, sender, signal)
  throw refused.reason
}

/** Sends what was read, as far as that is soon done, and confirms what is recorded of it. */
async function settle(stream: ReplicationStream, sender: Sender, signal: AbortSignal): Promise<void> {
  await Promise.race([sender.drain(signal), sleep(FAREWELL, signal)])
  stream.confirm(sender.recorded())
}
