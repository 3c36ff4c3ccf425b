import { PIPELINES } from '../../crds/api.ts'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { OperatorContext } from '../context.ts'
import { within } from '../kube/resources.ts'

/** Keeps a Pipeline until its slot is dropped. */
const FINALIZER = 'millrace.dev/cleanup'

export function hasFinalizer(pipeline: Pipeline): boolean {
  return pipeline.metadata.finalizers?.includes(FINALIZER) ?? false
}

export async function addFinalizer(context: OperatorContext, pipeline: Pipeline, signal: AbortSignal) {
  return await setFinalizers(context, pipeline, [...(pipeline.metadata.finalizers ?? []), FINALIZER], signal)
}

export async function removeFinalizer(context: OperatorContext, pipeline: Pipeline, signal: AbortSignal) {
  const others = (pipeline.metadata.finalizers ?? []).filter((finalizer) => finalizer !== FINALIZER)
  await setFinalizers(context, pipeline, others, signal)
}

/** With the version, since a merge patch replaces the whole list: a conflict when somebody else changed it. */
async function setFinalizers(
  { kube, stores }: OperatorContext,
  pipeline: Pipeline,
  finalizers: readonly string[],
  signal: AbortSignal,
): Promise<Pipeline> {
  const { namespace, name, resourceVersion, uid } = pipeline.metadata
  const patch = { metadata: { uid, resourceVersion, finalizers } }
  const patched = await kube.patch<Pipeline>(within(PIPELINES, namespace), name, patch, signal)
  if (patched) stores.pipelines.observe(patched)
  return patched ?? pipeline
}
