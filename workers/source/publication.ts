import { MillraceError } from '../../lib/errors.ts'
import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import { fromClause, leafTables, readTableDefinition } from './catalog.ts'
import { type Connection, inTransaction } from './connect.ts'
import { checkGenerated } from './generated.ts'
import { commitDurably, emitMessage } from './messages.ts'
import { setPublicationOwner } from './owner.ts'
import { checkPartitions } from './partitions.ts'
import { sqlState } from './postgres-errors.ts'
import { ALTERED, emitGap } from './publication-gap.ts'
import { type TableDefinition, type TableName, tableLabel } from './table.ts'
import { describeTransactions, readWriters } from './writers.ts'

// Membership is always that of ONLY the one table: tables that inherit from it are tables of their own, and partitions come with
// their root whether asked for or not.

/** What a Pipeline owns in its source. */
export interface SourceNames {
  readonly publication: string
  readonly slot: string
}

export interface Publication {
  readonly oid: number
  /** What `ensurePublication` left there: which Pipeline it belongs to. Empty when it was made by hand. */
  readonly owner: string
}

export interface Member extends TableName {
  readonly oid: number
  /** Which membership it is: another one when the table has left and joined again. */
  readonly entry: string
  /** It has a row filter or a column list there, which Millrace never gives it. */
  readonly narrowed: boolean
}

const FIELD = 'spec.source.postgres.publication'
const OPTIONS = `publish = 'insert, update, delete, truncate', publish_via_partition_root = true`

/** Milliseconds that the lock of a join may wait: writers queue behind it for that long. */
const JOIN_LOCK_MILLISECONDS = 1_000

const PUBLICATION = `
  SELECT p.oid, p.puballtables, p.pubviaroot,
         p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS everything,
         coalesce(obj_description(p.oid, 'pg_publication'), '') AS owner
  FROM pg_publication p WHERE p.pubname = $1`

// Row filters and column lists exist since PostgreSQL 15.
const members = (serverVersion: number) => `
  SELECT c.oid, n.nspname, c.relname, r.oid AS entry,
         ${serverVersion >= 150_000 ? 'r.prqual IS NOT NULL OR r.prattrs IS NOT NULL' : 'false'} AS narrowed
  FROM pg_publication p
  JOIN pg_publication_rel r ON r.prpubid = p.oid
  JOIN pg_class c ON c.oid = r.prrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE p.pubname = $1
  ORDER BY n.nspname, c.relname`

/**
 * Creates the publication, without tables, when it is missing; sets its options right when they are not. `owner` says in a
 * comment whose it is. With `slot`, setting them right writes a gap for every table into the log in the same transaction.
 *
 * It has to exist before the slot does: PostgreSQL looks it up as it was when a change was made.
 */
export async function ensurePublication(
  connection: Connection,
  name: string,
  owner: string,
  slot?: string,
): Promise<Publication> {
  for (let attempt = 1; ; attempt += 1) {
    const [row] = await connection.query(PUBLICATION, [name])
    if (row) {
      if (row.puballtables === 't') throw publishesAll(name)
      if (row.pubviaroot !== 't' || row.everything !== 't') {
        await inTransaction(connection, async () => {
          await commitDurably(connection)
          await connection.query(`ALTER PUBLICATION ${quoteIdentifier(name)} SET (${OPTIONS})`)
          if (slot === undefined) return
          for (const member of await readMembers(connection, name)) {
            await emitGap(connection, slot, member, ALTERED.options)
          }
        })
      }
      return { oid: Number(row.oid), owner: row.owner ?? '' }
    }
    try {
      await inTransaction(connection, async () => {
        await commitDurably(connection)
        await connection.query(`CREATE PUBLICATION ${quoteIdentifier(name)} WITH (${OPTIONS})`)
        await setPublicationOwner(connection, name, owner)
      })
    } catch (error) {
      // Somebody else made it just now.
      if (['42710', '23505'].includes(sqlState(error) ?? '') && attempt < 3) continue
      throw explainCreate(error, connection)
    }
  }
}

/** The tables of the publication, by their present names. Empty when there is no such publication. */
export async function readMembers(connection: Connection, publication: string): Promise<Member[]> {
  const rows = await connection.query(members(connection.serverVersion), [publication])
  return rows.map((row) => ({
    schema: row.nspname ?? '',
    name: row.relname ?? '',
    oid: Number(row.oid),
    entry: row.entry ?? '',
    narrowed: row.narrowed === 't',
  }))
}

/** Whether a table is in the publication. */
export async function isMember(
  connection: Connection,
  publication: string,
  table: TableName,
): Promise<boolean> {
  const members = await readMembers(connection, publication)
  return members.some((member) => member.schema === table.schema && member.name === table.name)
}

/**
 * Makes a table join the publication, and writes *join* into the log in the same transaction (rule R1).
 *
 * The table is locked first, so that no transaction is half in and half out: PostgreSQL minors before 2025 lose all later
 * changes of a table whose joining overlaps with a writer. The wait for the lock is short because writers queue up behind
 * it; `LockTimeout` names who holds the table, and the caller tries again later.
 *
 * Throws as `readTableDefinition` does, and `NoReplicaIdentity`, `PermissionDenied`.
 */
export async function joinTable(
  connection: Connection,
  names: SourceNames,
  table: TableName,
  field: string,
): Promise<TableDefinition> {
  const seen = await readTableDefinition(connection, table, { field })
  await checkReplicable(connection, seen, field)
  try {
    return await inTransaction(connection, async () => {
      await commitDurably(connection)
      await connection.query(`SET LOCAL lock_timeout = ${JOIN_LOCK_MILLISECONDS}`)
      await connection.query(`LOCK TABLE ${fromClause(seen)} IN SHARE ROW EXCLUSIVE MODE`)
      // It may have become another one while the lock was waited for.
      const definition = await readTableDefinition(connection, table, { field })
      await checkReplicable(connection, definition, field)
      await checkReadable(connection, definition, field)
      if (!(await isMember(connection, names.publication, table))) {
        await connection.query(
          `ALTER PUBLICATION ${quoteIdentifier(names.publication)} ADD TABLE ONLY ${quoteTable(definition)}`,
        )
      }
      await emitMessage(connection, {
        kind: 'join',
        slot: names.slot,
        schema: table.schema,
        table: table.name,
      })
      return definition
    })
  } catch (error) {
    throw await explainJoin(connection, seen, field, error)
  }
}

/**
 * Takes a table out of the publication, if it is there still, and writes *leave* into the log (rule R15).
 */
export async function leaveTable(
  connection: Connection,
  names: SourceNames,
  table: TableName,
): Promise<void> {
  await inTransaction(connection, async () => {
    await commitDurably(connection)
    if (await isMember(connection, names.publication, table)) {
      await connection.query(
        `ALTER PUBLICATION ${quoteIdentifier(names.publication)} DROP TABLE ONLY ${quoteTable(table)}`,
      )
    }
    await emitMessage(connection, {
      kind: 'leave',
      slot: names.slot,
      schema: table.schema,
      table: table.name,
    })
  })
}

/**
 * Throws `NoReplicaIdentity` for a table whose updates and deletes the source would refuse once it is published, or tell
 * without saying of which row: naming the SQL that cures it. `TableNotFound` for one with partitions that are not in the log,
 * `ColumnNotFound` for one without columns.
 */
export async function checkReplicable(
  connection: Connection,
  definition: TableDefinition,
  field: string,
): Promise<void> {
  checkColumns(definition, field)
  await checkGenerated(connection, definition, field)
  checkIdentity(definition, field)
  await checkPartitions(connection, definition, field)
}

function checkColumns(definition: TableDefinition, field: string): void {
  if (definition.columns.length > 0) return
  throw new MillraceError(
    'ColumnNotFound',
    `${field}: table ${tableLabel(definition)} has no column that is to be replicated (generated columns cannot be): add one, let one through by the table's columns, or remove the table from the list`,
    { field, retryable: true },
  )
}

function checkIdentity(definition: TableDefinition, field: string): void {
  const { replicaIdentity, key } = definition
  const label = tableLabel(definition)
  const sql = `ALTER TABLE ${quoteTable(definition)}`
  const full = `run ${sql} REPLICA IDENTITY FULL (works for every table, writes more log)`
  const refuse = (found: string, cure: string) => {
    throw new MillraceError(
      'NoReplicaIdentity',
      `${field}: table ${label} ${found}, so the source would refuse its updates and deletes once it is published: ${cure}`,
      { field },
    )
  }
  if (replicaIdentity === 'nothing') {
    refuse(
      'has REPLICA IDENTITY NOTHING',
      `run ${sql} REPLICA IDENTITY DEFAULT if it has a primary key, or ${full}`,
    )
  }
  if (replicaIdentity === 'default' && key.length === 0) {
    refuse(
      'has no primary key (a deferrable one does not count) and no replica identity',
      `add a primary key, or run ${sql} REPLICA IDENTITY USING INDEX with a unique index over NOT NULL columns, or ${full}`,
    )
  }
  if (replicaIdentity === 'index' && key.length === 0) {
    refuse('lost the index of its REPLICA IDENTITY USING INDEX', `choose another one, or ${full}`)
  }
}

// Capture itself does not read tables, but nothing could ever copy this one.
async function checkReadable(connection: Connection, table: TableDefinition, field: string): Promise<void> {
  const [row] = await connection.query("SELECT has_any_column_privilege($1::oid, 'SELECT') AS readable", [
    String(table.oid),
  ])
  if (row?.readable === 't') return
  const user = connection.place.user ?? ''
  throw new MillraceError(
    'PermissionDenied',
    `${field}: user ${user} may not read table ${tableLabel(table)}: run GRANT SELECT ON ${quoteTable(table)} TO ${quoteIdentifier(user)}`,
    { field },
  )
}

async function explainJoin(
  connection: Connection,
  table: TableDefinition,
  field: string,
  thrown: unknown,
): Promise<unknown> {
  if (!(thrown instanceof MillraceError)) return thrown
  const label = tableLabel(table)
  if (thrown.code === 'LockTimeout') {
    const leaves = await leafTables(connection, table.oid)
    const writers = await readWriters(connection, [table.oid, ...leaves.map((leaf) => leaf.oid)])
    const who = writers.length > 0 ? `: ${describeTransactions(writers)}` : ''
    return new MillraceError(
      'LockTimeout',
      `${field}: table ${label} is waiting for transactions that write it to end, so that it can join the publication${who}`,
      { field, cause: thrown },
    )
  }
  if (thrown.code === 'PermissionDenied' && sqlState(thrown) === '42501') {
    return new MillraceError(
      'PermissionDenied',
      `${field}: user ${connection.place.user} may not publish table ${label} (${thrown.message}): it must own the table, or be a member of the role that does: run GRANT <owner> TO ${quoteIdentifier(connection.place.user ?? '')}`,
      { field, cause: thrown },
    )
  }
  return thrown
}

function publishesAll(name: string): MillraceError {
  return new MillraceError(
    'InvalidSpec',
    `${FIELD}: publication ${JSON.stringify(name)} is FOR ALL TABLES, so tables cannot join and leave it: name another one, or drop it`,
    { field: FIELD, retryable: true },
  )
}

function explainCreate(thrown: unknown, connection: Connection): unknown {
  if (!(thrown instanceof MillraceError) || thrown.code !== 'PermissionDenied') return thrown
  const { user, database } = connection.place
  return new MillraceError(
    'PermissionDenied',
    `${FIELD}: user ${user} may not create a publication (${thrown.message}): run GRANT CREATE ON DATABASE ${quoteIdentifier(database)} TO ${quoteIdentifier(user ?? '')}`,
    { field: FIELD, cause: thrown },
  )
}
