import type { Registry } from 'prom-client'
import type { KubeApi } from '../../lib/kube/api.ts'
import type { Logger } from '../../lib/log.ts'

/**
 * What every worker process gets at its start; made once in `workers/runtime/run.ts`, passed down, never global.
 */
export interface WorkerContext {
  readonly env: WorkerEnvironment
  readonly log: Logger
  readonly kube: KubeApi
  readonly metrics: Registry
  /** Aborts on SIGTERM or SIGINT: stop taking new work, drain, end within `shutdownSeconds`. */
  readonly stop: AbortSignal
  readonly secrets: Secrets
  /** What /healthz and /readyz answer. */
  readonly health: Health
}

/** The environment of a worker pod, read in one place. Nothing in it is secret. */
export interface WorkerEnvironment {
  readonly namespace: string
  /** metadata.name and uid of the Pipeline. */
  readonly pipeline: string
  readonly pipelineUid: string
  /** metadata.name and uid of the TableBackfill; backfill pods only. */
  readonly backfill: string | undefined
  readonly backfillUid: string | undefined
  /** Folder with one subfolder per mounted Secret (see `SecretMount`). */
  readonly secretsDir: string
  /** Port of /metrics, /healthz and /readyz; 0 picks a free one. */
  readonly port: number
  readonly logLevel: string
  readonly shutdownSeconds: number
  /** Places that fail, for tests (lib/failpoints.ts). */
  readonly failpoints?: string | undefined
}

/**
 * Secrets are files, mounted by the operator under fixed names whatever the Secret's keys are called:
 *
 *     source/username source/password source-ca/ca.crt
 *     replica-<index>/username replica-<index>/password      (only where a replica has its own credentials)
 *     kafka-sasl/username kafka-sasl/password kafka-ca/ca.crt
 *     destination/username destination/password destination-ca/ca.crt
 *
 * They are read again at every connect, so that a rotated password needs no restart.
 */
export type SecretMount =
  | 'source'
  | 'source-ca'
  | `replica-${number}`
  | 'kafka-sasl'
  | 'kafka-ca'
  | 'destination'
  | 'destination-ca'

export interface Secrets {
  /**
   * Content of one file, without a trailing newline. Throws `SecretMissing` naming `field` (the spec field that refers to
   * the Secret) when the file is not there (yet) or empty.
   */
  read(mount: SecretMount, file: 'username' | 'password' | 'ca.crt', field: string): Promise<string>
}

export interface Health {
  /** A named check for liveness; returns undefined when well, else what is wrong. */
  addLivenessCheck(name: string, check: () => string | undefined): void
  setReady(ready: boolean): void
}
