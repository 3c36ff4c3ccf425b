import type { Random } from '../../torture/random.ts'
import { ident } from '../sql.ts'
import { chooseColumns, extraKey, layOut, storageOf } from './columns.ts'
import { identityOf } from './identity.ts'
import { oddName } from './names.ts'
import { makePartitions, STRATEGIES } from './partitions.ts'
import { type FuzzColumn, type FuzzTable, IDENTITIES, type Identity } from './table.ts'
import { keyed, plain } from './type.ts'

/** Schemas beside `public`. */
export const SCHEMAS: readonly string[] = ['Public', 'a', 'a.b', 'sch "q"']

/** A trigger of some tables, which does nothing at the destination either. */
export const TRIGGER_DDL = `create function public.nothing() returns trigger language plpgsql as $$ begin return new; end $$`

const USUAL: readonly Identity[] = [
  ...Array.from({ length: 6 }, () => 'pk' as const),
  ...Array.from({ length: 3 }, () => 'pkfull' as const),
  ...Array.from({ length: 3 }, () => 'full' as const),
  ...['uidx', 'uidx', 'ufull', 'pkidx', 'pkdeferfull'].map((name) => name as Identity),
]
/** Those that Millrace refuses, or says how to cure. */
const UNUSUAL = IDENTITIES.filter((name) => !USUAL.includes(name))

/** A random table; PostgreSQL may refuse it. `used` has the names of tables that there are. */
export function randomTable(random: Random, number: number, used: Set<string>): FuzzTable {
  const schema = random.pick(['public', 'public', 'public', ...SCHEMAS])
  const name = oddName(random, used)
  const sql = `${ident(schema)}.${ident(name)}`
  const identity = random.pick([...USUAL, ...(random.chance(0.2) ? UNUSUAL : [])])
  const partitioned = random.chance(0.2)
  const names = new Set<string>()
  const chosen = chooseColumns(random, identity, partitioned, names)
  const { ordered, key, partitionBy } = chosen
  const layout = layOut(random, chosen, identity, names)
  const strategy = random.pick(STRATEGIES)
  const partitions = partitionBy
    ? makePartitions(random, {
        strategy,
        root: sql,
        schema,
        number,
        by: partitionBy,
        columns: ordered,
        mayAttach: !layout.owned,
      })
    : { ddl: [], leaves: [] }
  const own = identity === 'pkidx' ? extraKey(random, names) : undefined
  const columns: readonly FuzzColumn[] = own ? [...ordered, own] : ordered
  const tail = partitionBy
    ? ` partition by ${strategy} (${ident(partitionBy.name)})`
    : random.chance(0.15)
      ? ` with (fillfactor = ${random.pick([10, 50, 90])})`
      : ''
  const ddl = [
    `create table ${sql} (${layout.lines.join(', ')})${tail}`,
    ...layout.dropped.map((dropped) => `alter table ${sql} drop column ${ident(dropped)}`),
    ...partitions.ddl,
    ...identityOf(random, {
      identity,
      table: sql,
      leaves: partitions.leaves,
      number,
      key,
      columns,
      partitionBy,
      own,
    }),
    ...storageOf(random, sql, columns),
    ...surroundings(random, sql, schema, number, partitioned),
  ]
  return { schema, name, sql, identity, partitioned, ddl, columns, key }
}

/** What else a table may have that is no part of its rows. */
function surroundings(
  random: Random,
  table: string,
  schema: string,
  number: number,
  partitioned: boolean,
): string[] {
  const ddl: string[] = []
  if (!partitioned && random.chance(0.1))
    ddl.push(`create table ${ident(schema)}.${ident(`kid${number}`)} () inherits (${table})`)
  if (random.chance(0.1))
    ddl.push(
      `alter table ${table} enable row level security`,
      `alter table ${table} force row level security`,
      `create policy p on ${table} using (false)`,
    )
  if (random.chance(0.1))
    ddl.push(
      `create trigger tr before insert or update on ${table} for each row execute function public.nothing()`,
    )
  return ddl
}

/** Two tables whose names look alike when a dot is put between schema and name. */
export function alikeTables(): FuzzTable[] {
  const k = { name: 'k', type: keyed('integer', '0¦1¦-1¦2147483647¦42'), notNull: true, key: true }
  const v = { name: 'v', type: plain('text', ['', 'a', "'", '\\']), notNull: false, key: false }
  return [
    ['a', 'b.c'],
    ['a.b', 'c'],
  ].map(([schema = '', name = '']): FuzzTable => {
    const sql = `${ident(schema)}.${ident(name)}`
    return {
      schema,
      name,
      sql,
      identity: 'pk',
      partitioned: false,
      ddl: [`create table ${sql} (k integer primary key, v text)`],
      columns: [k, v],
      key: [k],
    }
  })
}
