import { createHash, randomUUID } from 'node:crypto'
import type {
  DescribeStatementCommandOutput,
  ExecuteStatementCommandInput,
  Field,
} from '@aws-sdk/client-redshift-data'
import type { RedshiftDestination } from '../../../crds/redshift.ts'
import { createBackoff } from '../../../lib/backoff.ts'
import { MillraceError } from '../../../lib/errors.ts'
import { sleep } from '../../../lib/sleep.ts'
import type { DataApiCalls } from './aws.ts'
import { isUnreachable, judgeCall, refusal, StatementFailure } from './failures.ts'
import { createLimit } from './limit.ts'
import { createRate, type Rate } from './rate.ts'

/** The Data API's limits. 100 KB is taken as the smaller of its two meanings. */
export const MAX_STATEMENT_BYTES = 100_000
export const MAX_BATCH = 40
const MAX_WAIT_SECONDS = 30
/** Only once it was answered can a statement be cancelled, and whoever asks does not wait for ever. */
const QUERY_WAIT_SECONDS = 10

/** A row of a result: every value as text, or null. */
export type TextRow = Readonly<Record<string, string | null>>

export interface ExecuteRequest {
  /** One alone is committed by itself, several are one transaction. */
  readonly statements: readonly string[]
  /**
   * What makes this the same request when it is made again, by this process or another one: the Data API then answers with
   * the statement that it has already (for 8 hours).
   */
  readonly token: string
  /** For people who look at the list of statements. */
  readonly name: string
  /** How long the first answer may take, seconds. */
  readonly waitSeconds?: number
}

/** Statements of Redshift through its Data API. */
export interface DataApi {
  /**
   * Runs to the end. Throws `StatementFailure` when Redshift refuses, having rolled everything back; `OutcomeUnknown` when
   * nobody can say any more what became of it; MillraceErrors when it was never begun; the signal's reason once that aborts,
   * after asking Redshift to stop.
   */
  execute(request: ExecuteRequest, signal: AbortSignal): Promise<void>
  /** Runs one query and fetches its rows. */
  query(sql: string, name: string, signal: AbortSignal): Promise<TextRow[]>
  /** Idempotent. */
  close(): Promise<void>
}

/** Something was submitted, and the Data API does not know it any more. The ledger knows what is in the destination. */
export class OutcomeUnknown extends Error {}

export interface DataApiOptions {
  readonly destination: Pick<
    RedshiftDestination,
    'clusterIdentifier' | 'workgroupName' | 'database' | 'dbUser' | 'secretArn'
  >
  open(): Promise<DataApiCalls>
  /** Statements at work at the same time. */
  readonly concurrency: number
  /** Told of each call, for metrics and tests. */
  readonly onCall?: (operation: Operation, verdict: 'ok' | ReturnType<typeof judgeCall>) => void
}

type Operation = 'execute' | 'batch' | 'describe' | 'result' | 'cancel'

/** Two thirds of the account's documented rates: others use them too. */
const RATES: Readonly<Record<Operation, number>> = {
  execute: 20,
  batch: 13,
  describe: 66,
  result: 13,
  cancel: 2,
}

const LOST_ATTEMPTS = 8
/** Fewer: a wrong address is to be told soon, and whoever called tries again anyway. */
const UNREACHABLE_ATTEMPTS = 3
/** How long a statement may go without a single answer about it. */
const SILENCE_MILLISECONDS = 30 * 60 * 1000
/** How long calls may be refused because of others before that is told. */
const SLOWED_MILLISECONDS = 60_000
const CANCEL_MILLISECONDS = 5_000
/** An answer about a statement that is this much older than the request is one about an earlier request. */
const OLD_MILLISECONDS = 10_000
const REMEMBERED_FAILURES = 1_000

type Described = Partial<
  Pick<
    DescribeStatementCommandOutput,
    'Id' | 'Status' | 'Error' | 'CreatedAt' | 'SubStatements' | 'RedshiftQueryId'
  >
>

export function createDataApi(options: DataApiOptions): DataApi {
  const { destination, onCall } = options
  const limit = createLimit(options.concurrency)
  const rates = Object.fromEntries(
    Object.entries(RATES).map(([operation, rate]) => [operation, createRate(rate)]),
  ) as Record<Operation, Rate>
  /** How often a token was answered with a failure. The Data API would give the same answer again. */
  const failures = new Map<string, number>()
  let opened: Promise<DataApiCalls> | undefined

  const target: Omit<ExecuteStatementCommandInput, 'Sql'> = {
    Database: destination.database,
    ...(destination.clusterIdentifier !== undefined && { ClusterIdentifier: destination.clusterIdentifier }),
    ...(destination.workgroupName !== undefined && { WorkgroupName: destination.workgroupName }),
    ...(destination.dbUser !== undefined && { DbUser: destination.dbUser }),
    ...(destination.secretArn !== undefined && { SecretArn: destination.secretArn }),
  }

  function calls(): Promise<DataApiCalls> {
    opened ??= options.open().catch((error) => {
      opened = undefined
      throw error
    })
    return opened
  }

  /** Makes a call until it is answered, or refused; throws what it was refused with, too, when that goes on for a minute. */
  async function call<T>(
    operation: Operation,
    make: (calls: DataApiCalls) => Promise<T>,
    signal: AbortSignal,
    lostAttempts: number,
  ): Promise<T> {
    const api = await calls()
    const backoff = createBackoff(200, 20_000)
    let slowedSince: number | undefined
    for (let lost = 0; ; ) {
      await rates[operation].take(signal)
      try {
        const answer = await make(api)
        onCall?.(operation, 'ok')
        return answer
      } catch (error) {
        if (signal.aborted) throw signal.reason
        const verdict = judgeCall(error)
        onCall?.(operation, verdict)
        if (verdict === 'throttled') rates[operation].throttled()
        if (verdict === 'throttled' || verdict === 'busy') {
          slowedSince ??= performance.now()
          // Nothing was begun: whoever asked says what it waits for, and tries again.
          if (performance.now() - slowedSince > SLOWED_MILLISECONDS) throw error
        } else if (verdict === 'lost') {
          lost += 1
          const most = isUnreachable(error) ? Math.min(UNREACHABLE_ATTEMPTS, lostAttempts) : lostAttempts
          if (lost >= most) throw error
        } else throw error
        await sleep(backoff.next(), signal)
      }
    }
  }

  async function submit(
    { statements, name, waitSeconds = MAX_WAIT_SECONDS }: ExecuteRequest,
    ClientToken: string,
    signal: AbortSignal,
  ): Promise<Described> {
    const common = {
      ...target,
      StatementName: name.slice(0, 500),
      ClientToken,
      WaitTimeSeconds: waitSeconds,
    }
    const [only] = statements
    try {
      return statements.length === 1 && only !== undefined
        ? await call('execute', (api) => api.execute({ ...common, Sql: only }, signal), signal, LOST_ATTEMPTS)
        : await call(
            'batch',
            (api) => api.batch({ ...common, Sqls: [...statements] }, signal),
            signal,
            LOST_ATTEMPTS,
          )
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw refusal(error, 'the Data API')
    }
  }

  /** Polls until the statement has ended. An answer that is lost says nothing about it. */
  async function follow(started: Described, signal: AbortSignal): Promise<Described> {
    const Id = started.Id ?? ''
    const backoff = createBackoff(200, 10_000)
    let heard = performance.now()
    let wait = MAX_WAIT_SECONDS
    let state = started
    let described = false
    try {
      // A batch that failed says which statement did only when it is asked for; one that was cancelled may never say why.
      while (!ended(state) || (state.Status !== 'FINISHED' && state.Error === undefined && !described)) {
        try {
          state = await call(
            'describe',
            (api) => api.describe({ Id, ...(wait > 0 && { WaitTimeSeconds: wait }) }, signal),
            signal,
            1,
          )
          described = true
          heard = performance.now()
          backoff.reset()
          if (wait === 0 && !ended(state)) await sleep(1_000, signal)
          wait = MAX_WAIT_SECONDS
        } catch (error) {
          if (signal.aborted) throw signal.reason
          const verdict = judgeCall(error)
          if (verdict === 'gone' || performance.now() - heard > SILENCE_MILLISECONDS) {
            throw new OutcomeUnknown(`statement ${Id}: ${error instanceof Error ? error.message : error}`)
          }
          if (verdict === 'waiting') wait = 0
          await sleep(backoff.next(), signal)
        }
      }
    } catch (error) {
      if (signal.aborted) await cancel(Id)
      throw error
    }
    return state
  }

  async function cancel(Id: string): Promise<void> {
    const signal = AbortSignal.timeout(CANCEL_MILLISECONDS)
    // It may have ended, or refuse: the ledger tells who comes next.
    await call('cancel', (api) => api.cancel({ Id }, signal), signal, 2).catch(() => {})
  }

  async function run(request: ExecuteRequest, signal: AbortSignal): Promise<Described> {
    checkLimits(request)
    for (let again = false; ; again = true) {
      const failed = failures.get(request.token) ?? 0
      const begun = Date.now()
      const started = await submit(request, clientToken(request.token, failed), signal)
      const state = await follow(started, signal)
      if (state.Status === 'FINISHED') return state
      rememberFailure(request.token, failed + 1)
      // Some earlier request was answered, whose cause may be mended since.
      const made = state.CreatedAt?.getTime()
      if (!again && made !== undefined && made < begun - OLD_MILLISECONDS) continue
      throw failureOf(state)
    }
  }

  function rememberFailure(token: string, count: number): void {
    failures.delete(token)
    failures.set(token, count)
    if (failures.size <= REMEMBERED_FAILURES) return
    for (const oldest of failures.keys()) {
      failures.delete(oldest)
      break
    }
  }

  async function fetch(Id: string, signal: AbortSignal): Promise<TextRow[]> {
    const rows: TextRow[] = []
    let NextToken: string | undefined
    do {
      const page = await call(
        'result',
        (api) => api.result({ Id, ...(NextToken !== undefined && { NextToken }) }, signal),
        signal,
        LOST_ATTEMPTS,
      ).catch((error) => {
        throw signal.aborted ? signal.reason : refusal(error, 'the Data API')
      })
      const names = page.ColumnMetadata?.map((column) => column.label ?? column.name ?? '') ?? []
      for (const record of page.Records ?? []) {
        rows.push(Object.fromEntries(names.map((name, index) => [name, fieldText(record[index])])))
      }
      NextToken = page.NextToken
    } while (NextToken !== undefined)
    return rows
  }

  return {
    execute: (request, signal) =>
      limit(signal, async () => {
        await run(request, signal)
      }),
    query: (sql, name, signal) =>
      limit(signal, async () => {
        // A query is asked to learn what is true now: never the answer to an earlier one.
        const request = { statements: [sql], token: randomUUID(), name, waitSeconds: QUERY_WAIT_SECONDS }
        const state = await run(request, signal)
        return fetch(state.Id ?? '', signal)
      }),
    async close() {
      const api = await opened?.catch(() => undefined)
      opened = undefined
      api?.close()
    },
  }
}

/** A token that is the same for the same facts, and another one for others. */
export function derivedToken(...facts: readonly (string | number | bigint)[]): string {
  return createHash('sha256')
    .update(JSON.stringify(facts.map(String)))
    .digest('base64url')
}

function clientToken(token: string, failed: number): string {
  return failed === 0 ? token : derivedToken(token, failed)
}

function checkLimits({ statements, name }: ExecuteRequest): void {
  if (statements.length > MAX_BATCH) {
    throw new MillraceError(
      'Internal',
      `${name}: ${statements.length} statements in one batch, ${MAX_BATCH} at most`,
    )
  }
  for (const sql of statements) {
    const bytes = Buffer.byteLength(sql)
    if (bytes <= MAX_STATEMENT_BYTES) continue
    throw new MillraceError(
      'SchemaChangeUnsupported',
      `${name}: a statement of ${bytes} bytes, of which the Data API takes ${MAX_STATEMENT_BYTES}: the table has too many columns with long names; list some in columns.exclude`,
      { field: 'spec.tables[].columns' },
    )
  }
}

function ended({ Status }: Described): boolean {
  return Status === 'FINISHED' || Status === 'FAILED' || Status === 'ABORTED'
}

function failureOf(state: Described): StatementFailure {
  const subs = state.SubStatements ?? []
  const place = subs.findIndex((sub) => sub.Status === 'FAILED' || sub.Status === 'ABORTED')
  const sub = subs[place]
  const queryId = sub?.RedshiftQueryId ?? state.RedshiftQueryId
  return new StatementFailure(sub?.Error ?? state.Error ?? `it ended as ${state.Status}`, {
    status: state.Status === 'ABORTED' ? 'ABORTED' : 'FAILED',
    ...(subs.length === 0 ? { index: 0 } : place >= 0 ? { index: place } : {}),
    ...(queryId !== undefined && queryId > 0 && { queryId: String(queryId) }),
  })
}

function fieldText(field: Field | undefined): string | null {
  if (!field || field.isNull) return null
  const { stringValue, longValue, doubleValue, booleanValue } = field
  const value = stringValue ?? longValue ?? doubleValue ?? booleanValue
  return value === undefined ? null : String(value)
}
