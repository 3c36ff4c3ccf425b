import { join } from 'node:path'
import { installCustomResources } from '../../../hack/demo/install.ts'
import { type Cluster, connectCluster } from '../../../hack/demo/kube.ts'
import { startControlPlane } from '../../../hack/services/control-plane.ts'
import { startKafka } from '../../../hack/services/kafka.ts'
import { startPostgres, startPrimary, startReplica } from '../../../hack/services/postgres.ts'

/** What the runs share. */
export interface FuzzServers {
  /** An API server with the custom resources, and nothing that acts on them. */
  readonly cluster: Cluster
  /** Superuser's URLs. */
  readonly source: string
  readonly replica: string
  readonly destination: string
  /** `host:port` of the broker. */
  readonly brokers: string
  /** Folder of the runs: logs of the workers, and their secrets. */
  readonly dir: string
}

/** Starts everything, about 12 s. It ends with this process, should that be killed. */
export async function startServers(dir: string): Promise<FuzzServers & { stop(): Promise<void> }> {
  const [primary, destination, kafka, plane] = await Promise.all([
    startPrimary({ dir: join(dir, 'primary') }),
    startPostgres({ dir: join(dir, 'destination') }),
    startKafka({ dir: join(dir, 'kafka') }),
    startControlPlane({ dir: join(dir, 'control-plane'), log: console.log }),
  ])
  const replica = await startReplica(primary, { dir: join(dir, 'replica') })
  const cluster = await connectCluster(plane.kubeconfig)
  await installCustomResources(cluster)
  return {
    cluster,
    source: primary.url,
    replica: replica.url,
    destination: destination.url,
    brokers: kafka.bootstrap,
    dir,
    async stop() {
      cluster.close()
      await Promise.allSettled([
        kafka.kill9(),
        plane.stop(),
        ...[replica, primary, destination].map((server) => server.stop('immediate')),
      ])
    },
  }
}
