import { Registry } from 'prom-client'
import { configureFailpoints } from '../../lib/failpoints.ts'
import { type HealthServer, startHealthServer } from '../../lib/http-server.ts'
import { createKubeClient } from '../../lib/kube/client.ts'
import {
  fileConnection,
  inClusterConnection,
  type KubeConnection,
  kubeconfigConnection,
} from '../../lib/kube/connection.ts'
import { createLogger, type Logger } from '../../lib/log.ts'
import { addProcessMetrics } from '../../lib/process-metrics.ts'
import { stopOnSignals } from '../../lib/stop.ts'
import type { WorkerContext } from './context.ts'
import { readEnvironment } from './environment.ts'
import { EXIT, exitCode } from './exit.ts'
import { fileSecrets } from './secrets.ts'

/**
 * Runs a worker process from start to end; never returns. `main` resolves when its work is done (or was asked to stop and
 * lost nothing by it), and rejects otherwise; `exit.ts` says which exit code follows.
 */
export async function runWorker(
  name: string,
  main: (context: WorkerContext) => Promise<void>,
): Promise<never> {
  const log = createLogger(name, process.env.MILLRACE_LOG_LEVEL || 'info')
  let health: HealthServer | undefined
  let stopping = false
  try {
    const env = readEnvironment(process.env)
    configureFailpoints(env.failpoints, log)
    const stop = stopOnSignals((signal) => {
      stopping = true
      log.info({ signal, seconds: env.shutdownSeconds }, 'Asked to stop')
      // Not unref'd: this is what ends a process that hangs while it drains.
      setTimeout(() => {
        log.error('Not ended in time, giving up')
        process.exit(EXIT.failed)
      }, env.shutdownSeconds * 1000)
    })
    exitOnStrayErrors(log)
    const metrics = new Registry()
    addProcessMetrics(metrics)
    health = await startHealthServer(env.port, metrics)
    const kube = createKubeClient(await connection(process.env), {
      onTrouble: (error, delay) => log.warn({ err: error, delay }, 'Watch interrupted, trying again'),
    })
    log.info({ namespace: env.namespace, pipeline: env.pipeline, backfill: env.backfill }, 'Started')
    await main({
      env,
      log,
      kube,
      metrics,
      stop: stop.signal,
      secrets: fileSecrets(env.secretsDir),
      health,
    })
    log.info('Ended')
    return end(EXIT.done)
  } catch (error) {
    const code = exitCode(error, stopping)
    log[stopping ? 'info' : 'error']({ err: error, code }, stopping ? 'Stopped' : 'Failed')
    return end(code)
  }

  async function end(code: number): Promise<never> {
    await health?.close()
    process.exit(code)
  }
}

/** A promise that nobody waits for is a fault of ours; going on with unknown state would be worse than a restart. */
function exitOnStrayErrors(log: Logger): void {
  const die = (error: unknown) => {
    log.fatal({ err: error }, 'Unexpected error')
    process.exit(EXIT.failed)
  }
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
}

/** In the cluster unless told otherwise: MILLRACE_KUBECONFIG, or MILLRACE_KUBE_URL with token and CA files. */
async function connection(env: NodeJS.ProcessEnv): Promise<KubeConnection> {
  if (env.MILLRACE_KUBECONFIG) return await kubeconfigConnection(env.MILLRACE_KUBECONFIG)
  if (env.MILLRACE_KUBE_URL) {
    return fileConnection(env.MILLRACE_KUBE_URL, env.MILLRACE_KUBE_TOKEN_FILE, env.MILLRACE_KUBE_CA_FILE)
  }
  return inClusterConnection(env)
}
