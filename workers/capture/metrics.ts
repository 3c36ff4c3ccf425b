import { Counter, Gauge, type Registry } from 'prom-client'
import type { Channel } from './outgoing.ts'

/** What capture can be asked at any moment. */
export interface CaptureGauges {
  /** Bytes of log between what the source has and what the queue has. */
  readonly lagBytes: () => number
  readonly unacknowledgedBytes: () => number
  readonly waitingSeconds: () => number
  readonly retainedBytes: () => number
  readonly epoch: () => number
}

export interface CaptureMetrics {
  sent(channels: readonly Channel[], bytes: number): void
  failed(code: string): void
  gap(code: string): void
  /** Whom to ask from now on; undefined while nothing is captured. */
  observe(gauges: CaptureGauges | undefined): void
}

export function createMetrics(registry: Registry): CaptureMetrics {
  const registers = [registry]
  let gauges: CaptureGauges | undefined
  const changes = new Counter({
    name: 'millrace_capture_changes_total',
    help: 'Changes that the queue has acknowledged.',
    labelNames: ['schema', 'table'],
    registers,
  })
  const bytes = new Counter({
    name: 'millrace_capture_bytes_total',
    help: 'Bytes that the queue has acknowledged, before compression.',
    registers,
  })
  const failures = new Counter({
    name: 'millrace_capture_failures_total',
    help: 'Times that capturing broke off and began again.',
    labelNames: ['code'],
    registers,
  })
  const gaps = new Counter({
    name: 'millrace_capture_gaps_total',
    help: 'Times that changes were found to be missing.',
    labelNames: ['code'],
    registers,
  })
  gauge('lag_bytes', "Bytes of the source's log that are not in the queue.", (now) => now.lagBytes())
  gauge('unacknowledged_bytes', 'Bytes read and not yet acknowledged by the queue.', (now) =>
    now.unacknowledgedBytes(),
  )
  gauge('waiting_seconds', 'How long the oldest change read waits for the queue.', (now) =>
    now.waitingSeconds(),
  )
  gauge('slot_retained_bytes', 'Bytes of log that the source keeps for the slot.', (now) =>
    now.retainedBytes(),
  )
  gauge('epoch', 'Epoch of the positions; grows with every gap.', (now) => now.epoch())

  function gauge(name: string, help: string, read: (now: CaptureGauges) => number): void {
    new Gauge({
      name: `millrace_capture_${name}`,
      help,
      registers,
      collect() {
        if (gauges) this.set(read(gauges))
        else this.reset()
      },
    })
  }

  return {
    sent(channels, count) {
      bytes.inc(count)
      for (const channel of channels) {
        if (channel.changes === 0) continue
        changes.inc({ schema: channel.table.schema, table: channel.table.name }, channel.changes)
        channel.changes = 0
      }
    },
    failed: (code) => failures.inc({ code }),
    gap: (code) => gaps.inc({ code }),
    observe(next) {
      gauges = next
    },
  }
}
