import { randomUUID } from 'node:crypto'
import { createBackoff } from '../../../lib/backoff.ts'
import { MillraceError } from '../../../lib/errors.ts'
import type { Logger } from '../../../lib/log.ts'
import { sleep } from '../../../lib/sleep.ts'
import type { TableName } from '../../source/table.ts'
import { type DataApi, derivedToken, OutcomeUnknown } from './data-api.ts'
import {
  isAlreadyThere,
  isConflict,
  isGuardFailure,
  isMissingTable,
  StatementFailure,
  statementError,
} from './failures.ts'
import type { LedgerNames } from './ledger-names.ts'
import { ROW_COLUMNS, type StoredRow, tokenOf, toStored } from './ledger-rows.ts'
import { literal } from './literals.ts'
import {
  createLedgerSQL,
  type Expectation,
  guardSQL,
  lockSQL,
  type RowWrite,
  writeSQL,
} from './transaction-sql.ts'

/** One statement of a transaction's work. */
export interface Work {
  readonly sql: string
  /** It fails, by dividing by zero, when this is not so: `GuardFailed` then says which. */
  readonly guard?: string
}

/** What is done to one table's ledger, and with it, in one transaction. */
export interface LedgerTransaction {
  /** Quoted name of the table's ledger. */
  readonly ledger: string
  /** For people who look at the list of statements. */
  readonly name: string
  /** Further tables to lock, before the ledger's. */
  readonly locks?: readonly string[]
  readonly expect: readonly Expectation[]
  /** Comes after the guard and before the ledger is written. */
  readonly work?: readonly Work[]
  /** The first one carries the transaction's mark. */
  readonly writes: readonly RowWrite[]
  /** Comes last: TRUNCATE, which commits. */
  readonly last?: string
  /** Further facts that make it this transaction and no other. */
  readonly identity?: string
}

/** The ledger was not as expected, or another guard did not hold. Nothing was written. */
export class GuardFailed extends Error {
  /** Undefined: the ledger's rows have moved on. */
  readonly guard: string | undefined

  constructor(guard: string | undefined) {
    super(guard === undefined ? 'the ledger has moved on' : `${guard} does not hold`)
    this.name = 'GuardFailed'
    this.guard = guard
  }
}

/** The ledger as tables of rows. */
export interface LedgerStore {
  readonly names: LedgerNames
  readonly pipeline: string
  readonly label: string
  of(table: TableName): string
  /** Creates a table's ledger when it is missing. */
  ensure(table: TableName, signal: AbortSignal): Promise<string>
  /** Rows of one ledger; none when there is no such ledger. `where` is SQL. */
  read(ledger: string, where: string, signal: AbortSignal): Promise<StoredRow[]>
  readIds(ledger: string, ids: readonly string[], signal: AbortSignal): Promise<Map<string, StoredRow>>
  /** Rows of many ledgers, by ledger; none of one that is missing. */
  readMany(ledgers: readonly string[], where: string, signal: AbortSignal): Promise<Map<string, StoredRow[]>>
  /** The same, of as many as answer within some seconds; the others, which somebody has locked, are named. */
  readSoon(
    ledgers: readonly string[],
    where: string,
    signal: AbortSignal,
  ): Promise<{ readonly rows: Map<string, StoredRow[]>; readonly locked: readonly string[] }>
  query: DataApi['query']
  /**
   * Commits once. A transaction that has committed already, of which the answer was lost, is recognised by its mark. Throws
   * `GuardFailed`, or whatever `failure` makes of a statement's failure.
   */
  commit(
    transaction: LedgerTransaction,
    signal: AbortSignal,
    failure?: (failure: StatementFailure) => unknown,
  ): Promise<void>
  /** Runs one statement by itself, such as DDL that no transaction may contain. */
  execute(sql: string, name: string, signal: AbortSignal): Promise<void>
  /** Runs statements that are no matter of the ledger as one transaction. */
  transaction(statements: readonly string[], name: string, signal: AbortSignal): Promise<void>
}

export interface LedgerStoreOptions {
  readonly api: DataApi
  readonly names: LedgerNames
  readonly pipeline: string
  readonly label: string
  readonly log: Logger
}

const CONFLICT_ATTEMPTS = 25
/** Ledgers that one query reads. */
const UNION = 60
/** How long `readSoon` waits for one query, milliseconds. */
const SOON = 15_000

export function createLedgerStore({ api, names, pipeline, label, log }: LedgerStoreOptions): LedgerStore {
  const there = new Set<string>()

  async function query(sql: string, name: string, signal: AbortSignal) {
    try {
      return await tryAgain(name, signal, () => api.query(sql, name, signal))
    } catch (error) {
      throw error instanceof StatementFailure && !isMissingTable(error) ? statementError(error, name) : error
    }
  }

  /** One that is missing, as somebody may have dropped what a table has left that was given free, has no rows. */
  async function readGroup(
    ledgers: readonly string[],
    where: string,
    signal: AbortSignal,
  ): Promise<[ledger: string, row: StoredRow][]> {
    const parts = ledgers.map(
      (ledger, index) => `SELECT ${index} AS place, ${ROW_COLUMNS} FROM ${ledger} WHERE ${where}`,
    )
    try {
      const rows = await query(parts.join(' UNION ALL '), 'millrace read ledger', signal)
      return rows.map((row) => [ledgers[Number(row.place)] ?? '', toStored(row)])
    } catch (error) {
      if (!(error instanceof StatementFailure && isMissingTable(error))) throw error
      if (ledgers.length === 1) return []
      const middle = Math.ceil(ledgers.length / 2)
      const halves = [ledgers.slice(0, middle), ledgers.slice(middle)]
      return (await Promise.all(halves.map((half) => readGroup(half, where, signal)))).flat()
    }
  }

  async function readMany(ledgers: readonly string[], where: string, signal: AbortSignal) {
    const found = new Map<string, StoredRow[]>()
    for (let from = 0; from < ledgers.length; from += UNION) {
      for (const [ledger, row] of await readGroup(ledgers.slice(from, from + UNION), where, signal)) {
        found.set(ledger, [...(found.get(ledger) ?? []), row])
      }
    }
    return found
  }

  // What waits has its share of every ledger that it has come to, for which those wait that would write there: so it is
  // taken back, and each ledger read by itself.
  async function readSoon(ledgers: readonly string[], where: string, signal: AbortSignal) {
    const rows = new Map<string, StoredRow[]>()
    const locked: string[] = []
    const attempt = async (group: readonly string[]): Promise<void> => {
      const limit = AbortSignal.timeout(SOON)
      try {
        const found = await readMany(group, where, AbortSignal.any([signal, limit]))
        for (const [ledger, its] of found) rows.set(ledger, its)
      } catch (error) {
        signal.throwIfAborted()
        if (!limit.aborted) throw error
        if (group.length === 1) locked.push(...group)
        else await Promise.all(group.map((ledger) => attempt([ledger])))
      }
    }
    for (let from = 0; from < ledgers.length; from += UNION) await attempt(ledgers.slice(from, from + UNION))
    return { rows, locked }
  }

  async function read(ledger: string, where: string, signal: AbortSignal): Promise<StoredRow[]> {
    return (await readMany([ledger], where, signal)).get(ledger) ?? []
  }

  async function transaction(
    statements: readonly string[],
    name: string,
    signal: AbortSignal,
  ): Promise<void> {
    // Another token each time: such statements are made again only where they are meant.
    await tryAgain(name, signal, () => api.execute({ statements, token: randomUUID(), name }, signal)).catch(
      (error) => {
        throw error instanceof OutcomeUnknown
          ? new MillraceError('DestinationUnavailable', `${name}: ${error.message}`)
          : error
      },
    )
  }

  const execute = (sql: string, name: string, signal: AbortSignal) => transaction([sql], name, signal)

  /** Runs until it does not lose against another transaction. */
  async function tryAgain<T>(name: string, signal: AbortSignal, run: () => Promise<T>): Promise<T> {
    const backoff = createBackoff(100, 5_000)
    for (;;) {
      try {
        return await run()
      } catch (error) {
        const conflict = error instanceof StatementFailure && isConflict(error)
        if (!conflict || backoff.attempts() >= CONFLICT_ATTEMPTS) throw error
        log.debug({ name, attempt: backoff.attempts() + 1 }, 'Lost against another transaction, trying again')
        await sleep(backoff.next(), signal)
      }
    }
  }

  async function commit(
    transaction: LedgerTransaction,
    signal: AbortSignal,
    failure: (failure: StatementFailure) => unknown = (each) => statementError(each, transaction.name),
  ): Promise<void> {
    const { ledger, expect, work = [], writes, last, locks = [] } = transaction
    const head = [lockSQL([...locks, ledger]), guardSQL(ledger, expect)]
    const unmarked = writeSQL(ledger, writes, '')
    const token = derivedToken(
      pipeline,
      transaction.identity ?? '',
      ...head,
      ...work.map(({ sql }) => sql),
      ...unmarked,
      last ?? '',
    )
    const statements = [
      ...head,
      ...work.map(({ sql }) => sql),
      ...writeSQL(ledger, writes, token),
      ...(last === undefined ? [] : [last]),
    ]
    const isMine = async () => {
      const id = writes[0]?.content.id
      if (id === undefined) return false
      const row = (await readIds(ledger, [id], signal)).get(id)
      return row !== undefined && tokenOf(row) === token
    }
    try {
      await tryAgain(transaction.name, signal, () =>
        api.execute({ statements, token, name: transaction.name }, signal),
      )
    } catch (error) {
      if (error instanceof OutcomeUnknown) {
        if (await isMine()) return
        throw new MillraceError(
          'DestinationUnavailable',
          `${transaction.name}: the Data API does not know the statement any more, and it has not committed: ${error.message}`,
        )
      }
      if (!(error instanceof StatementFailure)) throw error
      if (isGuardFailure(error) && error.index !== undefined) {
        if (error.index < head.length) {
          if (await isMine()) return
          throw new GuardFailed(undefined)
        }
        const guard = work[error.index - head.length]?.guard
        if (guard !== undefined) throw new GuardFailed(guard)
      }
      // It may be the ledger that was dropped.
      if (isMissingTable(error)) there.delete(ledger)
      throw failure(error)
    }
  }

  async function readIds(ledger: string, ids: readonly string[], signal: AbortSignal) {
    const rows = await read(ledger, `id IN (${ids.map(literal).join(', ')})`, signal)
    return new Map(rows.map((row) => [row.id, row]))
  }

  return {
    names,
    pipeline,
    label,
    of: (table) => names.of(pipeline, table),
    async ensure(table, signal) {
      const ledger = names.of(pipeline, table)
      if (!there.has(ledger)) {
        try {
          await execute(createLedgerSQL(ledger), 'millrace create ledger', signal)
        } catch (error) {
          if (!(error instanceof StatementFailure)) throw error
          // Two that create at once: then it is there.
          if (!isAlreadyThere(error)) throw statementError(error, 'the ledger')
        }
        there.add(ledger)
      }
      return ledger
    },
    read,
    readIds,
    readMany,
    readSoon,
    query,
    commit,
    execute,
    transaction,
  }
}
