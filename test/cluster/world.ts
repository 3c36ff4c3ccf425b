import { join } from 'node:path'
import { createSite, type Site } from '../../hack/demo/site.ts'
import type { StackEnv } from '../../hack/demo/stack-env.ts'
import { freePort } from '../../hack/process/ports.ts'
import { type KafkaHandle, startKafka } from '../../hack/services/kafka.ts'
import {
  type PostgresHandle,
  startPostgres,
  startPrimary,
  startReplica,
} from '../../hack/services/postgres.ts'
import { failOver } from './failover.ts'
import { createGate, type Gate } from './gate.ts'
import { type LocalCluster, type PodOptions, startLocalCluster } from './local.ts'
import { type Network, startNetwork } from './network.ts'

/** A whole Millrace installation out of processes: cluster, broker, primary with replica, destination. */
export interface World {
  readonly local: LocalCluster
  readonly kafka: KafkaHandle
  readonly primary: PostgresHandle
  readonly replica: PostgresHandle
  readonly destination: PostgresHandle
  /** What a site needs to know; addresses that pods use are those of this machine. */
  readonly env: StackEnv
  /** The networks between pods and everything else. */
  readonly network: Readonly<Record<'source' | 'replica' | 'destination' | 'queue' | 'api', Network>>
  /** Who needs the servers up, and who stops one. */
  readonly gate: Gate
  createSite(name: string): Promise<Site>
  /**
   * The replica takes the primary's place, with its address, and a new replica follows; slots are gone.
   *
   * @param behind how long the replica got nothing any more before, milliseconds; undefined: it has everything
   */
  failOver(behind: number | undefined): Promise<void>
  /** How often that has begun. */
  failovers(): number
  stop(): Promise<void>
}

// Sessions whose client is silent end soon.
const primarySettings = {
  max_connections: 300,
  max_replication_slots: 60,
  max_wal_senders: 60,
  wal_sender_timeout: '15s',
  max_prepared_transactions: 50,
}

/** Of a replica, which must have as much room as its primary. Who stands in the way of its recovery is ended soon, too. */
export const replicaSettings = { ...primarySettings, max_standby_streaming_delay: '2s' }

/** Starts everything; about 12 s. Ends with this process, should it be killed. */
export async function startWorld(dir: string, pods?: PodOptions): Promise<World> {
  const kafkaPorts = [await freePort(), await freePort()] as const
  const queue = await startNetwork('127.0.0.1', kafkaPorts[1])
  const [local, kafka, primary, destination] = await Promise.all([
    startLocalCluster(join(dir, 'cluster'), pods),
    // Whoever comes through the network is told to come back through it.
    startKafka({
      dir: join(dir, 'kafka'),
      port: kafkaPorts[0],
      moreListeners: [{ host: '127.0.0.1', port: kafkaPorts[1] }],
      settings: {
        'advertised.listeners': `CLIENT0://127.0.0.1:${kafkaPorts[0]},CLIENT1://127.0.0.1:${queue.port}`,
      },
    }),
    startPrimary({ dir: join(dir, 'primary'), settings: primarySettings }),
    startPostgres({ dir: join(dir, 'destination'), settings: { max_connections: 300 } }),
  ])
  const replica = await startReplica(primary, { dir: join(dir, 'replica'), settings: replicaSettings })
  const through = ({ host, port }: PostgresHandle) => startNetwork(host, port)
  const network = {
    source: await through(primary),
    replica: await through(replica),
    destination: await through(destination),
    queue,
    api: local.network,
  }
  let failovers = 0
  const env: StackEnv = {
    KUBECONFIG: local.kubeconfig,
    KUBECTL: 'kubectl',
    SOURCE_ADMIN_URL: primary.url,
    REPLICA_ADMIN_URL: replica.url,
    DEST_ADMIN_URL: destination.url,
    KAFKA_BROKERS: kafka.bootstrap,
    POD_SOURCE_HOST: '127.0.0.1',
    POD_SOURCE_PORT: String(network.source.port),
    POD_REPLICA_HOST: '127.0.0.1',
    POD_REPLICA_PORT: String(network.replica.port),
    POD_DEST_HOST: '127.0.0.1',
    POD_DEST_PORT: String(network.destination.port),
    POD_KAFKA_BROKERS: `127.0.0.1:${queue.port}`,
    IMAGE: '',
  }
  return {
    local,
    kafka,
    primary,
    replica,
    destination,
    env,
    network,
    createSite: (name) => createSite(env, local.cluster, name),
    gate: createGate(),
    async failOver(behind) {
      failovers += 1
      await failOver(primary, replica, { primary: primarySettings, replica: replicaSettings }, behind)
    },
    failovers: () => failovers,
    async stop() {
      await local.stop()
      const { api: _, ...others } = network
      await Promise.all(Object.values(others).map((proxy) => proxy.close()))
      await Promise.all([kafka.kill9(), replica.stop('immediate')])
      await Promise.all([primary.stop('immediate'), destination.stop('immediate')])
    },
  }
}
