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
import { type LocalCluster, startLocalCluster } from './local.ts'

/** A whole Millrace installation out of processes: cluster, broker, primary with replica, destination. */
export interface World {
  readonly local: LocalCluster
  readonly kafka: KafkaHandle
  readonly primary: PostgresHandle
  readonly replica: PostgresHandle
  readonly destination: PostgresHandle
  /** What a site needs to know; addresses that pods use are those of this machine. */
  readonly env: StackEnv
  createSite(name: string): Promise<Site>
  stop(): Promise<void>
}

/** Starts everything; about 12 s. Ends with this process, should it be killed. */
export async function startWorld(
  dir: string,
  podEnvironment?: (labels: Readonly<Record<string, string>>) => Readonly<Record<string, string>>,
): Promise<World> {
  const settings = { max_connections: 300, max_replication_slots: 60, max_wal_senders: 60 }
  const [local, kafka, primary, destination] = await Promise.all([
    startLocalCluster(join(dir, 'cluster'), podEnvironment),
    startKafka({ dir: join(dir, 'kafka') }),
    startPrimary({ dir: join(dir, 'primary'), settings }),
    startPostgres({ dir: join(dir, 'destination'), settings: { max_connections: 300 } }),
  ])
  const replica = await startReplica(primary, { dir: join(dir, 'replica'), settings })
  const env: StackEnv = {
    KUBECONFIG: local.kubeconfig,
    KUBECTL: 'kubectl',
    SOURCE_ADMIN_URL: primary.url,
    REPLICA_ADMIN_URL: replica.url,
    DEST_ADMIN_URL: destination.url,
    KAFKA_BROKERS: kafka.bootstrap,
    POD_SOURCE_HOST: primary.host,
    POD_SOURCE_PORT: String(primary.port),
    POD_REPLICA_HOST: replica.host,
    POD_REPLICA_PORT: String(replica.port),
    POD_DEST_HOST: destination.host,
    POD_DEST_PORT: String(destination.port),
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
    createSite: (name) => createSite(env, local.cluster, name),
    async stop() {
      await local.stop()
      await Promise.all([kafka.kill9(), replica.stop('immediate')])
      await Promise.all([primary.stop('immediate'), destination.stop('immediate')])
    },
  }
}
