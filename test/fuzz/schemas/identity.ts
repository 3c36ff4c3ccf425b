import type { Random } from '../../torture/random.ts'
import { shuffled } from '../random.ts'
import { ident, literal } from '../sql.ts'
import type { FuzzColumn, Identity } from './table.ts'

export interface IdentityOf {
  readonly identity: Identity
  /** The table and its leaves, as SQL names them. */
  readonly table: string
  readonly leaves: readonly string[]
  readonly number: number
  readonly key: readonly FuzzColumn[]
  readonly columns: readonly FuzzColumn[]
  readonly partitionBy: FuzzColumn | undefined
  /** The column that the primary key has, where another index is the replica identity. */
  readonly own: FuzzColumn | undefined
}

/** Statements that give a table its keys and its replica identity. */
export function identityOf(random: Random, of: IdentityOf): string[] {
  const { identity, table, leaves, number, partitionBy, own } = of
  const key = shuffled(random, of.key)
  const names = (columns: readonly FuzzColumn[]) => columns.map(({ name }) => ident(name)).join(', ')
  const include = includeOf(random, of)
  const index = ident(`i${number}`)
  const full = () => [table, ...leaves].map((one) => `alter table ${one} replica identity full`)
  const primary = (rest = '') => `alter table ${table} add primary key (${names(key)})${rest}`
  const unique = () => {
    const columns = key.map((column) => indexed(random, column)).join(', ')
    return `create unique index ${index} on ${table} (${columns})${include}`
  }
  const byIndex = `alter table ${table} replica identity using index ${index}`
  switch (identity) {
    case 'pk':
      return [primary(include)]
    case 'pkfull':
      return [primary(include), ...full()]
    case 'pknothing':
      return [primary(include), `alter table ${table} replica identity nothing`]
    case 'pkdefer':
      return [primary(` deferrable initially ${random.pick(['deferred', 'immediate'])}`)]
    case 'pkdeferfull':
      return [primary(` deferrable initially ${random.pick(['deferred', 'immediate'])}`), ...full()]
    case 'full':
      return full()
    case 'none':
      return []
    case 'ufull':
      return [unique(), ...full()]
    case 'uidx':
      return [unique(), byIndex, ...(partitionBy ? [ofLeaves(table)] : [])]
    case 'pkidx': {
      if (!own) throw new Error('a primary key beside the replica identity needs a column')
      return [
        `alter table ${table} add column ${ident(own.name)} bigint not null`,
        `alter table ${table} add primary key (${names(partitionBy ? [own, partitionBy] : [own])})`,
        `create unique index ${index} on ${table} (${names(key)})${include}`,
        ...(partitionBy ? full() : [byIndex]),
      ]
    }
  }
}

/** A column that is in the index and not part of the key. */
function includeOf(random: Random, { columns, partitionBy }: IdentityOf): string {
  const possible = columns.filter(
    ({ key, notNull, type }) =>
      !key && notNull && !type.large && !/^(point|line|box|path|polygon|circle|json|xml)/.test(type.sql),
  )
  const [first] = possible
  return first && !partitionBy && random.chance(0.2) ? ` include (${ident(first.name)})` : ''
}

function indexed(random: Random, { name, type }: FuzzColumn): string {
  if (type.sql === 'text' && !type.collation && random.chance(0.3)) return `${ident(name)} text_pattern_ops`
  return `${ident(name)}${random.chance(0.2) ? ' desc' : ''}`
}

/** The index of a partitioned table has another name on each leaf. */
const ofLeaves = (table: string) => `do $do$ declare l record; begin
  for l in select c.oid::regclass as t, ic.relname as n from pg_partition_tree(${literal(table)}) p
    join pg_class c on c.oid = p.relid join pg_index i on i.indrelid = c.oid and i.indisunique
    join pg_class ic on ic.oid = i.indexrelid where c.relkind = 'r'
  loop execute format('alter table %s replica identity using index %I', l.t, l.n); end loop; end $do$`
