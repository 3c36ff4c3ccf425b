import type { Statement, TableRef } from '../sql/ast.ts'
import { RedshiftError } from '../sql/errors.ts'
import { HOME, sqlTable } from '../sql/names.ts'
import type { Backend } from './backends.ts'
import { resolveTables, type TableInfo } from './catalog.ts'
import { type Footprint, parseSnapshot, type Snapshot } from './conflicts.ts'
import { type Isolation, translateError } from './errors.ts'
import type { Tracker } from './tracker.ts'

/** How a statement holds a table: what excludes what is PostgreSQL's. */
export type LockMode = 'insert' | 'modify' | 'exclusive'

export interface Transaction extends Footprint {
  readonly reads: Set<number>
  readonly writes: Set<number>
  /** Began with BEGIN, or as a batch; otherwise it is one statement. */
  readonly explicit: boolean
  snapshot: Snapshot | undefined
  /** A statement failed: nothing but ROLLBACK helps. */
  failed: boolean
}

export type Collation = 'case_sensitive' | 'case_insensitive'

export interface SessionOptions {
  readonly backend: Backend
  readonly tracker: Tracker
  readonly collation: Collation
  readonly isolation: Isolation
  readonly user: string
  readonly database: string
  /** Role that statements run as; undefined for the superuser. */
  readonly role: string | undefined
  nextTransaction(): number
}

/** A session of Redshift: a connection with its settings and, at times, a transaction. */
export interface Session {
  readonly backend: Backend
  readonly user: string
  readonly database: string
  readonly settings: { caseSensitive: boolean }
  transaction(): Transaction | undefined
  begin(explicit: boolean): Promise<Transaction>
  commit(): Promise<void>
  rollback(): Promise<void>
  /** Does something on the connection with the privileges of the session's user. */
  asUser<T>(work: () => Promise<T>): Promise<T>
  /** Runs SQL as the session's user. */
  run(sql: string): Promise<{ rows: (string | null)[][]; rowCount: number; fields: FieldInfo[] }>
  /**
   * Makes a statement ready to run: takes its locks, then the transaction's snapshot when it has none yet, looks the
   * tables up and refuses what no serial order has room for.
   */
  prepare(plan: StatementPlan): Promise<Map<TableRef, TableInfo>>
  /** Remembers a number that a function of the session returns. */
  remember(name: 'last_copy_count' | 'last_copy_id' | 'last_query_id', value: number): Promise<void>
  translate(error: unknown): Error
}

export interface FieldInfo {
  readonly name: string
  readonly tableID: number
  readonly columnID: number
  readonly dataTypeID: number
  readonly dataTypeModifier: number
}

export interface StatementPlan {
  readonly reads: readonly TableRef[]
  readonly writes: readonly { readonly table: TableRef; readonly lock: LockMode }[]
}

const LOCKS: Record<Isolation, Record<LockMode, string>> = {
  // One writer a table at a time.
  serializable: {
    insert: 'SHARE ROW EXCLUSIVE',
    modify: 'SHARE ROW EXCLUSIVE',
    exclusive: 'ACCESS EXCLUSIVE',
  },
  // Inserts share.
  snapshot: { insert: 'ROW EXCLUSIVE', modify: 'SHARE ROW EXCLUSIVE', exclusive: 'ACCESS EXCLUSIVE' },
}

/** Sets a borrowed connection up as a session. */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { backend, tracker, isolation, role } = options
  let current: Transaction | undefined
  const settings = { caseSensitive: false }

  const translate = (error: unknown) => translateError(error, isolation)

  const begin = async (explicit: boolean) => {
    if (current) throw new RedshiftError('25001', 'there is already a transaction in progress')
    await backend.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
    current = {
      id: options.nextTransaction(),
      snapshot: undefined,
      reads: new Set(),
      writes: new Set(),
      explicit,
      failed: false,
    }
    tracker.enter(current)
    return current
  }

  const rollback = async () => {
    const transaction = current
    current = undefined
    if (transaction) tracker.leave(transaction)
    await backend.query('ROLLBACK')
  }

  const commit = async () => {
    const transaction = current
    if (!transaction) return
    if (transaction.failed) {
      await rollback()
      return
    }
    try {
      const { rows } = await backend.query('select pg_current_xact_id_if_assigned()::text')
      const xid = rows[0]?.[0]
      const end = async () => {
        await backend.query('COMMIT')
      }
      if (isolation === 'serializable') {
        await tracker.commit(transaction, xid == null ? undefined : BigInt(xid), backend.pid, end)
      } else await end()
      current = undefined
    } catch (error) {
      await rollback().catch(() => {})
      throw translate(error)
    }
  }

  const asUser: Session['asUser'] = async (work) => {
    if (role === undefined) return work()
    await backend.query(`SET LOCAL ROLE ${role}`)
    const result = await work()
    // After an error the rollback resets it.
    await backend.query('RESET ROLE')
    return result
  }

  const run: Session['run'] = async (sql) => {
    const { rows, rowCount, fields } = await asUser(() => backend.query(sql))
    return { rows, rowCount: rowCount ?? 0, fields }
  }

  const prepare: Session['prepare'] = async ({ reads, writes }) => {
    const transaction = current
    if (!transaction) throw new Error('a statement is prepared outside of a transaction')
    for (const { table, lock } of writes) {
      await backend.query(`LOCK TABLE ${sqlTable(table)} IN ${LOCKS[isolation][lock]} MODE`)
    }
    if (!transaction.snapshot) {
      const { rows } = await backend.query('select pg_current_snapshot()::text')
      transaction.snapshot = parseSnapshot(rows[0]?.[0] ?? '')
    }
    const tables = await resolveTables(backend, [...reads, ...writes.map(({ table }) => table)])
    for (const ref of reads) for (const oid of tables.get(ref)?.bases ?? []) transaction.reads.add(oid)
    for (const { table, lock } of writes) {
      const oid = tables.get(table)?.oid ?? 0
      transaction.writes.add(oid)
      if (lock === 'modify') transaction.reads.add(oid)
    }
    if (isolation === 'serializable') await tracker.check(transaction, backend.pid)
    return tables
  }

  await backend.query(
    `select set_config('redshift_emulator.user', $1, false), set_config('redshift_emulator.database', $2, false),
       set_config('redshift_emulator.collation', $3, false)`,
    [options.user, options.database, options.collation],
  )

  return {
    backend,
    user: options.user,
    database: options.database,
    settings,
    transaction: () => current,
    begin,
    commit,
    rollback,
    asUser,
    run,
    prepare,
    remember: async (name, value) => {
      // Not by set_config(): a SELECT would take the transaction's snapshot.
      await backend.query(`SET ${HOME}.${name} = ${value}`)
    },
    translate,
  }
}

/** Statements that Redshift does not run inside of a transaction block. */
export function refusesBlock(statement: Statement): string | undefined {
  if (statement.kind === 'vacuum') return 'VACUUM'
  if (statement.kind === 'alter table' && ['alter type', 'alter encode'].includes(statement.action.kind)) {
    return 'ALTER TABLE ALTER COLUMN'
  }
  return undefined
}
