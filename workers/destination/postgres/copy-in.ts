import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { from as copyFrom } from 'pg-copy-streams'
import { serverCode } from './failures.ts'
import type { Session } from './sessions.ts'

/**
 * Runs `COPY … FROM STDIN` with the bytes of `read`, as they come: the next are asked for when the server has taken those
 * before. Returns the server's count of rows.
 *
 * The signal that `read` gets aborts with `signal`, and as soon as the server does not take any more. Throws what `read`
 * throws as it is. The session is ended whenever the server has not itself refused the rows, so that it
 * cannot take what was sent so far for all there is.
 */
export async function copyIn(
  session: Session,
  sql: string,
  read: (signal: AbortSignal) => Iterable<Buffer> | AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<{ rows: bigint; bytes: bigint }> {
  let bytes = 0n
  let readError: { thrown: unknown } | undefined
  const refused = new AbortController()
  const reading = AbortSignal.any([signal, refused.signal])
  async function* counted() {
    try {
      for await (const buffer of read(reading)) {
        bytes += BigInt(buffer.length)
        yield buffer
      }
    } catch (thrown) {
      if (!refused.signal.aborted) readError = { thrown }
      throw thrown
    }
  }
  const stream = session.connection.client.query(copyFrom(sql))
  stream.once('error', (error) => refused.abort(error))
  try {
    await new Promise<void>((resolve, reject) => {
      // A source that does not answer must not keep the failure of the destination from being seen.
      stream.once('error', reject)
      pipeline(Readable.from(counted()), stream).then(resolve, reject)
    })
  } catch (thrown) {
    // Before the session is ended, which would then be the reason of every failure.
    const failure = readError ? readError.thrown : session.connection.failure(thrown)
    if (readError || serverCode(thrown) === undefined) session.breakOff()
    throw failure
  }
  return { rows: BigInt(stream.rowCount), bytes }
}
