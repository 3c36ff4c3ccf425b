import { type Connection, inTransaction } from './connect.ts'
import { readLogEnd } from './identity.ts'
import type { LSN } from './lsn.ts'
import { commitDurably } from './messages.ts'

/** Returns where the primary's log ended when it was asked, once it is safe on disk up to there. */
export async function untilFlushed(connection: Connection): Promise<LSN> {
  const { inserted, flushed } = await readLogEnd(connection)
  if (flushed >= inserted) return inserted
  // The end of the log may belong to a transaction that does nothing more for hours: a commit of our own takes it along.
  await inTransaction(connection, async () => {
    await commitDurably(connection)
    await connection.query("SELECT pg_logical_emit_message(true, 'millrace-flush', '')")
  })
  return inserted
}
