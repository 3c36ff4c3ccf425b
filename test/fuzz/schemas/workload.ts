import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, QueryArrayConfig } from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import type { Random } from '../../torture/random.ts'
import { between } from '../random.ts'
import type { Say } from '../report.ts'
import { connect, literal, refusal } from '../sql.ts'
import { anyChange, type Change, insertion, namesOf } from './changes.ts'
import type { FuzzTable } from './table.ts'

/** What the workload has done. */
export interface WorkloadCounts {
  statements: number
  transactions: number
}

/** Writes tables of one source. */
export interface Workload {
  /** Rows for the beginning. */
  fill(random: Random, tables: readonly FuzzTable[]): Promise<void>
  /** Transactions over all tables until it is stopped. */
  write(random: Random, tables: readonly FuzzTable[], goesOn: () => boolean): Promise<void>
}

/** Changes that a savepoint is made before. */
type Savable = Exclude<Change, { kind: 'truncate' }>

/** A random row is often refused: not unique, out of range, too large for an index, in the way of another session. */
const EXPECTED = /^(22|23|40|54|55P03)/

const FIRST_INSERTS = 40

/**
 * @param say is told once of each way in which the source refuses what should be possible: the publication may be in the way
 */
export function createWorkload(url: string, counts: WorkloadCounts, say: Say): Workload {
  const told = new Set<string>()

  /** Whether PostgreSQL has taken the change; what it refuses leaves no trace. */
  async function tried(client: Client, table: FuzzTable, work: () => Promise<unknown>): Promise<boolean> {
    await client.query('savepoint tried')
    try {
      await work()
      await client.query('release savepoint tried')
      return true
    } catch (error) {
      await client.query('rollback to savepoint tried; release savepoint tried')
      const { code, message } = refusal(error)
      if (EXPECTED.test(code) || told.has(code + message)) return false
      told.add(code + message)
      say(`the source refused a change of ${table.sql} (${table.identity}): ${code} ${message}`)
      return false
    }
  }

  async function make(client: Client, table: FuzzTable, change: Savable): Promise<void> {
    switch (change.kind) {
      case 'statement':
        await run(client, change.sql)
        break
      case 'swap':
        await swap(client, table, change)
        break
      case 'copy':
        await copyLines(client, change.sql, change.lines)
        counts.statements += 1
        break
      case 'regret':
        await client.query('savepoint regret')
        for (const sql of change.sql) await tried(client, table, () => run(client, sql))
        await client.query('rollback to savepoint regret')
        break
    }
  }

  async function run(client: Client, sql: string): Promise<void> {
    await client.query(sql)
    counts.statements += 1
  }

  async function swap(client: Client, table: FuzzTable, change: Change & { kind: 'swap' }): Promise<void> {
    const config: QueryArrayConfig = { text: change.sql, rowMode: 'array', types: AS_SENT }
    const { rows } = await client.query<(string | null)[]>(config)
    counts.statements += 1
    const [one, other] = rows
    if (change.exchange && one && other) {
      for (const [at, { key }] of table.columns.entries())
        if (key) [one[at], other[at]] = [other[at] ?? null, one[at] ?? null]
    }
    for (const row of rows)
      await run(
        client,
        `insert into ${table.sql} (${namesOf(table)}) overriding system value values (${row.map(literal).join(', ')})`,
      )
  }

  async function transaction(client: Client, random: Random, tables: readonly FuzzTable[]): Promise<void> {
    await client.query('begin')
    try {
      const chosen = Array.from({ length: between(random, 1, 3) }, () => random.pick(tables))
      for (let left = between(random, 1, 8); left > 0; left -= 1) {
        const table = random.pick(chosen)
        const change = anyChange(random, table)
        if (change?.kind === 'truncate') await run(client, change.sql)
        else if (change) await tried(client, table, () => make(client, table, change))
      }
      await client.query(random.chance(0.1) ? 'rollback' : 'commit')
    } catch (error) {
      // Deferred constraints are checked by the COMMIT.
      const { code, message } = refusal(error)
      await client.query('rollback')
      if (!EXPECTED.test(code)) say(`a transaction failed: ${code} ${message}`)
    }
    counts.transactions += 1
  }

  return {
    async fill(random, tables) {
      await withSession(url, async (client) => {
        await client.query('begin; set constraints all immediate')
        for (const table of tables)
          for (let left = FIRST_INSERTS; left > 0; left -= 1) {
            const sql = insertion(random, table, between(random, 1, 4))
            await tried(client, table, () => run(client, sql))
          }
        await client.query('commit')
      })
    },
    async write(random, tables, goesOn) {
      await withSession(url, async (client) => {
        // A little air for the others on a machine with few cores.
        for (; goesOn(); await sleep(PAUSE_MILLISECONDS)) await transaction(client, random, tables)
      })
    },
  }
}

const PAUSE_MILLISECONDS = 5

const AS_SENT = { getTypeParser: () => (value: unknown) => value } as unknown as NonNullable<
  QueryArrayConfig['types']
>

async function copyLines(client: Client, sql: string, lines: readonly string[]): Promise<void> {
  const stream = client.query(copyFrom(sql))
  stream.end(lines.join(''))
  await finished(stream)
}

async function withSession(url: string, work: (client: Client) => Promise<void>): Promise<void> {
  const client = await connect(url)
  try {
    await client.query(`set lock_timeout = '20s'`)
    await work(client)
  } finally {
    await client.end()
  }
}
