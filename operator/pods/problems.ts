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
}

/** What keeps a pod from doing its work, in words for a person; undefined when nothing is known to. */
export function podProblem(pod: Pod): string | undefined {
  if (pod.metadata.deletionTimestamp !== undefined) return undefined
  const { name } = pod.metadata
  const { status } = pod
  const scheduled = status?.conditions?.find((condition) => condition.type === 'PodScheduled')
  if (scheduled?.status === 'False') {
    return `pod ${name} cannot be scheduled: ${scheduled.message ?? scheduled.reason ?? 'no reason given'}`
  }
  if (status?.reason === 'Evicted') return `pod ${name} was evicted: ${status.message ?? 'no reason given'}`
  for (const container of status?.containerStatuses ?? []) {
    const { waiting, terminated } = container.state ?? {}
    const end =
      terminated ?? (waiting?.reason === 'CrashLoopBackOff' ? container.lastState?.terminated : undefined)
    if (end && (end.exitCode !== 0 || !terminated)) return `pod ${name} ${endText(pod, container.name, end)}`
    const stuck = STUCK[waiting?.reason ?? '']
    if (stuck) return `pod ${name}: ${stuck} (${waiting?.reason}): ${waiting?.message ?? container.image}`
  }
  return undefined
}

function endText(
  pod: Pod,
  process: string,
  end: { readonly reason?: string; readonly exitCode: number },
): string {
  if (end.reason === 'OOMKilled') {
    return `was killed for lack of memory: raise spec.podTemplate.resources.${process}.limits.memory of the Pipeline`
  }
  return `ended with exit code ${end.exitCode}: see kubectl logs --previous ${pod.metadata.name}`
}

/** The same for the newest pod of a workload; older ones speak of what is over. */
export function newestPodProblem(pods: readonly Pod[]): string | undefined {
  const newest = newestPod(pods)
  return newest && podProblem(newest)
}

export function newestPod(pods: readonly Pod[]): Pod | undefined {
  const age = (pod: Pod) => pod.metadata.creationTimestamp ?? ''
  return pods.reduce<Pod | undefined>(
    (newest, pod) => (newest && age(newest) > age(pod) ? newest : pod),
    undefined,
  )
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
  return { wanted, ready, problem: newestPodProblem(pods) ?? refused?.message }
}

/** The condition of a Job that says how it ended. */
export function jobCondition(job: Job, type: 'Complete' | 'Failed') {
  return job.status?.conditions?.find((condition) => condition.type === type && condition.status === 'True')
}
