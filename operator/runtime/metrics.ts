import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** The names are controller-runtime's, so that the dashboards and alerts people have work here too. */
export interface OperatorMetrics {
  readonly reconciles: Counter<'controller' | 'result'>
  readonly reconcileErrors: Counter<'controller'>
  readonly reconcileSeconds: Histogram<'controller'>
  readonly activeWorkers: Gauge<'controller'>
  readonly queueDepth: Gauge<'name'>
  readonly queueAdds: Counter<'name'>
  readonly queueSeconds: Histogram<'name'>
  readonly queueRetries: Counter<'name'>
  readonly leader: Gauge<'name'>
  readonly requests: Counter<'code' | 'method'>
  readonly requestSeconds: Histogram<'verb'>
}

export function operatorMetrics(registry: Registry): OperatorMetrics {
  const registers = [registry]
  const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
  return {
    reconciles: new Counter({
      name: 'controller_runtime_reconcile_total',
      help: 'Reconciliations per controller and result.',
      labelNames: ['controller', 'result'],
      registers,
    }),
    reconcileErrors: new Counter({
      name: 'controller_runtime_reconcile_errors_total',
      help: 'Reconciliations that failed.',
      labelNames: ['controller'],
      registers,
    }),
    reconcileSeconds: new Histogram({
      name: 'controller_runtime_reconcile_time_seconds',
      help: 'Length of a reconciliation.',
      labelNames: ['controller'],
      buckets,
      registers,
    }),
    activeWorkers: new Gauge({
      name: 'controller_runtime_active_workers',
      help: 'Reconciliations that run now.',
      labelNames: ['controller'],
      registers,
    }),
    queueDepth: new Gauge({
      name: 'workqueue_depth',
      help: 'Keys that wait.',
      labelNames: ['name'],
      registers,
    }),
    queueAdds: new Counter({
      name: 'workqueue_adds_total',
      help: 'Keys taken from the queue.',
      labelNames: ['name'],
      registers,
    }),
    queueSeconds: new Histogram({
      name: 'workqueue_queue_duration_seconds',
      help: 'How long a key waited.',
      labelNames: ['name'],
      buckets,
      registers,
    }),
    queueRetries: new Counter({
      name: 'workqueue_retries_total',
      help: 'Keys added again after a failure.',
      labelNames: ['name'],
      registers,
    }),
    leader: new Gauge({
      name: 'leader_election_master_status',
      help: '1 while this process leads.',
      labelNames: ['name'],
      registers,
    }),
    requests: new Counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the Kubernetes API.',
      labelNames: ['code', 'method'],
      registers,
    }),
    requestSeconds: new Histogram({
      name: 'rest_client_request_duration_seconds',
      help: 'Length of requests to the Kubernetes API.',
      labelNames: ['verb'],
      buckets,
      registers,
    }),
  }
}
