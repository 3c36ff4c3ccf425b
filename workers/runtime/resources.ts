import { PIPELINES, TABLE_BACKFILLS } from '../../crds/api.ts'
import type { Resource } from '../../lib/kube/api.ts'

export function pipelineResource(namespace: string): Resource {
  return { ...PIPELINES, namespace }
}

export function tableBackfillResource(namespace: string): Resource {
  return { ...TABLE_BACKFILLS, namespace }
}
