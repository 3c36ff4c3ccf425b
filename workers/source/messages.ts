import { type LogMessage, MESSAGE_PREFIX } from '../queue/format.ts'
import type { Connection } from './connect.ts'

/**
 * Writes a message into the log as part of the current transaction; capture finds it behind that transaction's other
 * changes, in commit order.
 */
export async function emitMessage(connection: Connection, message: LogMessage): Promise<void> {
  await connection.query('SELECT pg_logical_emit_message(true, $1, $2)', [MESSAGE_PREFIX, asciiJSON(message)])
}

// The content of a message is all that the stream sends in the database's own encoding, whatever the client's is: names and
// values are converted. Plain ASCII is the same in each of them.
function asciiJSON(message: LogMessage): string {
  return JSON.stringify(message).replace(
    /[\u0080-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/**
 * For the rest of the transaction: COMMIT returns when the commit is safe on disk. Whatever the protocol relies on must not
 * vanish in a crash (rule R4).
 */
export async function commitDurably(connection: Connection): Promise<void> {
  await connection.query('SET LOCAL synchronous_commit = on')
}
