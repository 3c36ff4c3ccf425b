import type { Pipeline } from '../../crds/pipeline.ts'
import { MillraceError } from '../../lib/errors.ts'
import { toProblem } from '../runtime/problems.ts'
import { pipelineResource } from '../runtime/resources.ts'
import { retry } from '../runtime/retry.ts'
import { runWorker } from '../runtime/run.ts'
import { createStatusWriter } from '../runtime/status.ts'
import { dropSlotAndPublication } from '../source/cleanup.ts'
import { withConnection } from '../source/connect.ts'
import { publicationName, slotName } from '../source/names.ts'
import { ownerComment } from '../source/owner.ts'
import { sourceTarget } from '../source/targets.ts'

/** How often the source is asked before the pod gives up and leaves it to the Job to make another. */
const ATTEMPTS = 20

/** The cleanup process: drops slot and publication of a Pipeline that is being deleted, unless they are another one's. */
await runWorker('cleanup', async ({ env, kube, log, secrets, stop }) => {
  const pipeline = await kube.get<Pipeline>(pipelineResource(env.namespace), env.pipeline, stop)
  if (pipeline?.metadata.uid !== env.pipelineUid) {
    throw new MillraceError('PipelineNotFound', `Pipeline ${env.pipeline} is not there any more`)
  }
  const { spec } = pipeline
  const names = {
    publication: publicationName(spec, env.namespace, env.pipeline),
    slot: slotName(spec, env.namespace, env.pipeline),
  }
  const claimant = {
    owner: ownerComment(env.namespace, env.pipeline, env.pipelineUid),
    reportedSlot: pipeline.status?.capture?.slot,
  }
  const status = createStatusWriter({
    kube,
    resource: pipelineResource(env.namespace),
    name: env.pipeline,
    uid: env.pipelineUid,
    fieldManager: 'millrace-cleanup',
    log,
  })
  const left = await retry(
    () =>
      withConnection(
        sourceTarget(spec, secrets, 'cleanup'),
        { purpose: 'query', signal: stop },
        (connection) => dropSlotAndPublication(connection, names, claimant, stop),
      ),
    {
      signal: stop,
      attempts: ATTEMPTS,
      onRetry(error, delay) {
        log.warn({ code: error.code, reason: error.message, delay }, 'Not dropped yet')
        // The operator shows it while the Pipeline waits: nobody reads the log of a Job that is about to go.
        status.set({ capture: { problems: [toProblem(error, { component: 'Slot' })] } }, { urgent: true })
      },
    },
  )
  if (left === undefined) log.info(names, 'Dropped slot and publication')
  else {
    log.warn({ ...names, reason: left }, 'Slot and publication stay in the source')
    const error = new MillraceError(
      'ActionRefused',
      `slot ${names.slot} and publication ${names.publication} stay in the source: ${left}`,
    )
    // The operator says it in an event of the Pipeline, which is about to go.
    status.set({ capture: { problems: [toProblem(error, { component: 'Slot' })] } }, { urgent: true })
    await status.flush(stop)
  }
  status.close()
})
