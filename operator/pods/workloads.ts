import type { V1JobSpec } from '@kubernetes/client-node'
import type { Pipeline } from '../../crds/pipeline.ts'
import type { TableBackfill } from '../../crds/table-backfill.ts'
import type { WorkerPodConfig } from '../config.ts'
import { APPLIED_HASH, ownerReference, withHash } from '../kube/desired.ts'
import type { Job } from '../kube/resources.ts'
import { BACKFILL_UID, childLabels, PIPELINE_UID } from '../labels.ts'
import { childName } from '../names.ts'
import { serviceAccountName, workerPod } from './pod.ts'

export const captureName = (pipeline: string) => childName(pipeline, 'capture')
export const applyName = (pipeline: string) => childName(pipeline, 'apply')
export const cleanupName = (pipeline: string) => childName(pipeline, 'cleanup')
export const copyJobName = (backfill: string) => childName(backfill, 'copy')

/** Which exit code a worker ends with for input that no further attempt will make right. */
const WRONG_INPUT = 2

/** How long a finished Job stays for its logs, seconds; a failed one longer. */
export const KEEP_FINISHED = 3_600
export const KEEP_FAILED = 86_400

/** What stands beside every Pipeline as long as it is not deleted, in the order in which it is made. */
export function pipelineChildren(pipeline: Pipeline, config: WorkerPodConfig) {
  const own = pipeline.spec.podTemplate.serviceAccountName === undefined
  return {
    account: own ? serviceAccount(pipeline) : undefined,
    binding: own ? roleBinding(pipeline, config) : undefined,
    capture: deployment(pipeline, 'capture', config),
    apply: deployment(pipeline, 'apply', config),
  }
}

function serviceAccount(pipeline: Pipeline) {
  return withHash({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: metadata(pipeline, serviceAccountName(pipeline)),
  })
}

function roleBinding(pipeline: Pipeline, config: WorkerPodConfig) {
  return withHash({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: metadata(pipeline, serviceAccountName(pipeline)),
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: config.clusterRole },
    subjects: [
      {
        kind: 'ServiceAccount',
        name: serviceAccountName(pipeline),
        namespace: pipeline.metadata.namespace,
      },
    ],
  })
}

function deployment(pipeline: Pipeline, process: 'capture' | 'apply', config: WorkerPodConfig) {
  const { state } = pipeline.spec
  const isDeleting = pipeline.metadata.deletionTimestamp !== undefined
  // Whatever state it is deleted in, apply has to give the destination tables free.
  const runs = state === 'Running' || (process === 'capture' ? state === 'Paused' : isDeleting)
  const name = process === 'capture' ? captureName(pipeline.metadata.name) : applyName(pipeline.metadata.name)
  return withHash({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { ...metadata(pipeline, name), labels: childLabels(pipeline, process) },
    spec: {
      replicas: runs ? 1 : 0,
      // One writer: the new pod starts when the old one is gone. What remains of the danger the slot and the ledger meet.
      strategy: { type: 'Recreate' },
      revisionHistoryLimit: 2,
      selector: {
        matchLabels: { [PIPELINE_UID]: pipeline.metadata.uid, 'app.kubernetes.io/component': process },
      },
      template: workerPod(pipeline, process, config),
    },
  })
}

/** The Job that copies one table. Made once; of it only `suspend` and the time to live change later. */
export function copyJob(backfill: TableBackfill, pipeline: Pipeline, config: WorkerPodConfig) {
  const labels = { [BACKFILL_UID]: backfill.metadata.uid }
  return withHash({
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name: copyJobName(backfill.metadata.name),
      namespace: backfill.metadata.namespace,
      labels: { ...childLabels(pipeline, 'backfill'), ...labels },
      ownerReferences: [ownerReference(backfill)],
    },
    spec: {
      backoffLimit: backfill.spec.backoffLimit,
      ...ONE_POD_AT_A_TIME,
      template: workerPod(pipeline, 'backfill', config, {
        labels,
        env: [
          { name: 'MILLRACE_BACKFILL', value: backfill.metadata.name },
          { name: 'MILLRACE_BACKFILL_UID', value: backfill.metadata.uid },
        ],
      }),
    },
  })
}

/** Whether a Job was made from settings of pods that are not those of today. */
export function isOutdated(job: Job, wanted: ReturnType<typeof copyJob>): boolean {
  return job.metadata.annotations?.[APPLIED_HASH] !== wanted.metadata.annotations?.[APPLIED_HASH]
}

/** The Job that drops slot and publication. */
export function cleanupJob(pipeline: Pipeline, config: WorkerPodConfig) {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      ...metadata(pipeline, cleanupName(pipeline.metadata.name)),
      labels: childLabels(pipeline, 'cleanup'),
    },
    spec: {
      // It tries again by itself; a pod that ends without success met something that nobody foresaw.
      backoffLimit: 3,
      ...ONE_POD_AT_A_TIME,
      template: workerPod(pipeline, 'cleanup', config),
    },
  }
}

const ONE_POD_AT_A_TIME = {
  completions: 1,
  parallelism: 1,
  podReplacementPolicy: 'Failed',
  podFailurePolicy: {
    rules: [
      {
        action: 'FailJob',
        onExitCodes: { operator: 'In', values: [WRONG_INPUT] },
      },
      // A drained node or a preemption says nothing about the backfill.
      { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
    ],
  },
} satisfies Partial<V1JobSpec>

function metadata(pipeline: Pipeline, name: string) {
  return {
    name,
    namespace: pipeline.metadata.namespace,
    labels: childLabels(pipeline),
    ownerReferences: [ownerReference(pipeline)],
  }
}
