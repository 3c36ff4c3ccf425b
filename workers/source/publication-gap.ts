import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import { fromClause, readTableDefinition } from './catalog.ts'
import { type Connection, inTransaction } from './connect.ts'
import { commitDurably, emitMessage } from './messages.ts'
import type { Member, SourceNames } from './publication.ts'
import type { TableName } from './table.ts'

/** Why changes of a table are missing that the publication should have published. */
export const ALTERED = {
  options: 'the publication was altered by hand so that it did not publish every change',
  narrowed: 'the table was given a row filter or a column list in the publication by hand',
  away: 'the table was taken out of the publication by hand, and put back',
} as const

const CURE = 'changes may be missing; a backfill that empties the table cures it'

/**
 * Writes into the log that changes of a table are missing up to here, as part of the current transaction: capture finds it
 * in commit order, whatever happens to the process that has noticed it.
 */
export async function emitGap(
  connection: Connection,
  slot: string,
  table: TableName,
  why: string,
): Promise<void> {
  await emitMessage(connection, {
    kind: 'gap',
    slot,
    schema: table.schema,
    table: table.name,
    code: 'PublicationChanged',
    message: `${why}: ${CURE}`,
  })
}

/** The same in a transaction of its own. */
export async function writePublicationGap(
  connection: Connection,
  slot: string,
  table: TableName,
  why: string,
): Promise<void> {
  await inTransaction(connection, async () => {
    await commitDurably(connection)
    await emitGap(connection, slot, table, why)
  })
}

/** Publishes all of a table again that has a row filter or a column list, and writes that changes are missing (rule R1). */
export async function publishWhole(
  connection: Connection,
  names: SourceNames,
  member: Member,
  field: string,
): Promise<void> {
  const definition = await readTableDefinition(connection, member, { field })
  const publication = quoteIdentifier(names.publication)
  await inTransaction(connection, async () => {
    await commitDurably(connection)
    await connection.query(`SET LOCAL lock_timeout = 1000`)
    await connection.query(`LOCK TABLE ${fromClause(definition)} IN SHARE ROW EXCLUSIVE MODE`)
    await connection.query(`ALTER PUBLICATION ${publication} DROP TABLE ONLY ${quoteTable(definition)}`)
    await connection.query(`ALTER PUBLICATION ${publication} ADD TABLE ONLY ${quoteTable(definition)}`)
    await emitGap(connection, names.slot, member, ALTERED.narrowed)
  })
}
