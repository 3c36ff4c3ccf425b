import type { Deployment, Job, Pod } from '../kube/resources.ts'

/** Waiting reasons that will not pass by themselves, or not soon. */
const STUCK: Readonly<Record<string, string>> = {
  ImagePullBackOff: 'its image cannot be pulled',
  ErrImagePull: 'its image cannot be pulled',
  ErrImageNeverPull: 'its image is not on the node, and the pull policy is Never',
  InvalidImageName: 'the name of its image is not valid',
  CreateContainerConfigError: 'its container cannot be configured',
  CreateContainerError: 'its container cannot be created',
  RunContainerError: 'its container cannot be started',
  CrashLoopBackOff: 'it ends soon after each start',
}

/** What keeps a pod from doing its work, in words for a person; undefined when nothing is known to. */
export function podProblem(pod: Pod): string | undefined {
  if (pod.metadata.deletionTimestamp !== undefined) return undefined
  const { name } = pod.metadata
  const scheduled = pod.status?.conditions?.find((condition) => condition.type === 'PodScheduled')
  if (scheduled?.status === 'False') {
    return `pod ${name} cannot be scheduled: ${scheduled.message ?? scheduled.reason ?? 'no reason given'}`
  }
  for (const container of pod.status?.containerStatuses ?? []) {
    const waiting = container.state?.waiting
    const stuck = STUCK[waiting?.reason ?? '']
    if (!stuck) continue
    if (waiting?.reason === 'CrashLoopBackOff') {
      const last = container.lastState?.terminated
      const memory = last?.reason === 'OOMKilled'
      const how = memory
        ? `it was killed for lack of memory: raise spec.podTemplate.resources.${container.name}.limits.memory of the Pipeline`
        : `${stuck}, with exit code ${last?.exitCode ?? '?'}: see kubectl logs ${name}`
      return `pod ${name}: ${how}`
    }
    return `pod ${name}: ${stuck} (${waiting?.reason}): ${waiting?.message ?? container.image}`
  }
  if (pod.status?.reason === 'Evicted') return `pod ${name} was evicted: ${pod.status.message ?? ''}`
  return undefined
}

/** The same for the pods of one workload; the newest pod speaks. */
export function firstPodProblem(pods: readonly Pod[]): string | undefined {
  const newest = [...pods].sort((a, b) =>
    (a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? 1 : -1,
  )
  for (const pod of newest) {
    const problem = podProblem(pod)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Pods that still run or have not gone yet. */
export function livePods(pods: readonly Pod[]): Pod[] {
  return pods.filter((pod) => pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed')
}

export interface WorkloadState {
  /** Whether it should run at all. */
  readonly wanted: boolean
  readonly ready: boolean
  /** What is wrong with it, in words; undefined when nothing is, or nothing is known yet. */
  readonly problem: string | undefined
}

export function deploymentState(deployment: Deployment | undefined, pods: readonly Pod[]): WorkloadState {
  if (!deployment) return { wanted: true, ready: false, problem: undefined }
  const wanted = (deployment.spec.replicas ?? 1) > 0
  const ready = wanted && (deployment.status?.readyReplicas ?? 0) > 0
  if (!wanted || ready) return { wanted, ready, problem: undefined }
  // Quotas and pod security keep pods from being made at all.
  const refused = deployment.status?.conditions?.find(
    (condition) => condition.type === 'ReplicaFailure' && condition.status === 'True',
  )
  return { wanted, ready, problem: firstPodProblem(pods) ?? refused?.message }
}

/** The condition of a Job that says how it ended. */
export function jobCondition(job: Job, type: 'Complete' | 'Failed') {
  return job.status?.conditions?.find((condition) => condition.type === type && condition.status === 'True')
}
