import type { Pipeline, PipelineSpec } from '../../crds/pipeline.ts'
import { aborted } from '../../lib/aborted.ts'
import { createBackoff } from '../../lib/backoff.ts'
import { type MillraceError, toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import type { WorkerContext } from '../runtime/context.ts'
import { type PipelineWatch, watchPipeline } from '../runtime/pipeline.ts'
import { createMetrics } from './metrics.ts'
import { runSession } from './session.ts'
import type { TableState } from './state.ts'
import { createStatusKeeper } from './status.ts'

export type ApplyInput = Pick<
  WorkerContext,
  'env' | 'log' | 'kube' | 'metrics' | 'stop' | 'secrets' | 'health'
>

const RETRY_MIN = 500
const RETRY_MAX = 15_000
/** A session that lasted this long was a success, milliseconds. */
const HEALTHY = 60_000
const FAREWELL = 5_000

/** The whole process: applies as long as the Pipeline is there. Resolves when asked to stop. */
export async function runApply(context: ApplyInput): Promise<void> {
  const { env, kube, log, stop } = context
  const over = new AbortController()
  const watch = watchPipeline({ ...env, kube, signal: over.signal })
  watch.done.catch(() => {})
  const tables = new Map<string, TableState>()
  const problems = new Map<string, MillraceError>()
  let isOpened = false
  const status = createStatusKeeper({
    kube,
    env,
    log,
    states: () => tables.values(),
    before: () => (isOpened ? [] : (watch.pipeline()?.status?.apply?.tables ?? [])),
    backfills: watch.backfills,
    problems: () => [...problems.values()],
  })
  const unwatch = watch.onChange(() => status.changed(false))
  const metrics = createMetrics(context.metrics)
  try {
    await Promise.race([watch.ready, aborted(stop)])
    if (stop.aborted) return
    const onOpened = () => {
      isOpened = true
    }
    const session = { ...context, watch, status, tables, problems, metrics, onOpened }
    await Promise.race([watch.done, persist(session)])
    await status.close(AbortSignal.timeout(FAREWELL))
  } finally {
    unwatch()
    over.abort(new Error('apply is over'))
  }
}

export interface SessionContext extends Omit<ApplyInput, 'metrics'> {
  readonly watch: PipelineWatch
  readonly status: ReturnType<typeof createStatusKeeper>
  /** What is known of each table, by label; outlives a session so that it can be told while there is none. */
  readonly tables: Map<string, TableState>
  /** What is wrong apart from single tables, by what it is about. */
  readonly problems: Map<string, MillraceError>
  readonly metrics: ReturnType<typeof createMetrics>
  /** To be called once `tables` has all that the ledger has. */
  readonly onOpened: () => void
}

/** One session after the other: another one begins when the Pipeline names other servers. Resolves when asked to stop. */
async function persist(context: SessionContext): Promise<void> {
  const { watch, stop, log, status, problems } = context
  const backoff = createBackoff(RETRY_MIN, RETRY_MAX)
  while (!stop.aborted) {
    const version = watch.version()
    const pipeline = watch.pipeline()
    if (!pipeline) {
      await watch.changed(version, stop).catch(() => {})
      continue
    }
    const settled = settingsChange(watch, pipeline.spec)
    const started = performance.now()
    try {
      await runSession(context, pipeline, AbortSignal.any([stop, settled.signal]))
    } catch (thrown) {
      if (!stop.aborted && !settled.signal.aborted) {
        const error = toMillraceError(thrown)
        log.warn({ code: error.code, reason: error.message }, 'Apply broke off, trying again')
        problems.set('session', error)
        status.changed(true)
        if (performance.now() - started > HEALTHY) backoff.reset()
        await sleep(backoff.next(), AbortSignal.any([stop, settled.signal])).catch(() => {})
      }
    } finally {
      settled.close()
    }
  }
}

/** Aborts when the Pipeline names other servers, or other ways to them. Everything else may change at any time. */
function settingsChange(watch: PipelineWatch, spec: PipelineSpec): { signal: AbortSignal; close(): void } {
  const changed = new AbortController()
  const relevant = (pipeline: Pipeline | undefined) => {
    if (!pipeline) return before
    const { source, queue, destination, backfill } = pipeline.spec
    const { heartbeatSeconds: _, ...server } = source.postgres
    const { retentionSeconds: __, ...kafka } = queue.kafka
    return JSON.stringify([server, kafka, destination, backfill.readFrom])
  }
  let before = ''
  before = relevant({ spec } as Pipeline)
  const close = watch.onChange(() => {
    if (relevant(watch.pipeline()) !== before) changed.abort(new Error('the Pipeline has changed'))
  })
  return { signal: changed.signal, close }
}
