import { setTimeout as sleep } from 'node:timers/promises'
import { query } from '../../../hack/services/postgres.ts'
import type { Random } from '../../torture/random.ts'
import { compareTable } from '../compare.ts'
import type { Backfills } from '../rig/backfills.ts'
import type { Databases } from '../rig/databases.ts'
import { doubtOf, type FuzzPipeline } from '../rig/pipeline.ts'
import { ident, literal } from '../sql.ts'
import { openSession } from './session.ts'
import { writeRows } from './writes.ts'

// Whatever a script has done: once its table can be replicated at all, a copy into an emptied table makes it right again.

interface TableFacts {
  readonly keyed: boolean
  readonly identity: string
  readonly unlogged: boolean
  readonly partitions: readonly {
    readonly name: string
    readonly identity: string
    readonly unlogged: boolean
  }[]
  readonly generated: readonly string[]
}

/** Makes a table such that it can be replicated, as its owner would; returns the statements that it took. */
export async function repairTable(source: string, table: string): Promise<string[]> {
  const done: string[] = []
  const repair = async (sql: string) => {
    done.push(sql)
    // What cannot be repaired is found when it is copied.
    await query(source, sql).catch((error) => done.push(`-- refused: ${error}`))
  }
  let facts = await readFacts(source, table)
  if (!facts) {
    await repair(`create table ${table} (id bigint primary key, name text, n int)`)
    await repair(`insert into ${table} values (1, 'repaired', 3)`)
    facts = await readFacts(source, table)
  }
  if (!facts) return done
  const { keyed, generated, partitions } = facts
  // The source refuses updates of a table with such columns and without a key.
  if (!keyed)
    for (const name of generated) await repair(`alter table ${table} drop column ${ident(name)} cascade`)
  for (const one of [{ name: table, ...facts }, ...partitions]) {
    if (one.unlogged) await repair(`alter table ${one.name} set logged`)
    if (one.identity === (keyed ? 'd' : 'f')) continue
    await repair(`alter table ${one.name} replica identity ${keyed ? 'default' : 'full'}`)
  }
  return done
}

async function readFacts(source: string, table: string): Promise<TableFacts | undefined> {
  const [facts] = await query<TableFacts>(
    source,
    `select exists (select from pg_index where indrelid = t.oid and indisprimary) as keyed,
       t.relreplident as identity, t.relpersistence = 'u' as unlogged,
       array(select attname::text from pg_attribute where attrelid = t.oid and attgenerated <> '' and not attisdropped) as generated,
       coalesce((select json_agg(json_build_object('name', c.oid::regclass::text, 'identity', c.relreplident,
           'unlogged', c.relpersistence = 'u'))
         from pg_partition_tree(t.oid) p join pg_class c on c.oid = p.relid where c.oid <> t.oid), '[]') as partitions
     from pg_class t where t.oid = to_regclass(${literal(table)})`,
  )
  return facts
}

export interface CureOptions {
  readonly databases: Databases
  readonly pipeline: FuzzPipeline
  readonly backfills: Backfills
  readonly table: string
  readonly random: Random
}

const COPY_SECONDS = 90
const ATTEMPTS = 3
/** Between two of them, capture has looked at the catalog. */
const RETRY_MILLISECONDS = 10_000
const PATIENCE_MILLISECONDS = 45_000

/** Copies a table into an emptied one, writes it, and compares; returns why it is not right then. */
export async function cureTable(options: CureOptions): Promise<string | undefined> {
  const { databases, pipeline, backfills, random } = options
  const table = { schema: 'public', name: options.table }
  const keyed = (await readFacts(databases.source, options.table))?.keyed
  let ended = ''
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    if (attempt > 1) await sleep(RETRY_MILLISECONDS)
    const destinationTable = random.pick(['Truncate', 'Drop'] as const)
    const wish = { destinationTable, ...(!keyed && { backfill: { readFrom: 'Primary' as const } }) }
    const { end, why } = await backfills.bring(table, wish, COPY_SECONDS)
    ended = `${destinationTable} ${end} ${why}`
    if (end === 'drained') break
  }
  const session = await openSession(databases.source)
  for (let writes = 4; writes > 0; writes -= 1) await writeRows(random, session, options.table)
  await session.close()
  const look = async () => {
    const { difference } = await compareTable(databases.source, databases.destination, table, {
      lateColumns: true,
    }).catch((error) => ({ difference: `cannot be compared: ${error}` }))
    return [difference, doubtOf(await pipeline.status(), table)].filter((each) => each !== undefined)
  }
  for (const deadline = Date.now() + PATIENCE_MILLISECONDS; ; await sleep(1_500)) {
    const found = await look()
    if (found.length === 0) return undefined
    if (Date.now() > deadline) return `${found.join('; ')}; its last backfill: ${ended}`
  }
}
