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
import { createLedgerReads, type LedgerReads } from './ledger-reads.ts'
import { tokenOf } from './ledger-rows.ts'
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
export interface LedgerStore extends LedgerReads {
  readonly names: LedgerNames
  readonly pipeline: string
  readonly label: string
  of(table: TableName): string
  /** Creates a table's ledger when it is missing. */
  ensure(table: TableName, signal: AbortSignal): Promise<string>
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

export function createLedgerStore({ api, names, pipeline, label, log }: LedgerStoreOptions): LedgerStore {
  const there = new Set<string>()

  async function query(sql: string, name: string, signal: AbortSignal) {
    try {
      return await tryAgain(name, signal, () => api.query(sql, name, signal))
    } catch (error) {
      throw error instanceof StatementFailure && !isMissingTable(error) ? statementError(error, name) : error
    }
  }

  const reads = createLedgerReads(query)

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
      const row = (await reads.readIds(ledger, [id], signal)).get(id)
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
    ...reads,
    query,
    commit,
    execute,
    transaction,
  }
}
