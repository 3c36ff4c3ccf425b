import { isDeepStrictEqual } from 'node:util'
import type { Header, HeaderColumn, HeaderType } from '../queue/format.ts'
import { isIncluded } from '../source/columns.ts'
import type { ColumnFilter } from '../source/table.ts'
import type { NamedTypes } from './catalog.ts'
import type { Channel } from './outgoing.ts'
import type { RelationMessage } from './pgoutput.ts'
import type { RowShape } from './rows.ts'

/** What only the catalog knows of a table; it may be later than the log. */
export interface CatalogFacts extends NamedTypes {
  /** Names of the key's columns, in key order. */
  readonly key: readonly string[]
  /** By name, what columns that were seen being added gave to the rows that were there. */
  readonly added: ReadonlyMap<string, string | null>
}

/** A table as its changes are being sent now. */
export interface Relation extends RowShape, CatalogFacts {
  readonly message: RelationMessage
  readonly channel: Channel
  readonly filter: ColumnFilter | undefined
  /** The header line. */
  readonly header: Buffer
}

/** Puts together what the log says of a table, what the catalog says, and what the Pipeline wants of it. */
export function makeRelation(
  message: RelationMessage,
  channel: Channel,
  facts: CatalogFacts,
  epoch: number,
  filter: ColumnFilter | undefined,
): Relation {
  const { types, behind, added } = facts
  const key = keyOf(message, facts.key)
  const included = Uint8Array.from(message.columns, (column) =>
    isIncluded(filter, column.name) || key.includes(column.name) ? 1 : 0,
  )
  const columns = message.columns.flatMap(({ name, typeOid }, index): HeaderColumn[] => {
    if (included[index] === 0) return []
    const column = [name, types[index] ?? `oid ${typeOid}`, key.indexOf(name) + 1] as const
    const given = added.get(name)
    return [given === undefined ? column : [...column, given]]
  })
  return {
    message,
    channel,
    types,
    behind,
    key,
    added,
    filter,
    columnCount: message.columns.length,
    included,
    keyColumns: key.map((name) => message.columns.findIndex((column) => column.name === name)),
    header: headerLine(channel, epoch, columns, behind),
  }
}

/** The same with another filter; undefined when it has this one already. */
export function refilter(
  relation: Relation,
  epoch: number,
  filter: ColumnFilter | undefined,
): Relation | undefined {
  if (isDeepStrictEqual(relation.filter, filter)) return undefined
  return makeRelation(relation.message, relation.channel, relation, epoch, filter)
}

/**
 * The key that the rows have to be told apart by. What the log says of the identity was true when the rows were written,
 * so with an identity of some columns those are the key, and the catalog only knows their order; with identity full any
 * key that the catalog has will do.
 */
export function keyOf(message: RelationMessage, catalogKey: readonly string[]): readonly string[] {
  const names = new Set(message.columns.map((column) => column.name))
  if (message.replicaIdentity === 'f') return catalogKey.every((name) => names.has(name)) ? catalogKey : []
  const identity = message.columns.filter((column) => column.identity).map((column) => column.name)
  const isSame = identity.length === catalogKey.length && identity.every((name) => catalogKey.includes(name))
  return isSame ? catalogKey : identity
}

/** The first line of a run, with its newline. */
export function headerLine(
  channel: Channel,
  epoch: number,
  columns: readonly HeaderColumn[],
  behind?: ReadonlyMap<string, HeaderType>,
): Buffer {
  const types = columns.flatMap(([, type]) => {
    const found = behind?.get(type)
    return found ? [[type, found] as const] : []
  })
  const header: Header = {
    v: 1,
    inc: channel.incarnation,
    epoch,
    table: [channel.table.schema, channel.table.name],
    columns,
    ...(types.length > 0 && { types: Object.fromEntries(types) }),
  }
  return Buffer.from(`${JSON.stringify(header)}\n`)
}
