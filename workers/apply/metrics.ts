import { Counter, Gauge, type Registry } from 'prom-client'
import type { TableName } from '../source/table.ts'

/** What Prometheus sees of apply. */
export interface ApplyMetrics {
  /** A batch was written; `bytes` are those of its changes in the queue. */
  flushed(table: TableName, batch: { changes: number; bytes: number }, seconds: number): void
  reread(table: TableName, rows: number): void
  failed(table: TableName, code: string): void
  /** Values of a column did not fit the destination and were changed. */
  unfit(table: TableName, column: string, values: number): void
  /** Whom to ask for the lag of each table, in seconds. */
  observe(lags: () => Iterable<readonly [TableName, number]>): void
  /** Forgets a table. */
  remove(table: TableName): void
}

const LABELS = ['schema', 'table'] as const
const labels = ({ schema, name }: TableName) => ({ schema, table: name })

export function createMetrics(registry: Registry): ApplyMetrics {
  const registers = [registry]
  let lags: () => Iterable<readonly [TableName, number]> = () => []
  const counter = (name: string, help: string) =>
    new Counter({ name: `millrace_apply_${name}_total`, help, labelNames: LABELS, registers })
  const changes = counter('changes', 'Changes that are durably in the destination.')
  const bytes = counter('bytes', 'Bytes of these changes in the queue, before compression.')
  const flushes = counter('flushes', 'Times that gathered changes were written.')
  const seconds = counter('flush_seconds', 'Time spent with writing gathered changes, in seconds.')
  const rereads = counter(
    'reread_rows',
    'Rows read again from the source for values that the log leaves out.',
  )
  const failures = new Counter({
    name: 'millrace_apply_failures_total',
    help: 'Failures that were tried again.',
    labelNames: [...LABELS, 'code'],
    registers,
  })
  const unfit = new Counter({
    name: 'millrace_apply_unfit_values_total',
    help: 'Values of changes that the destination cannot hold and that were changed as onUnfit says.',
    labelNames: [...LABELS, 'column'],
    registers,
  })
  new Gauge({
    name: 'millrace_apply_lag_seconds',
    help: 'How long ago the oldest change that is not in the destination was committed in the source; 0 when there is none.',
    labelNames: LABELS,
    registers,
    collect() {
      this.reset()
      for (const [table, lag] of lags()) this.set(labels(table), lag)
    },
  })
  return {
    flushed(table, batch, duration) {
      changes.inc(labels(table), batch.changes)
      bytes.inc(labels(table), batch.bytes)
      flushes.inc(labels(table))
      seconds.inc(labels(table), duration)
    },
    reread: (table, rows) => rereads.inc(labels(table), rows),
    failed: (table, code) => failures.inc({ ...labels(table), code }),
    unfit: (table, column, values) => unfit.inc({ ...labels(table), column }, values),
    observe(next) {
      lags = next
    },
    remove(table) {
      for (const each of [changes, bytes, flushes, seconds, rereads]) each.remove(labels(table))
    },
  }
}
