import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { COPY_STAGES, type CopyStage } from '../../crds/api.ts'

/** What Prometheus sees of one backfill; which table it is, the pod's labels say. */
export interface BackfillMetrics {
  stage(stage: CopyStage): void
  read(bytes: number): void
  chunk(result: { readonly rows: bigint; readonly bytes: bigint }, seconds: number): void
  chunkFailed(code: string): void
  /** Values of a column did not fit the destination and were changed. */
  unfit(column: string, values: number): void
  attemptFailed(code: string): void
  /** A range was compared. */
  compared(rows: number): void
  /** Rows that differ for certain. */
  different(rows: number): void
}

export function createMetrics(registry: Registry): BackfillMetrics {
  const registers = [registry]
  const stages = new Gauge({
    name: 'millrace_backfill_stage',
    help: 'What the backfill is doing: 1 for the present stage.',
    labelNames: ['stage'],
    registers,
  })
  const read = new Counter({
    name: 'millrace_backfill_read_bytes_total',
    help: 'Bytes read from the source, those of chunks that failed included.',
    registers,
  })
  const rows = new Counter({
    name: 'millrace_backfill_rows_total',
    help: 'Rows made durable in the destination by this process.',
    registers,
  })
  const bytes = new Counter({
    name: 'millrace_backfill_bytes_total',
    help: 'Bytes made durable in the destination by this process.',
    registers,
  })
  const seconds = new Histogram({
    name: 'millrace_backfill_chunk_seconds',
    help: 'Time from the start of a chunk to its commit in the destination.',
    buckets: [0.1, 0.3, 1, 3, 10, 30, 100, 300],
    registers,
  })
  const failures = new Counter({
    name: 'millrace_backfill_failures_total',
    help: 'Failures that were tried again, of single chunks and of the whole.',
    labelNames: ['of', 'code'],
    registers,
  })
  const unfit = new Counter({
    name: 'millrace_backfill_unfit_values_total',
    help: 'Copied values that the destination cannot hold and that were changed as onUnfit says.',
    labelNames: ['column'],
    registers,
  })
  const comparedRows = new Counter({
    name: 'millrace_verify_rows_total',
    help: 'Rows compared with the source.',
    registers,
  })
  const ranges = new Counter({
    name: 'millrace_verify_ranges_total',
    help: 'Ranges of keys compared with the source.',
    registers,
  })
  const differences = new Gauge({
    name: 'millrace_verify_different_rows',
    help: 'Rows found to differ from the source for certain.',
    registers,
  })
  return {
    stage(stage) {
      for (const each of COPY_STAGES) stages.set({ stage: each }, each === stage ? 1 : 0)
    },
    read: (count) => read.inc(count),
    chunk(result, duration) {
      rows.inc(Number(result.rows))
      bytes.inc(Number(result.bytes))
      seconds.observe(duration)
    },
    chunkFailed: (code) => failures.inc({ of: 'chunk', code }),
    unfit: (column, values) => unfit.inc({ column }, values),
    compared(count) {
      comparedRows.inc(count)
      ranges.inc()
    },
    different: (count) => differences.set(count),
    attemptFailed: (code) => failures.inc({ of: 'attempt', code }),
  }
}
