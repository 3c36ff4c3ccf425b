import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { failpoint } from '../../lib/failpoints.ts'
import { quoteIdentifier } from '../../lib/sql.ts'
import { type Connection, openConnection, type PostgresTarget } from '../source/connect.ts'
import { assertSameSource, type SourceIdentity } from '../source/identity.ts'
import { formatLSN, type LSN } from '../source/lsn.ts'

const FINISH_MILLISECONDS = 1_000

/** The server's side of a running replication stream. */
export interface ReplicationStream {
  /** Id of the source's process that sends it. */
  readonly processId: number
  /** Chunks as the socket brings them; ends with an error when the connection is lost. Iterate once. */
  readonly chunks: AsyncIterable<Buffer>
  /**
   * Tells the server what is safe. It forgets the log before that, so never more than what is recorded (invariant I5). Waits
   * for nothing. With `ask` the server answers at once, which shows that it is still there.
   */
  confirm(lsn: LSN, ask?: boolean): void
  /** What the connection's errors mean. */
  failure(thrown: unknown): unknown
  /** Ends the conversation in order, so that the slot is free at once; waits for at most a second. */
  finish(): Promise<void>
  close(): Promise<void>
}

/** Creates the slot. Waits for all transactions that run now to end, which may take long. */
export async function createSlot(target: PostgresTarget, slot: string, signal: AbortSignal): Promise<void> {
  const connection = await openConnection(target, { purpose: 'replication', signal })
  try {
    await connection.query(
      `CREATE_REPLICATION_SLOT ${quoteIdentifier(slot)} LOGICAL pgoutput NOEXPORT_SNAPSHOT`,
    )
  } finally {
    await connection.close()
  }
}

/**
 * Starts to read a slot from `start`. The driver opens the connection; from then on the socket is read here, because every
 * copy and every object per message counts.
 *
 * Throws `SlotInUse` while another process reads the slot, `SourceChanged` (retryable) when the address leads to another server
 * than the one with this `identity`: that may have a slot of the same name, which stands elsewhere in another log.
 */
export async function startReplication(
  target: PostgresTarget,
  options: {
    readonly slot: string
    readonly publication: string
    readonly start: LSN
    readonly identity: SourceIdentity
  },
  signal: AbortSignal,
): Promise<ReplicationStream> {
  const connection = await openConnection(target, { purpose: 'replication', signal })
  try {
    await assertSameSource(connection, options.identity)
  } catch (error) {
    await connection.close()
    throw error
  }
  const socket = takeSocket(connection)
  const publication = quoteIdentifier(options.publication).replaceAll("'", "''")
  send(
    socket,
    'Q',
    Buffer.from(
      `START_REPLICATION SLOT ${quoteIdentifier(options.slot)} LOGICAL ${formatLSN(options.start)} ` +
        `(proto_version '1', publication_names '${publication}', messages 'true', binary 'false')\0`,
    ),
  )
  return {
    processId: connection.processId,
    chunks: socket,
    confirm(lsn, ask = false) {
      if (!socket.writable) return
      void failpoint('capture.feedback.before', () => socket.destroy())
      send(socket, 'd', standbyStatus(lsn, ask))
      void failpoint('capture.feedback.after', () => socket.destroy())
    },
    failure: (thrown) => connection.failure(thrown),
    async finish() {
      socket.resume()
      await Promise.race([once(connection.lost), delay(FINISH_MILLISECONDS, undefined, { ref: false })])
    },
    close: () => connection.close(),
  }

  function once(lost: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (lost.aborted) return resolve()
      lost.addEventListener('abort', () => resolve(), { once: true })
      send(socket, 'X', Buffer.alloc(0))
    })
  }
}

// The driver has one listener that parses what comes; without it the socket is ours. Its listeners for errors and the end
// stay, so the connection still notices both.
function takeSocket(connection: Connection): Duplex {
  const { stream } = (connection.client as unknown as { connection: { stream: Duplex } }).connection
  stream.removeAllListeners('data')
  stream.pause()
  return stream
}

function send(socket: Duplex, type: string, body: Buffer): void {
  const message = Buffer.allocUnsafe(body.length + 5)
  message.write(type, 0, 'latin1')
  message.writeUInt32BE(body.length + 4, 1)
  body.copy(message, 5)
  socket.write(message)
}

const MICROSECONDS_1970_TO_2000 = 946_684_800_000_000n

/** Standby status update: written, flushed and applied are all what is safe; nothing less is of use to anybody. */
export function standbyStatus(lsn: LSN, ask: boolean, now = Date.now()): Buffer {
  const body = Buffer.alloc(34)
  body.write('r', 0, 'latin1')
  body.writeBigUInt64BE(lsn, 1)
  body.writeBigUInt64BE(lsn, 9)
  body.writeBigUInt64BE(lsn, 17)
  body.writeBigInt64BE(BigInt(now) * 1000n - MICROSECONDS_1970_TO_2000, 25)
  body[33] = ask ? 1 : 0
  return body
}
