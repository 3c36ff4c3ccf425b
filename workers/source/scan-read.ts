import { MillraceError } from '../../lib/errors.ts'
import { quoteTable } from '../../lib/sql.ts'
import type { ChunkRange } from '../destination/ledger.ts'
import { fromClause } from './catalog.ts'
import type { Connection } from './connect.ts'
import { copyOut } from './copy-out.ts'
import { type LSN, parseLSN } from './lsn.ts'
import { sqlState } from './postgres-errors.ts'
import { type ColumnExpression, copyStatement, rangeBounds, setBounds } from './scan-sql.ts'
import type { TableDefinition } from './table.ts'

export interface ChunkQuery {
  readonly definition: TableDefinition
  readonly range: ChunkRange
  readonly expression: ColumnExpression
  readonly copyOptions: string
  /** Exported snapshot to read under; empty: a snapshot of its own. */
  readonly snapshot: string
}

/** Where the log ended when a chunk had been read; undefined on a replica, which has only what was flushed (rule R13). */
export interface ReadEnd {
  readonly logEnd: LSN | undefined
}

/**
 * Reads one chunk in a transaction of its own, which stays open until `finish`. The bytes are as PostgreSQL sends them, in
 * pieces that end anywhere; nothing is read ahead of the consumer but one buffer. A consumer that stops early leaves the
 * connection in the middle of a COPY: close it.
 */
export async function* readChunk(connection: Connection, query: ChunkQuery): AsyncGenerator<Buffer> {
  await begin(connection, query)
  const bounds = setBounds(rangeBounds(query.range))
  if (bounds) await connection.query(bounds.text, bounds.values)
  const { definition, range, expression, copyOptions } = query
  const statement = copyStatement(definition, range, expression, copyOptions)
  try {
    for await (const bytes of connection.client.query(copyOut(statement))) yield bytes
  } catch (error) {
    throw scanFailure(connection.failure(error))
  }
}

/**
 * Ends the transaction of a chunk that was read to its end. Throws `TableRewritten` when block ranges meant another
 * file than the one that was read (rule R12), which only a look after the read can tell.
 */
export async function finishChunk(connection: Connection, range: ChunkRange): Promise<ReadEnd> {
  const leaf = range.kind === 'ctid' ? quoteTable(range.leaf) : null
  const [row] = await connection.query(
    `SELECT pg_relation_filenode(to_regclass($1)) AS filenode,
            CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END AS log_end`,
    [leaf],
  )
  if (range.kind === 'ctid' && row?.filenode !== range.filenode) {
    throw new MillraceError(
      'TableRewritten',
      `table ${leaf} was rewritten or dropped while it was copied (file ${row?.filenode ?? 'none'} instead of ${range.filenode})`,
    )
  }
  await connection.query('COMMIT')
  return { logEnd: row?.log_end ? parseLSN(row.log_end) : undefined }
}

/**
 * What a failure of a scan means, however the server is set up to say it: a query of a scan has no other reason for a
 * serialization failure than the recovery of a replica.
 */
export function scanFailure(thrown: unknown): unknown {
  if (sqlState(thrown) !== '40001' || !(thrown instanceof MillraceError)) return thrown
  return new MillraceError('ReplicaConflict', thrown.message, { cause: thrown.cause })
}

async function begin(connection: Connection, { snapshot, definition, range }: ChunkQuery): Promise<void> {
  if (snapshot !== '') {
    await connection.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
    return importSnapshot(connection, snapshot)
  }
  await connection.query('BEGIN READ ONLY')
  // COPY takes its snapshot before it waits for the table's lock. One that waited for a rewriting ALTER TABLE or a TRUNCATE
  // would see an empty table, so the lock comes first. (LOCK TABLE would ask for SELECT on all columns.)
  const table =
    range.kind === 'ctid' ? fromClause({ ...range.leaf, partitioned: false }) : fromClause(definition)
  await connection.query(`SELECT FROM ${table} LIMIT 0`)
}

async function importSnapshot(connection: Connection, snapshot: string): Promise<void> {
  if (!/^[0-9A-Fa-f-]+$/.test(snapshot))
    throw new MillraceError('SnapshotLost', 'not a snapshot of PostgreSQL')
  try {
    await connection.query(`SET TRANSACTION SNAPSHOT '${snapshot}'`)
  } catch (error) {
    // The server has several ways of saying that the exporting transaction is over.
    if (!(error instanceof MillraceError) || error.code === 'ConnectionLost') throw scanFailure(error)
    throw new MillraceError(
      'SnapshotLost',
      `the snapshot that the copy began with is gone: ${error.message}`,
      {
        cause: error,
      },
    )
  }
}
