import { MillraceError } from '../lib/errors.ts'

/** The operator's settings, read from the environment in one place. */
export interface OperatorConfig {
  /** Where the operator itself runs: its Lease is there. */
  readonly namespace: string
  /** Different for each replica. */
  readonly identity: string
  /** Undefined: all. */
  readonly watchNamespaces: readonly string[] | undefined
  readonly leaseName: string
  readonly port: number
  readonly logLevel: string
  readonly workers: WorkerPodConfig
  /** How long a Pipeline that is being deleted waits for its slot to be dropped, milliseconds. */
  readonly cleanupDeadline: number
  /** Places that fail, for tests (lib/failpoints.ts). */
  readonly failpoints?: string | undefined
}

/** What all worker pods have in common. */
export interface WorkerPodConfig {
  readonly image: string
  readonly imagePullPolicy: string
  readonly imagePullSecrets: readonly string[]
  readonly logLevel: string
  /** ClusterRole that the operator binds their service accounts to. */
  readonly clusterRole: string
}

export function readConfig(env: NodeJS.ProcessEnv): OperatorConfig {
  const missing = ['POD_NAMESPACE', 'MILLRACE_WORKER_IMAGE'].filter((name) => !env[name])
  if (missing.length > 0) {
    throw new MillraceError(
      'InvalidSpec',
      `environment: ${missing.join(', ')} must be set, as charts/ does it`,
    )
  }
  return {
    namespace: env.POD_NAMESPACE ?? '',
    identity: env.POD_NAME || `${process.pid}`,
    watchNamespaces: list(env.MILLRACE_WATCH_NAMESPACES),
    leaseName: env.MILLRACE_LEASE_NAME || 'millrace-operator',
    port: number(env, 'MILLRACE_PORT', 8080),
    logLevel: env.MILLRACE_LOG_LEVEL || 'info',
    workers: {
      image: env.MILLRACE_WORKER_IMAGE ?? '',
      imagePullPolicy: env.MILLRACE_WORKER_IMAGE_PULL_POLICY || 'IfNotPresent',
      imagePullSecrets: list(env.MILLRACE_WORKER_IMAGE_PULL_SECRETS) ?? [],
      logLevel: env.MILLRACE_WORKER_LOG_LEVEL || env.MILLRACE_LOG_LEVEL || 'info',
      clusterRole: env.MILLRACE_WORKER_CLUSTER_ROLE || 'millrace-worker',
    },
    cleanupDeadline: number(env, 'MILLRACE_CLEANUP_DEADLINE_SECONDS', 1800) * 1000,
    failpoints: env.MILLRACE_FAILPOINTS || undefined,
  }
}

function list(text: string | undefined): string[] | undefined {
  const parts = (text ?? '').split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]))
  return parts.length === 0 ? undefined : parts
}

function number(env: NodeJS.ProcessEnv, name: string, byDefault: number): number {
  const text = env[name]
  if (text === undefined || text === '') return byDefault
  const value = Number(text)
  if (Number.isInteger(value) && value >= 0) return value
  throw new MillraceError(
    'InvalidSpec',
    `environment: ${name} must be a whole number, not ${JSON.stringify(text)}`,
  )
}
