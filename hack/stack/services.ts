import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describeKafka, type KafkaHandle, type KafkaOptions } from '../services/kafka.ts'
import {
  existingPostgres,
  type PostgresHandle,
  type PostgresOptions,
  startPostgres,
  startPrimary,
  startReplica,
} from '../services/postgres.ts'
import { describeRedshiftEmulator, type RedshiftEmulatorHandle } from '../services/redshift.ts'
import type { StackConfig } from './config.ts'

/** Log of a server that a stopped reader holds back; past this its slot is lost, before the disk is full. */
const MAX_SLOT_LOG = '16GB'

export interface StackServices {
  kafka: KafkaHandle
  primary: PostgresHandle
  replica: PostgresHandle
  destination: PostgresHandle
  /** Only in a stack that was asked for it. */
  redshift?: RedshiftEmulatorHandle
}

type ServerName = 'primary' | 'replica' | 'destination'

function postgresOptions(config: StackConfig, state: string, name: ServerName) {
  return {
    dir: join(state, name),
    logFile: join(state, `${name}.log`),
    name,
    port: config.ports[name],
    listen: [config.podSide.host],
    networks: config.podSide.networks,
    password: config.passwords.superuser,
    lifetime: 'detached',
    settings: name === 'destination' ? {} : { max_slot_wal_keep_size: MAX_SLOT_LOG },
  } satisfies PostgresOptions
}

function kafkaOptions({ ports, podSide }: StackConfig, state: string) {
  return {
    dir: join(state, 'kafka'),
    logFile: join(state, 'kafka.log'),
    port: ports.kafka,
    controllerPort: ports.kafkaController,
    moreListeners: [{ host: podSide.host, port: ports.kafkaPods }],
    lifetime: 'detached',
  } satisfies KafkaOptions
}

const redshiftFolder = (state: string) => join(state, 'redshift')

async function redshiftEmulator(config: StackConfig, state: string): Promise<RedshiftEmulatorHandle> {
  const { ports, podSide } = config
  if (ports.redshift === undefined)
    throw new Error(`the stack was started before it could have a Redshift emulator: run 'make down' first`)
  return describeRedshiftEmulator({
    dir: redshiftFolder(state),
    logFile: join(state, 'redshift.log'),
    // Pods and this machine reach it by one address, so that both can use the same URLs.
    host: podSide.host,
    ports: { s3: ports.s3, dataApi: ports.redshift },
    postgresUrl: existingPostgres(postgresOptions(config, state, 'destination')).url,
    lifetime: 'detached',
  })
}

/**
 * Starts the services that do not run, on the data they have, and waits until all answer.
 *
 * @param redshift also the Redshift emulator, on the destination's server; once started it belongs to the stack
 */
export async function startServices(
  config: StackConfig,
  state: string,
  redshift: boolean,
): Promise<StackServices> {
  const databases = async () => {
    const primary = await startPrimary(postgresOptions(config, state, 'primary'))
    const replica = await startReplica(primary, postgresOptions(config, state, 'replica'))
    return { primary, replica }
  }
  const broker = async () => {
    const kafka = await describeKafka(kafkaOptions(config, state))
    await kafka.start()
    return kafka
  }
  const [source, destination, kafka] = await Promise.all([
    databases(),
    startPostgres(postgresOptions(config, state, 'destination')),
    broker(),
  ])
  if (!redshift && !existsSync(redshiftFolder(state))) return { ...source, destination, kafka }
  const emulator = await redshiftEmulator(config, state)
  await emulator.start()
  return { ...source, destination, kafka, redshift: emulator }
}

/** The services of a stack that was started before, running or not. */
export async function existingServices(config: StackConfig, state: string): Promise<StackServices> {
  const postgres = (name: ServerName) => existingPostgres(postgresOptions(config, state, name))
  return {
    kafka: await describeKafka(kafkaOptions(config, state)),
    primary: postgres('primary'),
    replica: postgres('replica'),
    destination: postgres('destination'),
    ...(existsSync(redshiftFolder(state)) && { redshift: await redshiftEmulator(config, state) }),
  }
}
