import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { from as copyFrom } from 'pg-copy-streams'
import { serverCode } from './failures.ts'
import type { Session } from './sessions.ts'

/**
 * Runs `COPY … FROM STDIN` with the bytes of `read`, as they come: the next are asked for when the server has taken those
 * before. Returns the server's count of rows.
 *
 * Throws what `read` throws as it is. The session is ended whenever the server has not itself refused the rows, so that it
 * cannot take what was sent so far for all there is.
 */
export async function copyIn(
  session: Session,
  sql: string,
  read: () => Iterable<Buffer> | AsyncIterable<Buffer>,
): Promise<{ rows: bigint; bytes: bigint }> {
  let bytes = 0n
  let readError: { thrown: unknown } | undefined
  async function* counted() {
    try {
      for await (const buffer of read()) {
        bytes += BigInt(buffer.length)
        yield buffer
      }
    } catch (thrown) {
      readError = { thrown }
      throw thrown
    }
  }
  const stream = session.connection.client.query(copyFrom(sql))
  try {
    await pipeline(Readable.from(counted()), stream)
  } catch (thrown) {
    if (readError || serverCode(thrown) === undefined) session.breakOff()
    throw readError ? readError.thrown : session.connection.failure(thrown)
  }
  return { rows: BigInt(stream.rowCount), bytes }
}
