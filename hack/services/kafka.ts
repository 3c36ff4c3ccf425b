import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DaemonSpec, daemon, type Lifetime } from '../process/daemon.ts'
import { freePort } from '../process/ports.ts'
import { run } from '../process/run.ts'
import { until } from '../process/wait.ts'
import { brokerProperties, type Listener } from './kafka/config.ts'
import { kafkaJars } from './kafka/jars.ts'
import { brokerAnswers } from './kafka/ready.ts'

export interface KafkaOptions {
  /** Folder for data, configuration, pid file and log. Data already there is used again. */
  dir: string
  /** First listener. Default: loopback on a free port. */
  host?: string
  port?: number
  /** More listeners, each with its own advertised address, for example one that pods can reach. */
  moreListeners?: readonly Listener[]
  controllerPort?: number
  /** Broker settings that are added or that replace the defaults. */
  settings?: Record<string, string>
  /** Default: ends with this process. */
  lifetime?: Lifetime
  /** Default: `kafka.log` in `dir`. */
  logFile?: string
  /** Largest heap of the broker in MiB. Default 320. */
  heapMiB?: number
}

/** A running broker. Its addresses stay the same over restarts. */
export interface KafkaHandle {
  /** `host:port` of the first listener. */
  bootstrap: string
  /** `host:port` of the further listeners, in their order. */
  more: string[]
  logFile: string
  pid(): number | undefined
  /** Ends it in order, or by the given signal. */
  stop(signal?: NodeJS.Signals): Promise<void>
  /** Kills it as a power cut would. */
  kill9(): Promise<void>
  /** Starts it again on its data and waits until it answers. */
  start(): Promise<void>
  /** `stop` and `start`. */
  restart(): Promise<void>
}

const address = ({ host, port }: Listener) => `${host}:${port}`

/**
 * Starts a Kafka broker (KRaft, one node, nothing is ever deleted) and waits until it answers: about 5 s with a new
 * folder, 3 s with a used one. Fails with the end of the broker's log when the broker exits or is not there in a minute.
 */
export async function startKafka(options: KafkaOptions): Promise<KafkaHandle> {
  const handle = await describeKafka({
    ...options,
    port: options.port ?? (await freePort()),
    controllerPort: options.controllerPort ?? (await freePort()),
  })
  await handle.start()
  return handle
}

/**
 * Describes a broker with these addresses and sets its folder up, without starting it: how another process takes over
 * a detached one.
 */
export async function describeKafka(
  options: KafkaOptions & { port: number; controllerPort: number },
): Promise<KafkaHandle> {
  const first = { host: options.host ?? '127.0.0.1', port: options.port }
  const more = options.moreListeners ?? []
  const dataDir = join(options.dir, 'data')
  const propertiesFile = join(options.dir, 'server.properties')
  const { controllerPort, settings } = options
  mkdirSync(options.dir, { recursive: true })
  writeFileSync(
    propertiesFile,
    brokerProperties({ dataDir, clients: [first, ...more], controllerPort, settings }),
  )
  const jars = await kafkaJars()
  if (!existsSync(join(dataDir, 'meta.properties'))) await format(jars, propertiesFile)

  const broker = daemon(brokerDaemon(options, jars, propertiesFile))
  const start = async () => {
    if (!broker.running()) broker.start()
    await until(() => brokerAnswers(first.host, first.port), {
      what: `Kafka on ${address(first)}`,
      timeoutMs: 60_000,
      assertPossible: broker.assertRunning,
    })
  }
  return {
    bootstrap: address(first),
    more: more.map(address),
    logFile: broker.logFile,
    pid: () => broker.running()?.pid,
    stop: broker.stop,
    kill9: broker.kill9,
    start,
    restart: async () => {
      await broker.stop()
      await start()
    },
  }
}

function brokerDaemon(options: KafkaOptions, jars: string, propertiesFile: string): DaemonSpec {
  return {
    name: 'kafka',
    command: [
      'java',
      `-Xmx${options.heapMiB ?? 320}m`,
      '-Xms96m',
      '-XX:+UseSerialGC',
      '-XX:+ExitOnOutOfMemoryError',
      '-Djava.awt.headless=true',
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      '-Dorg.slf4j.simpleLogger.showDateTime=true',
      '-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS',
      '-cp',
      `${jars}/*`,
      'kafka.Kafka',
      propertiesFile,
    ],
    dir: options.dir,
    logFile: options.logFile ?? join(options.dir, 'kafka.log'),
    lifetime: options.lifetime ?? 'bound',
  }
}

/** Writes the broker's identity into its empty data folder. */
async function format(jars: string, propertiesFile: string) {
  const clusterId = Buffer.from('millrace-local-0').toString('base64url')
  await run([
    'java',
    '-XX:TieredStopAtLevel=1',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=error',
    '-cp',
    `${jars}/*`,
    'kafka.tools.StorageTool',
    'format',
    `--config=${propertiesFile}`,
    `--cluster-id=${clusterId}`,
  ])
}
