import type { Pipeline } from '../crds/pipeline.ts'

export type Process = 'capture' | 'apply' | 'backfill' | 'cleanup'

export const MANAGED_BY = 'app.kubernetes.io/managed-by'
export const MANAGER = 'millrace'
/** Everything of one Pipeline; by uid, so that one of the same name later is told apart. */
export const PIPELINE_UID = 'millrace.dev/pipeline-uid'
export const PIPELINE_NAME = 'millrace.dev/pipeline'
export const BACKFILL_UID = 'millrace.dev/backfill-uid'
/** On TableBackfills that the operator made when a table joined. */
export const INITIAL = 'millrace.dev/initial'
/** On those that it made to mend a table after a gap. */
export const GAP = 'millrace.dev/gap'

/** Selects what the operator has made. */
export const OURS = `${MANAGED_BY}=${MANAGER}`

/**
 * Labels of what is made for a Pipeline. None is taken over from the Pipeline itself: a tool such as Argo CD that knows its
 * own by a label would take the children for its own too.
 */
export function childLabels(pipeline: Pipeline, process?: Process): Record<string, string> {
  return {
    'app.kubernetes.io/name': 'millrace',
    ...(process && { 'app.kubernetes.io/component': process }),
    [MANAGED_BY]: MANAGER,
    [PIPELINE_NAME]: pipeline.metadata.name,
    [PIPELINE_UID]: pipeline.metadata.uid,
  }
}
