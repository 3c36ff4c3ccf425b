import { type LogMessage, MESSAGE_PREFIX } from '../queue/format.ts'
import type { Connection } from './connect.ts'

/**
 * Writes a message into the log as part of the current transaction; capture finds it behind that transaction's other
 * changes, in commit order.
 */
export async function emitMessage(connection: Connection, message: LogMessage): Promise<void> {
  await connection.query('SELECT pg_logical_emit_message(true, $1, $2)', [
    MESSAGE_PREFIX,
    JSON.stringify(message),
  ])
}

/**
 * For the rest of the transaction: COMMIT returns when the commit is safe on disk. Whatever the protocol relies on must not
 * vanish in a crash (rule R4).
 */
export async function commitDurably(connection: Connection): Promise<void> {
  await connection.query('SET LOCAL synchronous_commit = on')
}
