/** An address the broker listens on and is reached under. */
export interface Listener {
  host: string
  port: number
}

export interface BrokerConfig {
  dataDir: string
  /** Listeners for clients; the broker answers each client with the address of the listener it came through. */
  clients: readonly Listener[]
  controllerPort: number
  /** Broker settings that are added or that replace those below. */
  settings?: Record<string, string> | undefined
}

/** The broker's server.properties: one node that is broker and controller, and keeps everything for ever. */
export function brokerProperties(config: BrokerConfig): string {
  const clients = config.clients.map(({ host, port }, index) => `CLIENT${index}://${host}:${port}`)
  const names = config.clients.map((_, index) => `CLIENT${index}`)
  const controller = `127.0.0.1:${config.controllerPort}`
  const properties: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@${controller}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: [...clients, `CONTROLLER://${controller}`].join(','),
    'advertised.listeners': clients.join(','),
    'inter.broker.listener.name': names[0] ?? '',
    'listener.security.protocol.map': [...names, 'CONTROLLER'].map((name) => `${name}:PLAINTEXT`).join(','),
    'log.dirs': config.dataDir,
    'log.retention.ms': '-1',
    'log.retention.bytes': '-1',
    'message.max.bytes': String(1024 * 1024),
    'auto.create.topics.enable': 'false',
    'default.replication.factor': '1',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    // After kill -9 a broker may only register again when its old session has ended.
    'broker.session.timeout.ms': '4000',
    'broker.heartbeat.interval.ms': '1000',
    'group.initial.rebalance.delay.ms': '0',
    'num.network.threads': '2',
    'num.io.threads': '4',
    // The default buffer alone, 128 MB, would be half of the heap.
    'log.cleaner.dedupe.buffer.size': String(8 * 1024 * 1024),
    ...config.settings,
  }
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}
