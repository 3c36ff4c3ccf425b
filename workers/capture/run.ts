import type { Pipeline, PipelineSpec } from '../../crds/pipeline.ts'
import { aborted } from '../../lib/aborted.ts'
import { createBackoff } from '../../lib/backoff.ts'
import { toMillraceError } from '../../lib/errors.ts'
import { sleep } from '../../lib/sleep.ts'
import { createKafkaQueue } from '../queue/kafka.ts'
import { topicPrefix } from '../queue/topics.ts'
import type { WorkerContext } from '../runtime/context.ts'
import { type PipelineWatch, watchPipeline } from '../runtime/pipeline.ts'
import { pipelineResource } from '../runtime/resources.ts'
import { createStatusWriter } from '../runtime/status.ts'
import { publicationName, slotName } from '../source/names.ts'
import { ownerComment } from '../source/owner.ts'
import { sourceTarget } from '../source/targets.ts'
import { createMetrics } from './metrics.ts'
import { createReport, type Report } from './report.ts'
import { runSession } from './session.ts'
import { slotReason } from './stream-errors.ts'

export const FIELD_MANAGER = 'millrace-capture'

/** Waits between two attempts, milliseconds. */
const RETRY_MIN = 500
const RETRY_MAX = 10_000
/** A session that lasted this long was a success, milliseconds. */
const HEALTHY = 60_000
const FAREWELL = 5_000

type Input = Pick<WorkerContext, 'env' | 'log' | 'kube' | 'metrics' | 'stop' | 'secrets' | 'health'>

/** The whole process: captures as long as the Pipeline is there. Resolves when asked to stop. */
export async function runCapture(context: Input): Promise<void> {
  const { env, log, kube, stop } = context
  const over = new AbortController()
  const watch = watchPipeline({
    kube,
    namespace: env.namespace,
    pipeline: env.pipeline,
    pipelineUid: env.pipelineUid,
    signal: over.signal,
    backfills: false,
  })
  watch.done.catch(() => {})
  const writer = createStatusWriter({
    kube,
    resource: pipelineResource(env.namespace),
    name: env.pipeline,
    uid: env.pipelineUid,
    fieldManager: FIELD_MANAGER,
    log,
  })
  try {
    await Promise.race([watch.ready, aborted(stop)])
    if (stop.aborted) return
    const report = createReport(writer, watch.pipeline()?.status?.capture)
    await Promise.race([watch.done, persist(context, watch, report)])
    await writer.flush(AbortSignal.timeout(FAREWELL)).catch(() => {})
  } finally {
    writer.close()
    over.abort(new Error('capture is over'))
  }
}

/** One session after the other, whatever happens to them. Resolves when asked to stop. */
async function persist(context: Input, watch: PipelineWatch, report: Report): Promise<void> {
  const { env, log, kube, stop, secrets, health } = context
  const metrics = createMetrics(context.metrics)
  const backoff = createBackoff(RETRY_MIN, RETRY_MAX)
  let unusable: string | undefined
  let reader: number | undefined
  // By the prefix of the topics, which may become another one.
  let recordedUnder: string | undefined
  while (!stop.aborted) {
    const version = watch.version()
    const spec = watch.pipeline()?.spec
    if (!spec) {
      await watch.changed(version, stop).catch(() => {})
      continue
    }
    const settled = settingsChange(watch, spec)
    const queue = createKafkaQueue(spec.queue.kafka, secrets, log)
    const prefix = topicPrefix(spec, env.namespace, env.pipeline)
    const started = performance.now()
    try {
      await runSession(
        {
          target: sourceTarget(spec, secrets, 'capture'),
          queue,
          names: {
            publication: publicationName(spec, env.namespace, env.pipeline),
            slot: slotName(spec, env.namespace, env.pipeline),
          },
          owner: ownerComment(env.namespace, env.pipeline, env.pipelineUid),
          prefix,
          log,
          metrics,
          report,
          spec: () => watch.pipeline()?.spec ?? spec,
          async freshSpec(signal) {
            const fresh = await kube.get<Pipeline>(pipelineResource(env.namespace), env.pipeline, signal)
            return fresh?.metadata.uid === env.pipelineUid ? fresh.spec : undefined
          },
          specVersion: () => generation(watch),
          specChanged: (since, signal) => generationChange(watch, since, signal),
          unusable,
          hasRecorded: recordedUnder === prefix,
          onRecorded() {
            recordedUnder = prefix
          },
          formerReader: reader,
          onReader(processId) {
            reader = processId
          },
          stop,
          onStreaming() {
            unusable = undefined
            health.setReady(true)
          },
        },
        settled.signal,
      )
    } catch (thrown) {
      if (!settled.signal.aborted) {
        const error = toMillraceError(thrown)
        metrics.failed(error.code)
        log.warn({ code: error.code, reason: error.message }, 'Capture broke off, trying again')
        report.trouble('session', error)
        unusable = slotReason(thrown) ?? unusable
        if (performance.now() - started > HEALTHY) backoff.reset()
        const until = AbortSignal.any([stop, settled.signal])
        // What another Pipeline writes does not get better by trying again, but worse.
        if (error.code === 'QueueConflict' && !error.retryable) await aborted(until)
        else await sleep(backoff.next(), until).catch(() => {})
      }
    } finally {
      settled.close()
      await queue.close()
    }
  }
}

// Every status that anybody writes is a change of the object too.
function generation(watch: PipelineWatch): number {
  return watch.pipeline()?.metadata.generation ?? 0
}

async function generationChange(watch: PipelineWatch, since: number, signal: AbortSignal): Promise<void> {
  for (let version = watch.version(); generation(watch) === since; ) {
    version = await watch.changed(version, signal)
  }
}

/** Aborts when the Pipeline says something else about source or queue, or is gone. Tables may change at any time. */
function settingsChange(watch: PipelineWatch, spec: PipelineSpec): { signal: AbortSignal; close(): void } {
  const changed = new AbortController()
  const relevant = (one: PipelineSpec | undefined) => {
    if (!one) return undefined
    const { heartbeatSeconds: _, replicas: __, ...source } = one.source.postgres
    return JSON.stringify([source, one.queue])
  }
  const before = relevant(spec)
  const close = watch.onChange(() => {
    if (relevant(watch.pipeline()?.spec) !== before) changed.abort(new Error('the Pipeline has changed'))
  })
  return { signal: changed.signal, close }
}
