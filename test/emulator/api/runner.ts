import { setTimeout as sleep } from 'node:timers/promises'
import { type CopyService, runCopy } from '../copy/load.ts'
import type { Engine } from '../engine/engine.ts'
import { BackendLost } from '../engine/errors.ts'
import { runStatement } from '../engine/execute.ts'
import type { QueryRecord } from '../engine/history.ts'
import type { Session } from '../engine/session.ts'
import type { Outcome, StatementContext } from '../engine/statement.ts'
import { serializationError } from '../engine/tracker.ts'
import type { Faults } from '../faults.ts'
import type { Clock, Limits } from '../options.ts'
import { errorText, RedshiftError, UnknownToEmulator } from '../sql/errors.ts'
import { parseStatement } from '../sql/parse.ts'
import type { ApiSession, Sessions } from './sessions.ts'
import type { StatementRecord, SubStatement } from './store.ts'

export interface Runner {
  /** Runs a statement when there is a free slot. Never rejects. */
  submit(record: StatementRecord, session: ApiSession | undefined): void
  /** Asks a statement to end. */
  cancel(record: StatementRecord): Promise<void>
}

export interface RunnerOptions {
  /** The engine of a database; rejects when there is no such database. */
  readonly engineOf: (database: string) => Promise<Engine>
  readonly copy: CopyService
  readonly faults: Faults
  readonly limits: Limits
  readonly clock: Clock
  readonly sessions: Sessions
  /** Statements that run at a time; the others wait. */
  readonly slots: number
}

/** Where a statement runs. */
interface Place {
  readonly engine: Engine
  readonly session: Session
}

/** The statement was stopped by somebody, not by itself. */
class Aborted extends Error {}

export function createRunner(options: RunnerOptions): Runner {
  const { faults, sessions, clock } = options
  const queue: (() => void)[] = []
  /** What is running now, by statement. */
  const runs = new Map<
    string,
    { pid: number; engine: Engine; over: AbortController; signalling: Promise<void> | undefined }
  >()
  let free = options.slots

  const slot = async () => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => queue.push(resolve))
  }
  const release = () => {
    const next = queue.shift()
    if (next) next()
    else free++
  }

  const runOne = async (record: StatementRecord, sub: SubStatement, at: Place): Promise<Outcome> => {
    const { engine, session } = at
    record.abort.signal.throwIfAborted()
    sub.status = 'STARTED'
    sub.startedAt = clock.now()
    sub.queryId = engine.nextQueryId()
    const history: QueryRecord = {
      queryId: sub.queryId,
      uuid: record.id,
      pid: session.backend.pid,
      user: record.user,
      database: record.target.database,
      text: sub.sql,
      start: new Date(),
      end: undefined,
      status: 'running',
      rows: 0,
      error: '',
    }
    engine.history.query(history)
    try {
      const outcome = await attempt(record, sub, at)
      sub.status = 'FINISHED'
      sub.rows = outcome.rowCount
      sub.result = outcome.result
      Object.assign(history, { status: 'success', rows: Math.max(outcome.rowCount, 0) })
      await session.remember('last_query_id', sub.queryId).catch(() => {})
      return outcome
    } catch (error) {
      const stopped = error instanceof Aborted || record.abort.signal.aborted
      sub.status = stopped ? 'ABORTED' : 'FAILED'
      sub.error = messageOf(error)
      Object.assign(history, { status: stopped ? 'canceled' : 'failed', error: sub.error })
      throw error
    } finally {
      sub.endedAt = clock.now()
      history.end = new Date()
    }
  }

  const attempt = async (record: StatementRecord, sub: SubStatement, at: Place): Promise<Outcome> => {
    const { engine, session } = at
    const { signal } = record.abort
    const slow = faults.next(['slow'], sub.sql)
    if (slow) await sleep(slow.ms, undefined, { signal })
    const instead = faults.next(['serialization-error', 'fail'], sub.sql)
    const { statement, parameters } = parseStatement(sub.sql, session.settings)
    if (record.request.batch && ['begin', 'commit', 'rollback'].includes(statement.kind)) {
      throw new UnknownToEmulator('BEGIN, COMMIT and ROLLBACK in a batch')
    }
    const values = new Map(record.request.parameters.map(({ name, value }) => [name, value]))
    for (const name of parameters) {
      if (!values.has(name)) throw new RedshiftError('42601', `syntax error at or near ":"`)
    }
    const ctx: StatementContext = {
      session,
      parameters: values,
      history: engine.history,
      limits: options.limits,
      queryId: sub.queryId,
      signal,
      copy: (copy, context) => runCopy(copy, context, options.copy),
      cancel: (pid) => engine.backends.signal(pid, 'cancel'),
      afterwards: async () => {
        const fault = instead ?? faults.next(['abort', 'disconnect'], sub.sql)
        if (!fault) return
        if (fault.kind === 'serialization-error')
          throw serializationError(
            'Serializable isolation violation on table - 0, transactions forming the cycle are: 0, 0 (made by the emulator)',
          )
        if (fault.kind === 'fail') throw new RedshiftError('XX000', fault.message)
        if (fault.kind === 'abort') throw new Aborted('Query was aborted (by the emulator)')
        await engine.backends.signal(session.backend.pid, 'terminate')
        throw new BackendLost(new Error('cut by the emulator'))
      },
    }
    return runStatement(statement, ctx)
  }

  const runBatch = async (record: StatementRecord, at: Place) => {
    const { session } = at
    if (session.transaction()) throw new UnknownToEmulator('a batch in a session with an open transaction')
    await session.begin(true)
    for (const [index, sub] of record.subs.entries()) {
      try {
        await runOne(record, sub, at)
      } catch (error) {
        for (const rest of record.subs.slice(index + 1)) rest.status = 'ABORTED'
        await session.rollback().catch(() => {})
        throw new BatchError(index, error)
      }
    }
    await session.commit()
  }

  const runEach = async (record: StatementRecord, at: Place) => {
    let first: BatchError | undefined
    for (const [index, sub] of record.subs.entries()) {
      try {
        await runOne(record, sub, at)
      } catch (error) {
        first ??= new BatchError(index, error)
      }
    }
    if (first) throw first
  }

  const run = async (record: StatementRecord, at: Place) => {
    const { batch, mode } = record.request
    if (!batch) await runOne(record, record.subs[0] as SubStatement, at)
    else if (mode === 'TRANSACTION') await runBatch(record, at)
    else await runEach(record, at)
  }

  const conclude = (record: StatementRecord, error: unknown) => {
    if (error === undefined) return record.finish('FINISHED')
    const cause = error instanceof BatchError ? error.cause : error
    const stopped = cause instanceof Aborted || record.abort.signal.aborted
    for (const sub of record.subs) if (sub.status === 'SUBMITTED') sub.status = 'ABORTED'
    const text =
      error instanceof BatchError
        ? `Query #${error.index + 1} failed with ${messageOf(cause)}`
        : messageOf(error)
    return record.finish(stopped ? 'ABORTED' : 'FAILED', text)
  }

  const execute = async (record: StatementRecord, apiSession: ApiSession | undefined) => {
    let at: Place | undefined
    let failure: unknown
    const over = new AbortController()
    try {
      await slot()
      record.touch('PICKED')
      try {
        record.abort.signal.throwIfAborted()
        const engine = await options.engineOf(record.target.database)
        const session = apiSession?.connection ?? (await engine.openSession(record.user))
        at = { engine, session }
        if (apiSession) apiSession.connection = session
        record.pid = session.backend.pid
        runs.set(record.id, { pid: record.pid, engine, over, signalling: undefined })
        record.touch('STARTED')
        await run(record, at)
      } finally {
        release()
      }
    } catch (error) {
      failure = error
    }
    over.abort()
    const { signalling } = runs.get(record.id) ?? {}
    runs.delete(record.id)
    // A signal that is still under way must not hit whoever gets the connection next.
    await signalling
    if (apiSession) await leaveSession(apiSession, at?.session)
    else if (at) await at.engine.closeSession(at.session).catch(() => {})
    conclude(record, failure)
  }

  const leaveSession = async (apiSession: ApiSession, session: Session | undefined) => {
    if (!session || session.backend.lost() || apiSession.keepAliveSeconds === 0)
      await sessions.close(apiSession)
    sessions.vacate(apiSession)
  }

  return {
    submit: (record, session) => void execute(record, session),
    cancel: async (record) => {
      record.abort.abort(new Aborted('Query cancelled on user request'))
      const current = runs.get(record.id)
      if (!current || current.signalling) return
      // Between two of its queries a statement does not notice, so it is told until it has ended.
      const signal = async () => {
        while (!current.over.signal.aborted) {
          await current.engine.backends.signal(current.pid, 'cancel').catch(() => {})
          await sleep(50, undefined, { signal: current.over.signal }).catch(() => {})
        }
      }
      current.signalling = signal()
    },
  }
}

class BatchError extends Error {
  readonly index: number

  constructor(index: number, cause: unknown) {
    super('a statement of a batch failed', { cause })
    this.index = index
  }
}

function messageOf(error: unknown): string {
  if (error instanceof RedshiftError) return errorText(error)
  if (error instanceof BackendLost) return `ERROR: ${error.message}`
  return error instanceof Error ? `ERROR: ${error.message}` : String(error)
}
