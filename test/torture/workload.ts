import { Client } from 'pg'
import { quoteIdentifier, quoteTable } from '../../lib/sql.ts'
import type { Random } from './random.ts'
import { REVISION, type TortureTable } from './tables.ts'

/** What the workload may do besides row changes. */
export interface WorkloadOptions {
  readonly url: string
  readonly role: string
  readonly tables: readonly TortureTable[]
  readonly random: Random
  /** Sessions that write at the same time. */
  readonly sessions: number
  readonly truncates: boolean
  readonly ddl: boolean
  /** Rows of one huge transaction that may happen; 0 for never. */
  readonly hugeRows: number
}

export interface Workload {
  readonly transactions: () => number
  /** Resolves when all sessions have committed or rolled back what they were at. */
  stop(): Promise<void>
}

/** Milliseconds that a session rests between transactions, at most. */
const MAX_REST = 12
const LOCK_TIMEOUT = '2s'
/** How long a transaction may stay open, milliseconds. */
const LONGEST = 4_000

/** Random transactions on the source until stopped. Failures of single statements (deadlocks, duplicate keys) are part of it. */
export async function startWorkload(options: WorkloadOptions): Promise<Workload> {
  const stopping = new AbortController()
  let transactions = 0
  const added = new Map<string, number>()
  const sessions = await Promise.all(
    Array.from({ length: options.sessions }, async (_, i) => {
      const random = options.random.fork(`session ${i}`)
      const prepared: Prepared = { name: undefined }
      return async () => {
        let client = await reconnect(options, stopping.signal)
        while (client && !stopping.signal.aborted) {
          try {
            await finish(client, random, prepared)
            await transaction(client, random, options, { added, prepared })
            transactions += 1
          } catch (error) {
            if (!isConnectionLoss(error)) await client.query('ROLLBACK').catch(() => {})
            // The primary was restarted or replaced under it: a client would connect again, too.
            else client = await reconnect(options, stopping.signal)
          }
          await new Promise((resolve) => setTimeout(resolve, random.below(MAX_REST)))
        }
        await client?.end().catch(() => {})
      }
    }),
  )
  const done = Promise.all(sessions.map((run) => run()))
  done.catch(() => {})
  return {
    transactions: () => transactions,
    async stop() {
      stopping.abort()
      await done
      await persist(() => rollBackPrepared(options.url))
    },
  }
}

async function connect(options: WorkloadOptions): Promise<Client> {
  const client = new Client({ connectionString: options.url, application_name: 'torture' })
  client.on('error', () => {}) // shows in the next query
  await client.connect()
  // What such a session commits can vanish in a crash, or reach the log later than others see it (rule R13).
  const commits = options.random.chance(0.3) ? 'off' : 'on'
  await client.query(
    `SET ROLE ${quoteIdentifier(options.role)}; SET lock_timeout = '${LOCK_TIMEOUT}'; SET synchronous_commit = ${commits}`,
  )
  return client
}

/** Undefined when it is over before the server is up again. */
async function reconnect(options: WorkloadOptions, signal: AbortSignal): Promise<Client | undefined> {
  while (!signal.aborted) {
    try {
      return await connect(options)
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  return undefined
}

function isConnectionLoss(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string }
  return (
    code === '57P01' ||
    code === '57P03' ||
    code === 'ECONNRESET' ||
    /terminated|not queryable|closed/i.test(message ?? '')
  )
}

async function transaction(
  client: Client,
  random: Random,
  options: WorkloadOptions,
  { added, prepared }: { readonly added: Map<string, number>; readonly prepared: Prepared },
): Promise<void> {
  const table = random.pick(options.tables)
  if (options.ddl && random.chance(0.02)) return await alter(client, random, table, added)
  if (options.truncates && random.chance(0.01))
    return void (await client.query(`TRUNCATE ${quoteTable(table)}`))
  if (options.hugeRows > 0 && random.chance(0.004)) return await huge(client, random, table, options.hugeRows)
  await client.query('BEGIN')
  const statements = 1 + random.below(random.chance(0.1) ? 30 : 5)
  for (let i = 0; i < statements; i += 1) {
    const target = random.chance(0.7) ? table : random.pick(options.tables)
    const savepoint = random.chance(0.2)
    if (savepoint) await client.query('SAVEPOINT s')
    await step(client, random, target)
    if (savepoint) await client.query(random.chance(0.5) ? 'ROLLBACK TO s' : 'RELEASE s')
    if (random.chance(0.02)) await new Promise((resolve) => setTimeout(resolve, random.below(400)))
  }
  if (random.chance(0.01)) await new Promise((resolve) => setTimeout(resolve, random.below(LONGEST)))
  if (random.chance(0.02)) return await prepare(client, random, prepared)
  await client.query(random.chance(0.05) ? 'ROLLBACK' : 'COMMIT')
}

async function step(client: Client, random: Random, table: TortureTable): Promise<void> {
  const sql = statement(random, table)
  // A duplicate key would end the transaction; it is as good as any other reason to do nothing.
  await client.query('SAVEPOINT step')
  try {
    await client.query(sql)
    await client.query('RELEASE step')
  } catch (error) {
    if (isConnectionLoss(error)) throw error
    await client.query('ROLLBACK TO step')
  }
}

/** One random statement on rows of a table. */
export function statement(random: Random, table: TortureTable): string {
  const target = quoteTable(table)
  const index = random.below(table.keySpace)
  const here = where(table, index)
  const columns = Object.keys(table.values)
  switch (random.weighted({ insert: 35, update: 35, toast: 12, delete: 12, key: 8, swap: 4, several: 4 })) {
    case 'insert': {
      const values = columns.map((name) => table.values[name]?.(random) ?? 'NULL')
      return `INSERT INTO ${target} (${[...table.key, ...columns].map(quoteIdentifier).join(', ')}) VALUES (${[...table.keyAt(index), ...values].join(', ')})`
    }
    case 'update':
      return `UPDATE ${target} SET ${assign(random, table, [random.pick(columns)])} WHERE ${here}`
    case 'toast':
      return `UPDATE ${target} SET ${assign(
        random,
        table,
        columns.filter((name) => !name.startsWith('big')),
      )} WHERE ${here}`
    case 'delete':
      return `DELETE FROM ${target} WHERE ${here}`
    case 'key':
      return `UPDATE ${target} SET ${keyTo(random, table, random.below(table.keySpace))} WHERE ${here}`
    case 'swap': {
      // A key moves away and another row takes its place, in one transaction.
      const other = random.below(table.keySpace)
      return `UPDATE ${target} SET ${keyTo(random, table, table.keySpace + random.below(20))} WHERE ${here}; UPDATE ${target} SET ${keyTo(random, table, index)} WHERE ${where(table, other)}`
    }
    default:
      return `UPDATE ${target} SET ${assign(random, table, [columns[0] ?? ''])}`
  }
}

function assign(random: Random, table: TortureTable, columns: readonly string[]): string {
  const chosen = columns.length > 0 ? columns : Object.keys(table.values)
  const revision = REVISION in table.values ? [REVISION] : []
  return [...new Set([...chosen, ...revision])]
    .map((name) => `${quoteIdentifier(name)} = ${table.values[name]?.(random) ?? 'NULL'}`)
    .join(', ')
}

function where(table: TortureTable, index: number): string {
  const key = table.keyAt(index)
  return table.key.map((name, i) => `${quoteIdentifier(name)} = ${key[i]}`).join(' AND ')
}

function keyTo(random: Random, table: TortureTable, index: number): string {
  const key = table.keyAt(index)
  const revision = REVISION in table.values ? [assign(random, table, [REVISION])] : []
  return [...table.key.map((name, i) => `${quoteIdentifier(name)} = ${key[i]}`), ...revision].join(', ')
}

/** The transaction of a session that is between its two phases, as far as the session knows. */
interface Prepared {
  name: string | undefined
}

/** In two phases: between them it is in no session's hands. */
async function prepare(client: Client, random: Random, prepared: Prepared): Promise<void> {
  prepared.name = `torture-${random.below(1e9)}`
  await client.query(`PREPARE TRANSACTION '${prepared.name}'`)
  await new Promise((resolve) => setTimeout(resolve, random.below(500)))
  await finish(client, random, prepared)
}

/**
 * The second phase, also after the session was broken off between the two. Who left that to the end of the schedule would stop all
 * schedules: the next one waits for it with its slot, and a fault that wants the servers for itself waits for the next one.
 */
async function finish(client: Client, random: Random, prepared: Prepared): Promise<void> {
  const { name } = prepared
  if (name === undefined) return
  const { rowCount } = await client.query('SELECT FROM pg_prepared_xacts WHERE gid = $1', [name])
  if (rowCount === 1) await client.query(`${random.chance(0.8) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${name}'`)
  prepared.name = undefined
}

/** The server may be on its way up again. */
async function persist(work: () => Promise<void>): Promise<void> {
  for (let left = 100; ; left -= 1) {
    try {
      return await work()
    } catch (error) {
      if (left === 0) throw error
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
}

/** What sessions left behind that were broken off between the phases would keep every table from being held. */
async function rollBackPrepared(url: string): Promise<void> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ gid: string }>(
      'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()',
    )
    for (const { gid } of rows) await client.query(`ROLLBACK PREPARED '${gid}'`)
  } finally {
    await client.end().catch(() => {})
  }
}

/** Adds a column, or changes one that was added in a way of which the log says nothing. */
async function alter(
  client: Client,
  random: Random,
  table: TortureTable,
  added: Map<string, number>,
): Promise<void> {
  const number = added.get(table.name) ?? 0
  const kind = number === 0 ? 'add' : random.weighted({ add: 60, drop: 20, type: 20 })
  if (kind === 'add') return await addColumn(client, random, table, added)
  const column = `added${1 + random.below(number)}`
  await client.query(
    `ALTER TABLE ${quoteTable(table)} ${kind === 'drop' ? `DROP COLUMN IF EXISTS ${column}` : `ALTER COLUMN ${column} TYPE text USING ${column} || '!'`}`,
  )
}

async function addColumn(
  client: Client,
  random: Random,
  table: TortureTable,
  added: Map<string, number>,
): Promise<void> {
  const number = (added.get(table.name) ?? 0) + 1
  if (number > 3) return
  added.set(table.name, number)
  const type = random.pick([
    'integer',
    'text',
    "text DEFAULT 'made'",
    'integer DEFAULT 7 NOT NULL',
    'numeric(10,2) DEFAULT 1.5',
  ])
  await client.query(`ALTER TABLE ${quoteTable(table)} ADD COLUMN IF NOT EXISTS added${number} ${type}`)
}

async function huge(client: Client, random: Random, table: TortureTable, rows: number): Promise<void> {
  const [column] = Object.keys(table.values)
  if (!column) return
  const count = random.below(rows)
  await client.query('BEGIN')
  for (let done = 0; done < count; done += table.keySpace) {
    await client.query(`UPDATE ${quoteTable(table)} SET ${assign(random, table, [column])}`)
  }
  await client.query('COMMIT')
}
