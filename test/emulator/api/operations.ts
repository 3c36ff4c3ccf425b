import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock, Limits, Operation } from '../options.ts'
import { tokenize } from '../sql/lexer.ts'
import type { StatementLog } from '../statement-log.ts'
import {
  columnAnswer,
  compact,
  describeAnswer,
  describeSub,
  executeAnswer,
  fieldAnswer,
  fieldBytes,
  listAnswer,
  seconds,
  stillRunning,
} from './answers.ts'
import { notFound, validation, waitingRequestsExceeded } from './errors.ts'
import {
  type ExecuteRequest,
  oneOf,
  optionalInteger,
  optionalString,
  readExecute,
  statementId,
  type Target,
  waitSeconds,
} from './request.ts'
import type { Runner } from './runner.ts'
import type { ApiSession, Sessions } from './sessions.ts'
import type { StatementRecord, Store, SubStatement } from './store.ts'
import type { ClientTokens } from './tokens.ts'

export interface Caller {
  /** Statements belong to who made them. */
  readonly identity: string
  /** The client has gone: waiting is of no use any more. */
  readonly signal: AbortSignal
}

export interface ServiceOptions {
  readonly limits: Limits
  readonly clock: Clock
  readonly store: Store
  readonly sessions: Sessions
  readonly tokens: ClientTokens
  readonly runner: Runner
  readonly log: StatementLog
  readonly defaultUser: string
  /** Clusters and workgroups that are there; undefined = whatever is asked for. */
  readonly targets: readonly string[] | undefined
}

type Body = Readonly<Record<string, unknown>>
type Handler = (body: Body, caller: Caller) => Promise<object>

export interface Service {
  readonly handlers: Readonly<Record<Operation, Handler>>
  /** Waits for the statement that an answer of ExecuteStatement or BatchExecuteStatement names. */
  settle(answer: object): Promise<void>
}

export function createService(options: ServiceOptions): Service {
  const { limits, store, sessions, tokens, runner, log } = options

  const execute = async (body: Body, caller: Caller, batch: boolean) => {
    const request = readExecute(body, batch, limits)
    const record = repeated(request, body, caller) ?? submit(request, body, caller)
    if (request.waitSeconds > 0) await waitFor(record, request.waitSeconds, caller.signal)
    return executeAnswer({ ...record, request })
  }

  const repeated = ({ clientToken }: ExecuteRequest, body: Body, caller: Caller) => {
    const id = clientToken === undefined ? undefined : tokens.find(caller.identity, clientToken, body)
    return id === undefined ? undefined : store.get(id, caller.identity)
  }

  const submit = (request: ExecuteRequest, body: Body, caller: Caller): StatementRecord => {
    checkParameters(request)
    const { session, target, user } = placeOf(request, caller)
    const add = () => store.add({ request, target, user, identity: caller.identity, sessionId: session?.id })
    let record: StatementRecord
    try {
      record = add()
    } catch (error) {
      if (session) sessions.vacate(session)
      throw error
    }
    if (session) session.currentStatement = record.id
    if (request.clientToken !== undefined)
      tokens.remember(caller.identity, request.clientToken, body, record.id)
    log.append(record)
    runner.submit(record, session)
    return record
  }

  const placeOf = (
    request: ExecuteRequest,
    caller: Caller,
  ): { session: ApiSession | undefined; target: Target; user: string } => {
    const { sessionId, keepAliveSeconds, target } = request
    if (sessionId !== undefined) {
      const session = sessions.occupy(sessionId, caller.identity, keepAliveSeconds)
      return { session, target: session.target, user: session.user }
    }
    if (!target) throw validation('ClusterIdentifier or WorkgroupName is required')
    const user = checkTarget(target)
    const session = keepAliveSeconds
      ? sessions.create(target, user, caller.identity, keepAliveSeconds)
      : undefined
    return { session, target, user }
  }

  const checkTarget = (target: Target): string => {
    const name = target.clusterIdentifier ?? target.workgroupName ?? ''
    if (options.targets && !options.targets.includes(name)) {
      throw validation("Redshift endpoint doesn't exist in this region.")
    }
    return (
      target.dbUser ?? (target.secretArn === undefined ? `IAM:${options.defaultUser}` : options.defaultUser)
    )
  }

  const waitFor = async (record: StatementRecord, wait: number, signal: AbortSignal) => {
    if (wait === 0 || !stillRunning(record)) return
    if (record.waiting >= limits.waitingRequests) throw waitingRequestsExceeded(limits.waitingRequests)
    record.waiting++
    const timer = new AbortController()
    const either = AbortSignal.any([signal, timer.signal])
    try {
      await Promise.race([
        record.done,
        sleep(wait * 1000, undefined, { signal: either, ref: false }).catch(() => {}),
      ])
    } finally {
      timer.abort()
      record.waiting--
    }
  }

  const subOf = (record: StatementRecord, id: string): { sub: SubStatement; index: number } | undefined => {
    const number = /:(\d+)$/.exec(id)?.[1]
    if (number === undefined) return undefined
    const index = Number(number) - 1
    const sub = record.request.batch ? record.subs[index] : undefined
    if (!sub) throw notFound('Query does not exist.', `query-id:${id}`)
    return { sub, index }
  }

  const describe: Handler = async (body, caller) => {
    const id = statementId(body)
    const record = store.get(id, caller.identity)
    const part = subOf(record, id)
    await waitFor(record, waitSeconds(body, limits), caller.signal)
    return part ? describeSub(record, part.sub, part.index) : describeAnswer(record)
  }

  const result: Handler = async (body, caller) => {
    const id = statementId(body)
    const record = store.get(id, caller.identity)
    const part = subOf(record, id)
    if (record.request.batch && !part) {
      throw validation('BatchExecuteStatement result can only be retrieved with sub-statement id.')
    }
    await waitFor(record, waitSeconds(body, limits), caller.signal)
    const sub = part?.sub ?? record.subs[0]
    const set = record.status === 'FINISHED' ? sub?.result : undefined
    if (!set) {
      throw notFound(
        'Query does not have result. Please check query status with DescribeStatement.',
        `query-id:${id}`,
      )
    }
    const start = readToken(optionalString(body, 'NextToken'), id)
    let end = start
    for (let bytes = 0; end < set.rows.length && (end === start || bytes < limits.pageBytes); end++) {
      for (const field of set.rows[end] ?? []) bytes += fieldBytes(field)
    }
    return compact({
      Records: set.rows.slice(start, end).map((row) => row.map(fieldAnswer)),
      ColumnMetadata: set.columns.map(columnAnswer),
      TotalNumRows: set.rows.length,
      NextToken: end < set.rows.length ? makeToken(end, id) : undefined,
    })
  }

  const cancel: Handler = async (body, caller) => {
    const id = statementId(body)
    const record = store.get(id, caller.identity)
    if (!stillRunning(record)) {
      throw validation(`Could not cancel a query that is already in ${record.status} state with ID: ${id}`)
    }
    await runner.cancel(record)
    return { Status: true }
  }

  const page = <T>(body: Body, items: readonly T[]) => {
    const size = optionalInteger(body, 'MaxResults', 0, 100) || 100
    const start = readToken(optionalString(body, 'NextToken'), 'list')
    const end = start + size
    return { items: items.slice(start, end), token: end < items.length ? makeToken(end, 'list') : undefined }
  }

  const listStatements: Handler = async (body, caller) => {
    const status =
      oneOf(body, 'Status', ['SUBMITTED', 'PICKED', 'STARTED', 'FINISHED', 'ABORTED', 'FAILED', 'ALL']) ??
      'FINISHED'
    const prefix = optionalString(body, 'StatementName', 500, 0) ?? ''
    const matching = store
      .all()
      .filter(
        (record) =>
          record.identity === caller.identity &&
          (status === 'ALL' || record.status === status) &&
          (record.request.statementName ?? '').startsWith(prefix) &&
          isAt(body, record.target),
      )
    const { items, token } = page(body, matching.reverse())
    return compact({ Statements: items.map(listAnswer), NextToken: token })
  }

  const listSessions: Handler = async (body, caller) => {
    await sessions.expire()
    const status = oneOf(body, 'Status', ['AVAILABLE', 'BUSY', 'CLOSED'])
    const id = optionalString(body, 'SessionId')
    const matching = sessions
      .all()
      .filter(
        (session) =>
          session.identity === caller.identity &&
          (id === undefined
            ? status === undefined
              ? session.status !== 'CLOSED'
              : session.status === status
            : session.id === id) &&
          isAt(body, session.target),
      )
    if (id !== undefined && matching.length === 0)
      throw notFound('Session does not exist.', `session-id:${id}`)
    const { items, token } = page(body, matching)
    return compact({ Sessions: items.map(sessionAnswer), NextToken: token })
  }

  return {
    handlers: {
      ExecuteStatement: (body, caller) => execute(body, caller, false),
      BatchExecuteStatement: (body, caller) => execute(body, caller, true),
      DescribeStatement: describe,
      GetStatementResult: result,
      CancelStatement: cancel,
      ListStatements: listStatements,
      ListSessions: listSessions,
    },
    settle: async (answer) => {
      const id = 'Id' in answer ? answer.Id : undefined
      await store.all().find((record) => record.id === id)?.done
    },
  }
}

const isAt = (body: Body, target: Target) =>
  [
    [body.ClusterIdentifier, target.clusterIdentifier],
    [body.WorkgroupName, target.workgroupName],
    [body.Database, target.database],
  ].every(([asked, actual]) => asked === undefined || asked === actual)

function sessionAnswer(session: ApiSession) {
  return compact({
    SessionId: session.id,
    Status: session.status,
    CreatedAt: seconds(session.createdAt),
    UpdatedAt: seconds(session.updatedAt),
    Database: session.target.database,
    DbUser: session.user,
    ClusterIdentifier: session.target.clusterIdentifier,
    WorkgroupName: session.target.workgroupName,
    SessionAliveSeconds: session.keepAliveSeconds,
    SessionTtl: seconds(session.expiresAt),
    CurrentStatementId: session.currentStatement,
  })
}

/** Every parameter is used and every used one is there. */
function checkParameters({ sqls, parameters }: ExecuteRequest) {
  const used = new Set<string>()
  for (const sql of sqls) {
    try {
      for (const token of tokenize(sql)) if (token.kind === 'param') used.add(token.value)
    } catch {
      // What cannot be read fails when it runs.
      return
    }
  }
  const unused = parameters.filter(({ name }) => !used.has(name)).map(({ name }) => name)
  if (unused.length > 0) {
    throw validation(`Parameters list contains unused parameters. Unused parameters: [${unused.join(', ')}]`)
  }
  const given = new Set(parameters.map(({ name }) => name))
  const missing = [...used].filter((name) => !given.has(name))
  if (missing.length > 0 && parameters.length > 0) {
    throw validation(
      `Undefined parameters in SQL statement. Undefined parameters list: [${missing.join(', ')}]`,
    )
  }
}

const makeToken = (offset: number, scope: string) => Buffer.from(`${scope} ${offset}`).toString('base64url')

function readToken(token: string | undefined, scope: string): number {
  if (token === undefined) return 0
  const [found, offset] = Buffer.from(token, 'base64url').toString().split(' ')
  if (found !== scope || !/^\d+$/.test(offset ?? '')) throw validation('NextToken is invalid')
  return Number(offset)
}
