import { MillraceError } from '../../lib/errors.ts'
import type { WorkerEnvironment } from './context.ts'

export const DEFAULT_SECRETS_DIR = '/var/run/millrace/secrets'

/** Reads what the operator has put into the environment of a worker pod. Missing names are told all at once. */
export function readEnvironment(env: NodeJS.ProcessEnv): WorkerEnvironment {
  const missing = ['POD_NAMESPACE', 'MILLRACE_PIPELINE', 'MILLRACE_PIPELINE_UID'].filter((name) => !env[name])
  if (missing.length > 0) {
    throw new MillraceError(
      'InvalidSpec',
      `environment: ${missing.join(', ')} must be set; the operator does it`,
    )
  }
  return {
    namespace: env.POD_NAMESPACE ?? '',
    pipeline: env.MILLRACE_PIPELINE ?? '',
    pipelineUid: env.MILLRACE_PIPELINE_UID ?? '',
    backfill: env.MILLRACE_BACKFILL || undefined,
    backfillUid: env.MILLRACE_BACKFILL_UID || undefined,
    secretsDir: env.MILLRACE_SECRETS_DIR || DEFAULT_SECRETS_DIR,
    port: number(env, 'MILLRACE_PORT', 8080),
    logLevel: env.MILLRACE_LOG_LEVEL || 'info',
    shutdownSeconds: number(env, 'MILLRACE_SHUTDOWN_SECONDS', 25),
    failpoints: env.MILLRACE_FAILPOINTS || undefined,
  }
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
