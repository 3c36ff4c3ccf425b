import { Gauge, type Registry } from 'prom-client'

/**
 * CPU, memory and start time of this process under the names that every Prometheus client uses. Read when asked, because
 * prom-client's own collection keeps a timer running that an idle process would pay for.
 */
export function addProcessMetrics(registry: Registry): void {
  gauge(registry, 'process_cpu_seconds_total', 'CPU time used, user and system, in seconds.', () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  })
  gauge(registry, 'process_resident_memory_bytes', 'Resident memory in bytes.', () =>
    process.memoryUsage.rss(),
  )
  gauge(registry, 'nodejs_heap_size_used_bytes', 'Memory used on the JavaScript heap, in bytes.', () => {
    return process.memoryUsage().heapUsed
  })
  gauge(registry, 'nodejs_external_memory_bytes', 'Memory of buffers outside the heap, in bytes.', () => {
    return process.memoryUsage().external
  })
  const started = Math.round(Date.now() / 1000 - process.uptime())
  gauge(registry, 'process_start_time_seconds', 'Start of the process, seconds since 1970.', () => started)
}

function gauge(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read())
    },
  })
}
