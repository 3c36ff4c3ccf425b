import { join } from 'node:path'
import { createSite, type Site } from '../../hack/demo/site.ts'
import type { StackEnv } from '../../hack/demo/stack-env.ts'
import { type KafkaHandle, startKafka } from '../../hack/services/kafka.ts'
import {
  type PostgresHandle,
  startPostgres,
  startPrimary,
  startReplica,
} from '../../hack/services/postgres.ts'
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
  /** The network between pods and PostgreSQL. */
  readonly network: Readonly<Record<'source' | 'replica' | 'destination', Network>>
  createSite(name: string): Promise<Site>
  /** How often the replica has taken the primary's place. */
  failovers(): number
  stop(): Promise<void>
}

/** Starts everything; about 12 s. Ends with this process, should it be killed. */
export async function startWorld(dir: string, pods?: PodOptions): Promise<World> {
  // Sessions whose client is silent end soon.
  const settings = {
    max_connections: 300,
    max_replication_slots: 60,
    max_wal_senders: 60,
    wal_sender_timeout: '15s',
  }
  const [local, kafka, primary, destination] = await Promise.all([
    startLocalCluster(join(dir, 'cluster'), pods),
    startKafka({ dir: join(dir, 'kafka') }),
    startPrimary({ dir: join(dir, 'primary'), settings }),
    startPostgres({ dir: join(dir, 'destination'), settings: { max_connections: 300 } }),
  ])
  const replica = await startReplica(primary, { dir: join(dir, 'replica'), settings })
  const through = ({ host, port }: PostgresHandle) => startNetwork(host, port)
  const network = {
    source: await through(primary),
    replica: await through(replica),
    destination: await through(destination),
  }
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
    POD_KAFKA_BROKERS: kafka.bootstrap,
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
    failovers: () => 0,
    async stop() {
      await local.stop()
      await Promise.all(Object.values(network).map((proxy) => proxy.close()))
      await Promise.all([kafka.kill9(), replica.stop('immediate')])
      await Promise.all([primary.stop('immediate'), destination.stop('immediate')])
    },
  }
}
