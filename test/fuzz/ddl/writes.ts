import type { Random } from '../../torture/random.ts'
import { ident, literal } from '../sql.ts'
import type { ScriptSession } from './session.ts'

/** A column as the catalog has it just now. */
export interface CatalogColumn {
  readonly name: string
  readonly type: string
  readonly generated: boolean
  readonly identity: boolean
  readonly notNull: boolean
  /** Of an enum. */
  readonly labels: readonly string[] | null
  /** It is in the primary key, or in the index that is the replica identity. */
  readonly key: boolean
}

/** The columns of a table, as this session sees them; none when there is no such table. */
export function readColumns(session: ScriptSession, table: string): Promise<CatalogColumn[]> {
  return session.rows<CatalogColumn>(`select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
    a.attgenerated <> '' as generated, a.attidentity <> '' as identity, a.attnotnull as "notNull",
    (select array_agg(enumlabel::text) from pg_enum e where e.enumtypid = a.atttypid) as labels,
    exists (select from pg_index i where i.indrelid = a.attrelid and (i.indisprimary or i.indisreplident)
      and a.attnum = any(i.indkey::int2[])) as key
    from pg_attribute a where a.attrelid = to_regclass(${literal(table)}) and a.attnum > 0 and not a.attisdropped
    order by a.attnum`)
}

/** Makes one change of rows of a table, whatever it looks like by now. */
export async function writeRows(random: Random, session: ScriptSession, table: string): Promise<void> {
  const columns = await readColumns(session, table)
  if (columns.length === 0) return
  const own = columns.filter(({ generated, identity }) => !generated && !identity)
  const name = ident(table)
  const some = `(tableoid, ctid) in (select tableoid, ctid from ${name} order by random() limit ${1 + random.below(4)})`
  const way = random.below(10)
  if (way < 3) {
    await session.exec(insertion(random, name, own))
  } else if (way < 7) {
    if (own.length === 0) return
    const column = random.pick(own)
    await session.exec(
      `update ${name} set ${ident(column.name)} = ${expression(random, column)} where ${some}`,
    )
  } else if (way < 8) {
    await session.exec(`delete from ${name} where ${some}`)
  } else if (way < 9) {
    await session.exec(`update ${name} set id = nextval('ids') where ${some}`)
  } else {
    await session.exec(`update ${name} set name = name || '*'`)
  }
}

function insertion(random: Random, table: string, columns: readonly CatalogColumn[]): string {
  const given = columns.filter(
    ({ key, name, notNull }) => key || name === 'id' || notNull || random.chance(0.6),
  )
  if (given.length === 0) return `insert into ${table} default values`
  const row = () => `(${given.map((column) => expression(random, column)).join(', ')})`
  const rows = Array.from({ length: 1 + random.below(3) }, row)
  return `insert into ${table} (${given.map(({ name }) => ident(name)).join(', ')}) values ${rows.join(', ')}`
}

/** An expression of a column's type, as far as that can be told by its name. */
export function expression(random: Random, { name, type, notNull, labels }: CatalogColumn): string {
  const number = () => random.below(1000)
  if (!notNull && random.chance(0.15)) return 'null'
  if (labels) return literal(random.pick(labels))
  if (name === 'id') return `nextval('ids')`
  if (name === 'reg') return `'${random.pick(['a', 'b', 'c'])}'`
  if (type.endsWith('[]')) return /int|numeric/.test(type) ? `'{${number()},${number()}}'` : 'null'
  if (/^(bigint|integer|smallint|numeric|real|double)|_d$/.test(type)) return String(number())
  if (/^(text|character|name)|_dd$/.test(type)) {
    const longest = Number(/\((\d+)\)/.exec(type)?.[1] ?? 4000)
    return longest > 3000 && random.chance(0.4)
      ? `repeat('${number()}', 1000)`
      : `'${`x${number()}`.slice(0, longest)}'`
  }
  if (type.startsWith('timestamp'))
    return `'2021-03-04 05:06:07'::timestamp + ${number()} * interval '1 minute'`
  if (type === 'date') return `'2021-01-01'::date + ${number()}`
  if (type === 'uuid') return 'gen_random_uuid()'
  if (/^jsonb?$/.test(type)) return `'{"a": ${number()}}'`
  if (type === 'boolean') return random.pick(['true', 'false'])
  if (type === 'bytea') return `'\\x${(4096 + number()).toString(16)}'`
  if (type === 'interval') return `'${number()} min'`
  if (type.endsWith('_c')) return `'(${number()},z)'`
  return 'null'
}
