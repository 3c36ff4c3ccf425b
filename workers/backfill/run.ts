import { createBackoff } from '../../lib/backoff.ts'
import { type ErrorCode, MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { LedgerBackfill } from '../destination/ledger.ts'
import type { WorkerContext } from '../runtime/context.ts'
import { tableBackfillResource } from '../runtime/resources.ts'
import { createStatusWriter } from '../runtime/status.ts'
import type { Job } from './context.ts'
import { judgeAttempt } from './decisions.ts'
import { createGarbage } from './garbage.ts'
import { bringToEnd } from './job.ts'
import { createMetrics } from './metrics.ts'
import { watchOwn } from './own-watch.ts'
import { createReport, type Report } from './report.ts'

export const FIELD_MANAGER = 'millrace-backfill'

/** How long the last status may take to be written before the process ends all the same. */
const FAREWELL_MILLISECONDS = 10_000

type Input = Pick<WorkerContext, 'env' | 'log' | 'kube' | 'metrics' | 'stop' | 'secrets' | 'health'>

/**
 * The whole process of one TableBackfill. Resolves when everything is copied and the release is written, and only then: a
 * Job that completes counts as copied. Rejects when the process gives up, is asked to stop, or finds the backfill ended
 * (cancelled, deleted, closed in the ledger); the next one goes on from the ledger.
 */
export async function runBackfill(context: Input): Promise<void> {
  const { env, log, kube, stop } = context
  const { backfill: name, backfillUid: uid } = env
  if (name === undefined || uid === undefined) {
    throw new MillraceError(
      'Internal',
      'environment: MILLRACE_BACKFILL and MILLRACE_BACKFILL_UID must be set',
    )
  }
  const metrics = createMetrics(context.metrics)
  const resource = tableBackfillResource(env.namespace)
  const writer = createStatusWriter({ kube, resource, name, uid, fieldManager: FIELD_MANAGER, log })
  const report = createReport(writer, metrics.stage)
  const scope = new AbortController()
  const own = watchOwn({ kube, namespace: env.namespace, name, uid, signal: scope.signal })
  const signal = AbortSignal.any([stop, own.ended])
  let progressed = performance.now()
  const job: Job = {
    uid,
    name,
    log,
    report,
    metrics,
    own,
    garbage: createGarbage(),
    progressed() {
      progressed = performance.now()
    },
  }
  let closed: MillraceError | undefined
  const isOver = (error: MillraceError) => error === closed || error.code === 'Cancelled'
  context.health.setReady(true)
  try {
    const row = await Promise.race([persist(job, context, signal, () => progressed), own.done])
    if (row === 'verified') return
    if (row.state === 'closed') {
      closed = closedError(row)
      throw closed
    }
    report.stage('Done')
    log.info({ state: row.state, rows: Number(row.rows), bytes: Number(row.bytes) }, 'Copied')
  } catch (thrown) {
    if (stop.aborted) throw thrown
    const error = own.ended.aborted ? toMillraceError(own.ended.reason) : toMillraceError(thrown)
    report.failed(error)
    // What ended the backfill is no fault of this attempt, whatever its code says: apply and the operator know better.
    throw isOver(error) ? new MillraceError('NotHeld', error.message, { cause: error }) : error
  } finally {
    if (!stop.aborted) await farewell(report)
    writer.close()
    scope.abort()
  }
}

/** Tries until the end is reached or trying makes no sense. */
async function persist(
  job: Job,
  context: Input,
  signal: AbortSignal,
  progressed: () => number,
): Promise<LedgerBackfill | 'verified'> {
  const { report, metrics, log } = job
  const backoff = createBackoff(1_000, 30_000)
  let fenced: MillraceError | undefined
  for (let before = progressed(); ; ) {
    try {
      return await bringToEnd(job, context, fenced, signal)
    } catch (thrown) {
      signal.throwIfAborted()
      const error = toMillraceError(thrown)
      const verdict = judgeAttempt(error, performance.now() - progressed())
      metrics.attemptFailed(error.code)
      log.warn({ code: error.code, reason: error.message, verdict }, 'The backfill failed')
      if (verdict === 'give up') throw error
      if (verdict === 'ask') fenced = error
      report.trouble(error)
      if (progressed() !== before) backoff.reset()
      before = progressed()
      await sleep(backoff.next(), signal)
    }
  }
}

function closedError(row: LedgerBackfill): MillraceError {
  const message = row.closeMessage || 'the backfill was ended before its copy was complete'
  return new MillraceError((row.closeCode || 'Cancelled') as ErrorCode, message, { retryable: false })
}

async function farewell(report: Report): Promise<void> {
  await report.flush(AbortSignal.timeout(FAREWELL_MILLISECONDS)).catch(() => {})
}
