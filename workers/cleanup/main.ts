import type { Pipeline } from '../../crds/pipeline.ts'
import { MillraceError } from '../../lib/errors.ts'
import { retry } from '../runtime/backoff.ts'
import { pipelineResource } from '../runtime/resources.ts'
import { runWorker } from '../runtime/run.ts'
import { dropSlotAndPublication } from '../source/cleanup.ts'
import { withConnection } from '../source/connect.ts'
import { publicationName, slotName } from '../source/names.ts'
import { sourceTarget } from '../source/targets.ts'

/** How often the source is asked before the pod gives up and leaves it to the Job to make another. */
const ATTEMPTS = 20

/** The cleanup process: drops slot and publication of a Pipeline that is being deleted. */
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
  await retry(
    () =>
      withConnection(
        sourceTarget(spec, secrets, 'cleanup'),
        { purpose: 'query', signal: stop },
        (connection) => dropSlotAndPublication(connection, names, stop),
      ),
    {
      signal: stop,
      attempts: ATTEMPTS,
      onRetry: (error, delay) =>
        log.warn({ code: error.code, message: error.message, delay }, 'Not dropped yet'),
    },
  )
  log.info(names, 'Dropped slot and publication')
})
