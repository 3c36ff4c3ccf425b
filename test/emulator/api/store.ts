import { randomUUID } from 'node:crypto'
import type { ResultSet } from '../engine/result.ts'
import type { Clock, Limits } from '../options.ts'
import { activeStatementsExceeded, notFound } from './errors.ts'
import type { ExecuteRequest, Target } from './request.ts'

export type Status = 'SUBMITTED' | 'PICKED' | 'STARTED' | 'FINISHED' | 'FAILED' | 'ABORTED'

export const isTerminal = (status: Status) =>
  status === 'FINISHED' || status === 'FAILED' || status === 'ABORTED'

/** One SQL statement of a request. */
export interface SubStatement {
  readonly sql: string
  status: Status
  error: string | undefined
  queryId: number
  startedAt: number | undefined
  endedAt: number | undefined
  rows: number
  result: ResultSet | undefined
}

/** One ExecuteStatement or BatchExecuteStatement. */
export interface StatementRecord {
  readonly id: string
  readonly request: ExecuteRequest
  readonly target: Target
  readonly user: string
  readonly identity: string
  readonly sessionId: string | undefined
  readonly subs: readonly SubStatement[]
  readonly createdAt: number
  updatedAt: number
  startedAt: number | undefined
  endedAt: number | undefined
  status: Status
  error: string | undefined
  pid: number
  /** Requests that wait for its end. */
  waiting: number
  readonly abort: AbortController
  /** Settles at its end. */
  readonly done: Promise<void>
  finish(status: Status, error?: string): void
  touch(status: Status): void
}

export interface NewStatement {
  readonly request: ExecuteRequest
  readonly target: Target
  readonly user: string
  readonly identity: string
  readonly sessionId: string | undefined
}

/** All statements of the last 24 hours. */
export interface Store {
  add(statement: NewStatement): StatementRecord
  /** The statement, as far as this caller may see it. */
  get(id: string, identity: string): StatementRecord
  all(): readonly StatementRecord[]
  active(): readonly StatementRecord[]
}

/** How often what is kept is weighed: every so many statements. */
const WEIGH_EVERY = 20

function bytesOf({ subs }: StatementRecord): number {
  // The rows of a result take several times the memory of their values.
  return subs.reduce((sum, { sql, result }) => sum + sql.length + 8 * (result?.bytes ?? 0), 0)
}

export function createStore(limits: Limits, clock: Clock): Store {
  let added = 0
  const records = new Map<string, StatementRecord>()
  const keep = Math.max(limits.statementHours, limits.resultHours) * 3_600_000

  const expire = () => {
    for (const [id, record] of records) {
      if (record.createdAt > clock.now() - keep) break
      if (isTerminal(record.status)) records.delete(id)
    }
  }
  /** Unlike Amazon's, this memory is a process's own: the oldest go before their time when it gets too much. */
  const trim = () => {
    let bytes = 0
    for (const [id, record] of [...records].reverse()) {
      bytes += bytesOf(record)
      if (bytes > limits.keptBytes && isTerminal(record.status)) records.delete(id)
    }
  }
  const all = () => {
    expire()
    return [...records.values()]
  }
  const active = () => all().filter(({ status }) => !isTerminal(status))

  return {
    all,
    active,
    add: (statement) => {
      if (active().length >= limits.activeStatements) throw activeStatementsExceeded(limits.activeStatements)
      const record = newRecord(statement, clock)
      if (++added % WEIGH_EVERY === 0) trim()
      records.set(record.id, record)
      return record
    },
    get: (id, identity) => {
      expire()
      const record = records.get(id.replace(/:\d+$/, ''))
      if (!record || record.identity !== identity) throw notFound('Query does not exist.', `query-id:${id}`)
      return record
    },
  }
}

function newRecord(statement: NewStatement, clock: Clock): StatementRecord {
  const now = clock.now()
  const { promise, resolve } = Promise.withResolvers<void>()
  const record: StatementRecord = {
    ...statement,
    id: randomUUID(),
    subs: statement.request.sqls.map((sql) => ({
      sql,
      status: 'SUBMITTED',
      error: undefined,
      queryId: 0,
      startedAt: undefined,
      endedAt: undefined,
      rows: -1,
      result: undefined,
    })),
    createdAt: now,
    updatedAt: now,
    startedAt: undefined,
    endedAt: undefined,
    status: 'SUBMITTED',
    error: undefined,
    pid: 0,
    waiting: 0,
    abort: new AbortController(),
    done: promise,
    touch: (status) => {
      record.status = status
      record.updatedAt = clock.now()
      if (status === 'STARTED') record.startedAt = clock.now()
    },
    finish: (status, error) => {
      record.error = error
      record.endedAt = clock.now()
      record.touch(status)
      resolve()
    },
  }
  return record
}
