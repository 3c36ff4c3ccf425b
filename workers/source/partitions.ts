import { MillraceError } from '../../lib/errors.ts'
import { quoteTable } from '../../lib/sql.ts'
import { INDEX_NUMBERS, IS_IDENTITY, tableTree } from './catalog-queries.ts'
import type { Connection } from './connect.ts'
import { type TableDefinition, type TableName, tableLabel } from './table.ts'

// PostgreSQL writes the log of a row, and refuses its change, by what the partition is that holds it. Its root, by whose name
// the row is published, has no say in that: ALTER TABLE of the root does not even reach the partitions that are there.

/** What the log has of a row that is deleted or changes its key: all of it, or these columns; none: the change is refused. */
export type LeafIdentity = 'full' | readonly string[]

const INDEX_COLUMNS = `
  (SELECT coalesce(json_agg(a.attname ORDER BY a.attname), '[]')
   FROM pg_attribute a
   WHERE a.attrelid = i.indrelid AND a.attnum = ANY (${INDEX_NUMBERS}))`

const USABLE =
  'i.indrelid = l.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL'

/** Of the partition that is the row `l` of pg_class: a `LeafIdentity` as JSON. */
export const LEAF_IDENTITY = `
  CASE l.relreplident WHEN 'f' THEN '"full"'::json ELSE coalesce(
    (SELECT ${INDEX_COLUMNS} FROM pg_index i
     WHERE ${USABLE} AND ${IS_IDENTITY}), '[]') END`

/** $1 oid of the root. */
const PARTITIONS = `
  SELECT n.nspname, l.relname, l.relkind, l.relpersistence, ${LEAF_IDENTITY} AS identity,
         (SELECT ${INDEX_COLUMNS} FROM pg_index i WHERE ${USABLE} AND i.indisprimary) AS primary_key
  FROM (${tableTree('$1')}) t
  JOIN pg_class l ON l.oid = t.oid
  JOIN pg_namespace n ON n.oid = l.relnamespace
  WHERE l.relkind <> 'p'
  ORDER BY l.oid`

/** A partition that holds rows itself. */
export interface Partition extends TableName {
  readonly kind: string
  readonly persistence: string
  readonly identity: LeafIdentity
  /** Names of the primary key's columns; undefined when there is none that could be a replica identity. */
  readonly primaryKey: readonly string[] | undefined
}

/** What stands against replicating a partition, and the cure. */
export interface PartitionProblem {
  readonly code: 'TableNotFound' | 'NoReplicaIdentity'
  readonly message: string
}

/** Throws `TableNotFound` or `NoReplicaIdentity` when a partition of this table has rows whose changes the log would not have. */
export async function checkPartitions(
  connection: Connection,
  definition: TableDefinition,
  field: string,
): Promise<void> {
  if (!definition.partitioned) return
  const rows = await connection.query(PARTITIONS, [String(definition.oid)])
  const partitions = rows.map(
    (row): Partition => ({
      schema: row.nspname ?? '',
      name: row.relname ?? '',
      kind: row.relkind ?? '',
      persistence: row.relpersistence ?? '',
      identity: JSON.parse(row.identity ?? '[]') as LeafIdentity,
      primaryKey: row.primary_key ? (JSON.parse(row.primary_key) as string[]) : undefined,
    }),
  )
  const problem = findPartitionProblem(definition, partitions)
  if (problem) throw new MillraceError(problem.code, `${field}: ${problem.message}`, { field })
}

/** The first thing that stands against replicating a table with these partitions. */
export function findPartitionProblem(
  table: TableName & { readonly key: readonly string[] },
  partitions: readonly Partition[],
): PartitionProblem | undefined {
  const unlogged = partitions.find(({ kind, persistence }) => kind !== 'r' || persistence !== 'p')
  if (unlogged) {
    const [what, cure] =
      unlogged.kind === 'r'
        ? ['unlogged', `run ALTER TABLE ${quoteTable(unlogged)} SET LOGGED`]
        : ['a foreign table', 'detach it']
    return {
      code: 'TableNotFound',
      message: `partition ${tableLabel(unlogged)} of table ${tableLabel(table)} is ${what}, so that its changes are not in the log: ${cure}`,
    }
  }
  const unidentified = partitions.filter(({ identity }) => !identifiesRows(identity, table.key))
  const [first] = unidentified
  if (!first) return undefined
  const needs = table.key.length > 0 ? `the key (${table.key.join(', ')})` : 'the whole row'
  const more = unidentified.length > 1 ? ` (and ${unidentified.length - 1} more like it)` : ''
  return {
    code: 'NoReplicaIdentity',
    message: `partition ${tableLabel(first)}${more} of table ${tableLabel(table)} has a replica identity without ${needs}, and partitions do not take over that of their table, so updates and deletes would be refused or lost: run ${identityCure(first, table.key)}`,
  }
}

/** Whether changes with this of the old row tell which row it was. Without a key only the whole row does. */
export function identifiesRows(identity: LeafIdentity, key: readonly string[]): boolean {
  if (identity === 'full') return true
  return key.length > 0 && key.every((column) => identity.includes(column))
}

function identityCure(partition: Partition, key: readonly string[]): string {
  const suffices = partition.primaryKey !== undefined && identifiesRows(partition.primaryKey, key)
  return `ALTER TABLE ${quoteTable(partition)} REPLICA IDENTITY ${suffices ? 'DEFAULT' : 'FULL'}`
}
