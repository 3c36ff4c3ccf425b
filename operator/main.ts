import { Registry } from 'prom-client'
import { configureFailpoints } from '../lib/failpoints.ts'
import { type HealthServer, startHealthServer } from '../lib/http-server.ts'
import { createTransport } from '../lib/kube/transport.ts'
import { createLogger, type Logger } from '../lib/log.ts'
import { addProcessMetrics } from '../lib/process-metrics.ts'
import { stopOnSignals } from '../lib/stop.ts'
import { readConfig } from './config.ts'
import { createStores } from './context.ts'
import { operatorApi } from './kube/api.ts'
import { kubeConfigConnection } from './kube/connection.ts'
import { withFailpoints } from './kube/failpoints.ts'
import { createEventRecorder } from './runtime/events.ts'
import { runWhenLeading } from './runtime/leader.ts'
import { operatorMetrics } from './runtime/metrics.ts'
import { createOperator } from './wiring.ts'

/** How long what is under way may take after SIGTERM, milliseconds. */
const SHUTDOWN = 8_000
/** A reconciliation that takes longer hangs, milliseconds: every request in it has a time limit. */
const HANGS = 300_000

/** The operator process. Replicas beside the leader wait for its Lease. */
async function run(log: Logger): Promise<void> {
  const config = readConfig(process.env)
  configureFailpoints(config.failpoints, log)
  const stop = stopOnSignals((signal) => {
    log.info({ signal }, 'Asked to stop')
    setTimeout(() => {
      log.error('Not ended in time, giving up')
      process.exit(1)
    }, SHUTDOWN)
  })
  const registry = new Registry()
  addProcessMetrics(registry)
  const metrics = operatorMetrics(registry)
  const health: HealthServer = await startHealthServer(config.port, registry)

  const connection = kubeConfigConnection(process.env)
  const onAnswer = (method: string, status: number, seconds: number) => {
    metrics.requests.inc({ method, code: status === 0 ? '<error>' : String(status) })
    metrics.requestSeconds.observe({ verb: method }, seconds)
  }
  const kube = operatorApi(createTransport(connection, { onAnswer }), {
    onTrouble: (error, delay) => {
      log.warn({ error: error instanceof Error ? error.message : String(error), delay }, 'Watch interrupted')
    },
  })
  // Connections of its own: a busy operator must not lose its lease.
  const leaseKube = operatorApi(createTransport(connection, { timeout: 5_000 }))
  metrics.leader.set({ name: config.leaseName }, 0)
  health.setReady(true)
  log.info({ identity: config.identity, namespaces: config.watchNamespaces ?? 'all' }, 'Started')

  const { namespace, leaseName: name, identity } = config
  await runWhenLeading({ kube: leaseKube, namespace, name, identity, log }, stop.signal, async (signal) => {
    metrics.leader.set({ name }, 1)
    const events = createEventRecorder(kube, identity, log, signal)
    const context = {
      config,
      kube: withFailpoints(kube),
      stores: createStores(),
      events,
      log,
      now: () => new Date(),
    }
    const operator = createOperator(context, metrics)
    for (const controller of operator.controllers) {
      health.addLivenessCheck(controller.name, () => {
        const took = controller.longestRunning()
        return took < HANGS ? undefined : `a reconciliation has been running for ${Math.round(took / 1000)} s`
      })
    }
    await operator.run(signal, () => {})
    metrics.leader.set({ name }, 0)
  })
  await health.close()
}

const log = createLogger('operator', process.env.MILLRACE_LOG_LEVEL || 'info')
const die = (error: unknown) => {
  log.fatal({ err: error }, 'Unexpected error')
  process.exit(1)
}
process.on('uncaughtException', die)
process.on('unhandledRejection', die)
try {
  await run(log)
  log.info('Ended')
  process.exit(0)
} catch (error) {
  const asked = error instanceof Error && error.name === 'StopRequested'
  log[asked ? 'info' : 'error']({ err: asked ? undefined : error }, asked ? 'Ended' : 'Failed')
  process.exit(asked ? 0 : 1)
}
