import { aborted } from '../../lib/aborted.ts'
import { toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import { type PostgresTarget, withConnection } from '../source/connect.ts'
import { assertSameSource, type SourceIdentity } from '../source/identity.ts'

/** Between two looks at where the address leads, milliseconds. */
const LOOK = 30_000

/**
 * Rejects with `SourceChanged` when the source's address leads to another server: at once when a new connection was refused for
 * that (`moved`), else at the next look. Connections that are open stay with a primary that nobody writes to any more, and
 * show nothing.
 */
export async function watchServer(
  target: PostgresTarget,
  identity: SourceIdentity,
  moved: AbortSignal,
  signal: AbortSignal,
): Promise<never> {
  return await Promise.race([look(target, identity, signal), endWith(moved, signal)])
}

async function look(target: PostgresTarget, identity: SourceIdentity, signal: AbortSignal): Promise<never> {
  for (;;) {
    await sleep(LOOK, signal)
    try {
      await withConnection(target, { purpose: 'query', signal }, (connection) =>
        assertSameSource(connection, identity),
      )
    } catch (thrown) {
      signal.throwIfAborted()
      // Whatever else is wrong with new connections concerns those that need one.
      if (toMillraceError(thrown).code === 'SourceChanged') throw thrown
    }
  }
}

async function endWith(moved: AbortSignal, signal: AbortSignal): Promise<never> {
  await aborted(moved, signal)
  throw moved.reason
}
